"""Labelled faces in every form that people have them, and shards."""
