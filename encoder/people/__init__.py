"""Gender as recorded, and whether two faces are one person."""
