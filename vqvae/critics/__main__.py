"""Fit a critic on made faces that were rated by eye: it says how believable a face is."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from configs.cli import UserError, add_overwrite, command, command_parser

EXAMPLES = """examples:
  python -m vqvae.critics --photographs DATA --out out/critic
  python -m vqvae.critics --photographs DATA --reader judge --out out/critic_judge   another one, by what the judge sees

The faces are those of vqvae/critics/ratings.safetensors: tokens, and 0 malformed, 1 passable or 2 believable. They are painted
by the tokenizer in WEIGHTS. DATA holds valid.parquet with colour photographs: the critic says of a face which share of them,
painted in the same way, looks less believable."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m vqvae.critics", __doc__, EXAMPLES)
    parser.add_argument("--weights", default="pretrained", help="folder of tokenizer and reader (default: %(default)s)")
    parser.add_argument("--photographs", required=True, metavar="DATA", help="folder of colour photographs, aligned")
    parser.add_argument("--reader", choices=("encoder", "judge"), default="encoder", help="whose maps (default: %(default)s)")
    parser.add_argument("--ratings", type=Path, help="another table of ratings (default: the one that comes with the program)")
    parser.add_argument("--seed", type=int, default=0, help="of the folds (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the critic; put it into WEIGHTS to use it")
    add_overwrite(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Parse and fit; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    import numpy as np
    import torch

    from encoder.attributes.probe import FaceFeatures
    from encoder.inference.emotion_encoder import EmotionEncoder
    from engine.progress import in_chunks
    from engine.storage.atomic import require_new
    from engine.storage.weights import CONFIG_FILE, WEIGHTS_FILE, file_sha256, resolve_folder
    from vqvae.colour.photographs import Photographs
    from vqvae.critics.critic import READ, CriticConfig, RealismCritic
    from vqvae.critics.ratings import RATINGS, areas, fit_ratings, read_ratings
    from vqvae.tokenizer import Tokenizer

    require_new([arguments.out / CONFIG_FILE], arguments.overwrite)
    ratings, root = read_ratings(arguments.ratings or RATINGS), resolve_folder(arguments.weights)
    tokenizer, place = Tokenizer.from_pretrained(root / "tokenizer"), root / arguments.reader
    if ratings.tokenizer_sha256 != tokenizer.encoding_sha256():
        raise UserError(f"{root / 'tokenizer'}: the rated faces are made of other tokens; rate faces of this tokenizer")
    reader = EmotionEncoder.from_pretrained(place)
    photographs = Photographs.open(arguments.photographs, "valid", int(tokenizer.config.painted_size or tokenizer.config.size))

    @torch.inference_mode()
    def paint(tokens: torch.Tensor, what: str) -> torch.Tensor:
        """As they are delivered: in whole levels."""
        painted = [(tokenizer.decode(part) * 255.0).round() / 255.0 for part in in_chunks(tokens, 64, f"painting {what}")]
        return torch.cat(painted)

    @torch.inference_mode()
    def encoded() -> torch.Tensor:
        rows = np.array_split(np.arange(len(photographs)), -(-len(photographs) // 64))
        pictures = (torch.from_numpy(photographs.web_pictures(part, tokenizer.config.size)).unsqueeze(1) for part in rows)
        return torch.cat([tokenizer.encode(part.float() / 255.0) for part in pictures])

    features = FaceFeatures(reader).read(paint(torch.from_numpy(ratings.tokens), "rated faces"), (READ,))[READ]
    fitted = fit_ratings(features, ratings, arguments.seed)
    config = CriticConfig(
        name="maps",
        channels=tokenizer.config.painted_channels,
        reader=arguments.reader,
        reader_sha256=file_sha256(place / WEIGHTS_FILE),
        width=features.shape[1],
    )
    critic = RealismCritic(config, reader).eval().requires_grad_(False)
    critic.head.weight.copy_(fitted.weight.unsqueeze(0))
    critic.head.bias.fill_(fitted.bias)
    critic.measure(critic.logits(paint(encoded(), "photographs")))
    critic.tokens = {"tokenizer": file_sha256(root / "tokenizer" / WEIGHTS_FILE)}
    told = {name: round(value, 4) for name, value in areas(fitted.held_out, ratings).items()}
    critic.save_pretrained(
        arguments.out,
        training={"seed": arguments.seed, "penalty": fitted.penalty},
        metrics={"held_out_areas": told, "count": len(ratings.rating)},
        data={"rated": np.bincount(ratings.rating, minlength=3).tolist(), "photographs": len(photographs)},
    )
    print(f"critic: {len(ratings.rating)} rated faces, {len(photographs)} photographs; areas under the curve, held out:")
    print("  " + "  ".join(f"{name} {value:.3f}" for name, value in told.items()))
    print(f"written: {arguments.out}")
    return 0


cli = command(main)


if __name__ == "__main__":
    cli()
