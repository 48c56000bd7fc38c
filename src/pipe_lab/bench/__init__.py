"""How fast the pipe is, beside Open WebUI's own OpenAI connection: always a ratio, in one run."""
