"""Whether people would believe the faces: what generated ones show, beside held-out real ones, in one table."""
