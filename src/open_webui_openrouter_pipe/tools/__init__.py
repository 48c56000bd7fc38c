"""The calls a model makes of tools: who runs them, and what each brings back."""
