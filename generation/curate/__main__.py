"""Keep the best of drawn or of real faces, for a prior to learn from: it then draws more like them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from configs.cli import INTERRUPT_EXIT, UserError, add_overwrite, command, command_parser
from encoder.emotions import EMOTION_NAMES, parse_emotion
from generation.options import add_field_options, add_network_options
from generation.request import FaceRequest

FEWER_EXIT = 3
SAMPLING = ("steps", "guidance", "temperature", "cooled", "autoguidance")
EXAMPLES = """examples:
  python -m generation.curate --per-emotion 500 --out runs/chosen.safetensors
  python -m generation.curate --emotions fear,sadness --per-emotion 900 --guidance 0 --cooled 0.9 --out runs/more.safetensors
  python -m generation.curate --tokens runs/packed/train.safetensors --realism 0.08 --per-emotion 900 --out runs/real.safetensors
  python -m generation.curate --tokens runs/packed/train.safetensors --redraw --per-emotion 700 --out runs/redrawn.safetensors
  accelerate launch vqvae/train.py --config configs/vqvae/colour.yaml --stage prior --out runs/curated --resume latest

The last is of a prior that learns from them: docs/how_to/training/paint_photographs.md has the whole command.

A face is kept if encoder, critic, probe and detector accept its first draw; as many women as men. Weak guidance and a high
temperature (--guidance 0 --cooled 0.9) keep more of what faces there are. With --tokens nothing is drawn: real faces are asked
the same, as the decoder paints them. With --redraw as well, people of photographs whose gender is known are given the emotion:
it keeps faces of many people for emotions of which data sets show few. Ctrl-C writes those that were kept by then.
exit codes: 0 complete, 2 bad input, 3 fewer faces than asked (the file is written), 130 stopped by Ctrl-C."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m generation.curate", __doc__, EXAMPLES)
    parser.add_argument("--per-emotion", type=int, required=True, metavar="N", help="faces to keep of each emotion")
    parser.add_argument("--emotions", default=",".join(EMOTION_NAMES), help="of which emotions (default: all seven)")
    more = "share of photographs that must look less believable (default: %(default)s)"
    parser.add_argument("--realism", type=float, default=0.4, metavar="BAR", help=more)
    parser.add_argument(
        "--burnt",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="share of a picture that may be nearly white: much light hides a face (default: %(default)s)",
    )
    parser.add_argument(
        "--tokens", type=Path, metavar="FILE", help="choose among these real faces (python -m vqvae.pack), instead of drawing"
    )
    parser.add_argument(
        "--redraw",
        action="store_true",
        help="with --tokens: give the people of its photographs the emotion; brows, eyes and mouth are drawn, the rest stays",
    )
    parser.add_argument(
        "--borrow",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="with --redraw: so much of brows, eyes and mouth is taken from a real face with the emotion (default: %(default)s)",
    )
    parser.add_argument("--most", type=int, default=20, metavar="N", help="draws for each face asked for (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=1_000_000, help="of the first face; far from those you measure with (default: %(default)s)"
    )
    parser.add_argument(
        "--gender",
        default="pretrained/gender",
        metavar="NAME",
        help="whoever reads gender, a folder or deepface: adults are kept if they are read as they were told; none: nobody "
        "(default: %(default)s)",
    )
    add_field_options(parser, FaceRequest, leave_out=tuple(set(FaceRequest.model_fields) - set(SAMPLING)))
    parser.add_argument("--precision", choices=("float32", "bf16"), default="bf16", help="of the prior (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="file for the faces")
    add_network_options(parser)
    add_overwrite(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Parse, draw, write; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    emotions = list(dict.fromkeys(parse_emotion(name) for name in arguments.emotions.split(",")))
    for name in ("per_emotion", "most"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name.replace('_', '-')}: must be at least 1, got {getattr(arguments, name)}")
    if not 0.0 <= arguments.burnt <= 1.0:
        raise UserError(f"--burnt: must be between 0 and 1, got {arguments.burnt}")
    if not 0.0 <= arguments.borrow <= 1.0:
        raise UserError(f"--borrow: must be between 0 and 1, got {arguments.borrow}")
    if arguments.borrow and not arguments.redraw:
        raise UserError("--borrow: goes with --redraw; add it, or leave --borrow out")
    sampling = {name: getattr(arguments, name) for name in SAMPLING if getattr(arguments, name) is not None}
    if arguments.redraw and arguments.tokens is None:
        raise UserError("--redraw: needs photographs to draw in; name them with --tokens")
    if arguments.tokens is not None and sampling and not arguments.redraw:
        raise UserError(f"--{next(iter(sampling))}: nothing is drawn with --tokens alone; leave it out, or add --redraw")
    from tqdm import tqdm

    from encoder.people.gender import create_gender
    from engine.storage.atomic import require_new
    from generation.curate.choose import Chosen, choose_faces
    from generation.curate.real import choose_real
    from generation.curate.sitters import Sitters
    from generation.draw import FaceModel
    from vqvae.tokens.packed import pack, unpack

    require_new([arguments.out], arguments.overwrite)
    model = FaceModel.from_pretrained(arguments.weights, encoder=arguments.encoder).to(arguments.device)
    if model.critic is None:
        raise UserError(f"{arguments.weights}: has no critic that could choose; see python -m vqvae.critics")
    gender = None if arguments.gender == "none" else create_gender(arguments.gender, device=arguments.device)
    store, sha256 = None, model.tokenizer.encoding_sha256()
    if arguments.tokens is not None:
        store = unpack(arguments.tokens, model.tokenizer.config, sha256, len(model.attributes))
    sitters = Sitters(model, store, arguments.seed, arguments.borrow) if store is not None and arguments.redraw else None
    if sitters is not None and arguments.borrow:
        for emotion in emotions:
            sitters.lenders(emotion)  # before anything is drawn: what was kept of others would be lost
    chosen, interrupted = Chosen(), False
    hidden = True if arguments.quiet else None
    asked = {
        "count": arguments.per_emotion,
        "gender": gender,
        "burnt": arguments.burnt,
        "realism": arguments.realism,
        "precision": arguments.precision,
    }
    with tqdm(total=arguments.per_emotion * len(emotions), desc="chosen", unit="face", disable=hidden) as bar:
        try:
            for emotion in emotions:
                bar.set_postfix_str(emotion.label)
                if store is not None and sitters is None:
                    choose_real(model, emotion, store, chosen, seed=arguments.seed, told=bar.update, **asked)
                else:
                    most = arguments.most * arguments.per_emotion
                    own = {"seed": arguments.seed, "most": most, "sitters": sitters, **sampling}
                    choose_faces(model, emotion, chosen, told=bar.update, **own, **asked)
        except KeyboardInterrupt:
            interrupted = True
    verb = "drawn" if store is None or arguments.redraw else "seen"
    if not len(chosen):
        if interrupted:
            raise KeyboardInterrupt
        raise UserError("no face was good enough; lower --realism, or raise --most")
    size = pack(chosen.store(), arguments.out, model.tokenizer.config.codebook_size, sha256)
    if not arguments.quiet:
        print(f"{'emotion':<10} {'kept':>6} {verb:>7}")
        for emotion, drawn in chosen.drawn.items():
            print(f"{emotion.label:<10} {chosen.count(emotion):>6} {drawn:>7}")
        print(f"{arguments.out}: {len(chosen)} faces, {size / 1e6:.1f} MB")
    if interrupted:
        print("stopped: the faces kept so far are written", file=sys.stderr)
        return INTERRUPT_EXIT
    missing = [emotion.label for emotion in emotions if chosen.count(emotion) < arguments.per_emotion]
    if missing:
        mend = "raise --most or lower --realism" if verb == "drawn" else "lower --realism"
        print(f"error: fewer faces than asked for of {', '.join(missing)}; {mend}", file=sys.stderr)
        return FEWER_EXIT
    return 0


cli = command(main)


if __name__ == "__main__":
    cli()
