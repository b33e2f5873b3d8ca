"""Balanced, verified, labelled sets of generated faces: ``python -m generation.dataset``."""
