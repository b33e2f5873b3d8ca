"""Does a face show more of an emotion when more is asked for? Two readers look at faces over rising intensity."""

from configs.cli import command
from eval.experiments.intensity import Intensity

main = Intensity.main
cli = command(main)


if __name__ == "__main__":
    cli()
