"""Experiments on generated faces: each says what its points are and how one is measured; a runner does the rest."""
