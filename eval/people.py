"""Whether a face stays the same person: real photographs, edits, strips and --identity, by one embedder that takes no part."""

from configs.cli import command
from eval.experiments.people import People

main = People.main
cli = command(main)


if __name__ == "__main__":
    cli()
