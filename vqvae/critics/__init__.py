"""Critics that tell real faces from made ones: one that selects, one that only judges."""
