"""Talking to OpenRouter."""
