"""What nobody said of some faces, read from their tokens by a network that learned it from the others."""
