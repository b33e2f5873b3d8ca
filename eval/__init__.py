"""Judging what was made: metrics, reports and benchmarks."""
