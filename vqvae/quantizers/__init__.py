"""Quantisers by name: how a position of the tokenizer becomes codes."""
