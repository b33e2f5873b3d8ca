"""Judging what was made: metrics, reports and benchmarks."""

import configs  # noqa: F401 - says what to type where this Python lacks the packages that the programs need
