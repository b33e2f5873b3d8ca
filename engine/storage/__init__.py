"""Files: written whole or not at all, weights and checkpoints with checksums, finished rows, provenance."""
