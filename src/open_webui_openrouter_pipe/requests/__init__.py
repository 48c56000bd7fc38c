"""From what Open WebUI sends to what OpenRouter takes."""
