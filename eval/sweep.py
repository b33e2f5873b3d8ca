"""What steps, guidance and temperature do to generated faces, before any of them is refused: one table and one plot."""

from configs.cli import command
from eval.experiments.sweep import Sweep

main = Sweep.main
cli = command(main)


if __name__ == "__main__":
    cli()
