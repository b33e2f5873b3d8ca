"""Faces to tokens and back, and the emotion-conditioned prior over the tokens."""
