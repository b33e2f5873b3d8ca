"""Tokens to verified faces: pipeline, sampler, guidance, verification and the command line."""
