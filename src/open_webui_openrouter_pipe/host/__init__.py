"""Open WebUI: the only folder that imports it."""
