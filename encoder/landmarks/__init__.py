"""Models on the 68 points of a face."""
