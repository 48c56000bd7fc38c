"""The companion filters: each file is a stand-alone function of Open WebUI, carried as text."""
