"""The tools of a chat: what the model may call, and who runs it."""
