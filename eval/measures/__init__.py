"""What is measured of faces: distances, accuracy, memorisation; pure functions where it can be."""
