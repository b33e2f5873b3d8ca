"""How often generated faces show what was asked for: before selection, after it, by the encoder and by a second judge."""

from configs.cli import command
from eval.experiments.samples import Samples

main = Samples.main
cli = command(main)


if __name__ == "__main__":
    cli()
