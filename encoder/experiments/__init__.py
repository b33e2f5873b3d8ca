"""The ablation and the ladder of earlier systems."""
