"""From Events to what Open WebUI shows."""
