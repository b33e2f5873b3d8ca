"""Training: the loop, its checkpoints, batches that are a function of seed and step, tracking, Ctrl-C."""
