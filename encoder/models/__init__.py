"""Networks by name: ours, DeepFace's, those of earlier papers."""
