"""A trained encoder as it answers; why (Grad-CAM); ONNX."""
