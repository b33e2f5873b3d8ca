"""Whether people would believe the faces: distances, emotion, hands, eyes in place, told apart, critic, people, in one table."""

from configs.cli import command
from eval.realism.experiment import Realism

main = Realism.main
cli = command(main)


if __name__ == "__main__":
    cli()
