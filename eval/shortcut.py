"""Does the look of generated faces give their emotion away? Real faces of other emotions, before and after the tokenizer."""

from configs.cli import command
from eval.experiments.shortcut import Shortcut

main = Shortcut.main
cli = command(main)


if __name__ == "__main__":
    cli()
