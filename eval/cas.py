"""Classification accuracy score: train the encoder's network on generated faces only, test it on real ones."""

from configs.cli import command
from eval.experiments.cas import Cas

main = Cas.main
cli = command(main)


if __name__ == "__main__":
    cli()
