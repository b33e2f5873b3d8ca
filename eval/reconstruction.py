"""What survives the tokenizer: PSNR, SSIM, codebook usage, and the emotion by two judges."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.cli import UserError, command, command_parser

if TYPE_CHECKING:
    from encoder.inference.emotion_encoder import EmotionEncoder, Prediction
    from vqvae.tokenizer import Tokenizer

EXAMPLES = """examples:
  python -m eval.reconstruction --data DATA
  python -m eval.reconstruction --data DATA --split valid --weights runs/faces/weights/tokenizer --out runs/faces/eval
  python -m eval.reconstruction --data drawn --weights runs/vqvae/weights/tokenizer

"kept": the judge's likeliest emotion is the same before and after. The encoder was in the tokenizer's loss, the second
judge was not: only the second figure says that the emotion is still there for others."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m eval.reconstruction", __doc__, EXAMPLES)
    parser.add_argument("--data", required=True, help='folder with FER-2013, or "drawn"')
    parser.add_argument("--split", choices=("train", "valid", "test"), default="test", help="default: %(default)s")
    parser.add_argument("--weights", default="pretrained/tokenizer", help="default: %(default)s")
    parser.add_argument("--encoder", default="pretrained/encoder", help="default: %(default)s")
    parser.add_argument("--judge", default="pretrained/judge", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("out/reconstruction"), help="default: %(default)s")
    parser.add_argument("--device", default="auto")
    return parser


def kept(before: Prediction, after: Prediction) -> int:
    """How many of N faces have the same likeliest emotion before and after."""
    return int((before.distributions.argmax(dim=1) == after.distributions.argmax(dim=1)).sum())


def measure(tokenizer: Tokenizer, judges: dict[str, EmotionEncoder], images: Any) -> dict[str, Any]:
    """Figures over uint8 faces (N, S, S) at the tokenizer's size.

    The Fréchet distance is between the faces and their reconstructions, in each judge's features; its floor is zero.
    """
    import numpy as np
    import torch
    from torchmetrics.functional.image import structural_similarity_index_measure

    from encoder.evaluation.metrics import wilson_interval
    from eval.measures.distances import frechet_distance
    from vqvae.quantizers.quantizer import usage

    device, config = next(tokenizer.parameters()).device, tokenizer.config
    counts = torch.zeros(config.groups, config.codebook_size)
    psnr = ssim = 0.0
    same = dict.fromkeys(judges, 0)
    features: dict[str, list[Any]] = {name: [] for name in judges}
    for chunk in torch.from_numpy(images).unsqueeze(1).split(256):
        faces = chunk.to(device).float() / 255.0
        tokens = tokenizer.encode(faces)
        made = tokenizer.decode(tokens)
        for group in range(config.groups):
            counts[group] += torch.bincount(tokens[..., group].flatten().cpu(), minlength=config.codebook_size)
        error = (made - faces).square().mean(dim=(1, 2, 3)).clamp(min=1e-10)
        psnr += float((-10.0 * error.log10()).sum())
        ssim += len(chunk) * float(structural_similarity_index_measure(made, faces, data_range=1.0))
        for name, judge in judges.items():
            before, after = judge.predict(faces), judge.predict(made)
            same[name] += kept(before, after)
            features[name].append(np.stack([before.embeddings.numpy(), after.embeddings.numpy()]))
    share, perplexity = usage(counts)
    count = len(images)
    return {
        "count": count,
        "psnr_db": round(psnr / count, 3),
        "ssim": round(ssim / count, 4),
        "codebook_usage": round(share, 4),
        "codebook_perplexity": round(perplexity, 1),
        "emotion_kept": {
            name: {"share": round(n / count, 4), "interval": [round(x, 4) for x in wilson_interval(n, count)]}
            for name, n in same.items()
        },
        "frechet": {name: float(f"{frechet_distance(*np.concatenate(parts, axis=1)):.5g}") for name, parts in features.items()},
    }


def main(argv: Sequence[str]) -> int:
    """Measure and write ``reconstruction.json`` and a picture."""
    arguments = build_parser().parse_args(argv)
    import json

    try:
        import torchmetrics  # noqa: F401
    except ImportError:
        raise UserError("SSIM comes from torchmetrics: pip install 'mimique[eval]'") from None
    from encoder.inference.emotion_encoder import EmotionEncoder
    from engine.devices import resolve_device
    from engine.storage.atomic import atomic_write_text, make_folder, require_place
    from engine.storage.weights import resolve_folder
    from vqvae.grids import reconstruction_grid
    from vqvae.tokenizer import Tokenizer

    require_place(arguments.out)
    device = resolve_device(arguments.device)
    tokenizer = Tokenizer.from_pretrained(resolve_folder(arguments.weights)).to(device)
    judges = {
        "encoder": EmotionEncoder.from_pretrained(resolve_folder(arguments.encoder)).to(device),
        "second_judge": EmotionEncoder.from_pretrained(resolve_folder(arguments.judge)).to(device),
    }
    images = load_images(arguments.data, arguments.split, tokenizer.config.size)
    figures = {"data": arguments.data if arguments.data == "drawn" else "fer2013", "split": arguments.split}
    figures |= {"weights": arguments.weights, **measure(tokenizer, judges, images)}
    make_folder(arguments.out)
    atomic_write_text(arguments.out / "reconstruction.json", json.dumps(figures, indent=2) + "\n")
    reconstruction_grid(tokenizer, images, arguments.out / "reconstructions.png")
    print(json.dumps(figures, indent=2))
    return 0


def load_images(data: str, split: str, size: int) -> Any:
    """(N, size, size) uint8 faces of a split of FER-2013, or drawn ones."""
    if data == "drawn":
        from encoder.drawing.faces import drawn_set

        return drawn_set(split, 2000, seed=0, size=size).images  # type: ignore[arg-type]
    from encoder.data.load import load_faces

    return load_faces(Path(data).expanduser(), split, size=size).images  # type: ignore[arg-type]


cli = command(main)


if __name__ == "__main__":
    cli()
