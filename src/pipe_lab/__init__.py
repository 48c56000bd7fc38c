"""Where the pipe is run: an OpenRouter simulator, a real Open WebUI, a terminal chat, a bench."""
