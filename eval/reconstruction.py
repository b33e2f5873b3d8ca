"""What survives the tokenizer: PSNR, SSIM, codebook usage, and the emotion by two readers."""

from configs.cli import command
from eval.experiments.reconstruction import Reconstruction

main = Reconstruction.main
cli = command(main)


if __name__ == "__main__":
    cli()
