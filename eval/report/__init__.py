"""The evaluation page: ``python -m eval.report``."""
