"""What editing does to real faces: the emotion by two readers, the change, and identity if an embedder is named."""

from configs.cli import command
from eval.experiments.editing import Editing

main = Editing.main
cli = command(main)


if __name__ == "__main__":
    cli()
