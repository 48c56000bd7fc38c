"""The catalog: which models there are and what they can do."""
