"""Evaluate generated faces: one page that needs nothing else, the same figures as JSON, and contact sheets."""

from configs.cli import command
from eval.report.page import main

cli = command(main)


if __name__ == "__main__":
    cli()
