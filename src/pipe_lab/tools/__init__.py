"""Tools for the lab's chats: Open WebUI's own kind, an OpenAPI server, an MCP server."""
