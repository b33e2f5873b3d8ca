"""Weights the project trained: one folder per model with model.safetensors, config.json and a model card."""
