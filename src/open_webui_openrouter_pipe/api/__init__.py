"""OpenRouter on the wire."""
