"""Faces that the project draws itself, from facial action units."""
