"""Drawn faces that are good enough to learn from."""
