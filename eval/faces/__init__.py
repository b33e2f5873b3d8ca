"""The faces that are compared: generated, real, and how both are made to look alike."""
