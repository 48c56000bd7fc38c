"""What the pipe is run with: a stand-in for OpenRouter, Open WebUI itself, a terminal, a clock."""
