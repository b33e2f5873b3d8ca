"""Training an encoder: losses, augmentation, where it starts, calibration."""
