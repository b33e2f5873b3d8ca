"""What each part of the tokenizer is worth: train it again with one thing changed, on one schedule, and measure all alike."""

from configs.cli import command
from eval.experiments.ablation import Ablation

main = Ablation.main
cli = command(main)


if __name__ == "__main__":
    cli()
