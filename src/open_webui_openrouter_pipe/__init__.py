"""The OpenRouter pipe for Open WebUI, as modules; `bundle.py` flattens them into one file."""
