"""Tokens to verified faces: pipeline, sampler, guidance, verification and the command line."""

import configs  # noqa: F401 - says what to type where this Python lacks the packages that the programs need
