"""Do generated faces repair neglected emotions? Real faces with generated disgust and fear against real faces alone."""

from configs.cli import command
from eval.experiments.augmentation import Augmentation

main = Augmentation.main
cli = command(main)


if __name__ == "__main__":
    cli()
