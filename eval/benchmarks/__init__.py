"""Programs that measure the project against its references, each with seed, sample count and split."""
