"""Faces as tokens, with what is told of them: made once, kept, and drawn in batches."""
