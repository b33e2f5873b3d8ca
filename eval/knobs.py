"""What each setting of generation does on its own: one is changed at a time from a base, the defaults with no face refused."""

from configs.cli import command
from eval.experiments.knobs import Knobs

main = Knobs.main
cli = command(main)


if __name__ == "__main__":
    cli()
