"""A real Open WebUI for the lab: installed, started, spoken to, measured, stopped."""
