"""Faces to tokens and back, and the emotion-conditioned prior over the tokens."""

import configs  # noqa: F401 - says what to type where this Python lacks the packages that the programs need
