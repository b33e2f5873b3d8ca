"""Sampling speed beside muse-maskgit-pytorch and a KV-cached autoregressive x-transformers model, and verified faces a second."""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from configs.cli import UserError, command, command_parser
from encoder.emotions import EMOTION_NAMES, NUM_EMOTIONS
from engine.storage.atomic import require_new
from engine.threads import free_threads, use_threads
from eval.benchmarks import harness
from eval.benchmarks.harness import DEFAULT, LEAST_ROUNDS, held_against
from eval.experiments.options import at_least

if TYPE_CHECKING:
    from eval.benchmarks.prior_contestants import Sampler

EXAMPLES = """examples:
  python -m eval.benchmarks.prior
  python -m eval.benchmarks.prior --threads 1 --groups 2 --steps 8 --out out/prior.json
  python -m eval.benchmarks.prior --precision bf16
  python -m eval.benchmarks.prior --positions 144 --codes 1024 --verified 0

All contestants sample on the CPU, by turns in one process, with the same number of parameters (within 5 %: their width is
chosen for it), depth, tokens a face and steps; the median of --rounds counts. The autoregressive model takes as many steps as
there are tokens. --groups 2 is what ships: two codes at each position, so half as many positions as the peers have tokens
(muse-maskgit-pytorch needs a square of them and gets the next smaller one). "guided" is classifier-free guidance: two
networks' worth of work, which x-transformers does not offer.

"verified faces" are made by the weights in --weights at their default settings, decoded, read by the encoder and refused
where it disagrees: accepted faces of all seven emotions by seconds.

With --precision bf16 all compute in bfloat16, and muse-maskgit-pytorch, whose attention cannot, is absent.
What was changed in a peer is said at the top of eval/benchmarks/prior_contestants.py. Peers come with the extra bench:
pip install 'mimique[bench]'; one that is missing is absent from the table."""

LATENCY_TARGET, THROUGHPUT_TARGET = 2.0, 1.0
GUIDANCE = 3.0
PEERS = ("muse-maskgit-pytorch", "x-transformers")
_REPORTED = ("positions", "codes", "depth", "heads", "steps", "precision", "rounds", "seed")


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser("python -m eval.benchmarks.prior", __doc__, EXAMPLES)
    parser.add_argument("--positions", type=int, default=64, help=f"of our prior, a square number ({DEFAULT})")
    parser.add_argument("--groups", type=int, nargs="+", default=[1, 2], help="codes a position; each a table (default: 1 2)")
    parser.add_argument("--codes", type=int, default=512, help=f"codes of a codebook ({DEFAULT})")
    parser.add_argument("--width", type=int, default=224, help=f"of our prior ({DEFAULT})")
    parser.add_argument("--depth", type=int, default=6, help=f"of all contestants ({DEFAULT})")
    parser.add_argument("--heads", type=int, default=7, help=f"of all contestants ({DEFAULT})")
    parser.add_argument("--steps", type=int, default=12, help=f"of ours and muse ({DEFAULT})")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16], help="faces at once (default: 1 16)")
    parser.add_argument(
        "--precision", choices=("float32", "bf16"), default="float32", help=f"of everybody's arithmetic ({DEFAULT})"
    )
    parser.add_argument("--weights", default="pretrained", help=f"for verified faces ({DEFAULT})")
    parser.add_argument("--verified", type=int, default=16, help=f"faces of each emotion; 0: none ({DEFAULT})")
    harness.add_options(parser, "prior", rounds=7, seed="of weights and faces", least=", at least 7")
    return parser


def main(argv: Sequence[str]) -> int:
    asked = build_parser().parse_args(argv)
    at_least(asked, positions=1, codes=2, width=16, depth=1, heads=1, steps=1, threads=1, rounds=LEAST_ROUNDS)
    at_least(asked, verified=0, groups=1, batch=1)
    require_new([asked.out], asked.overwrite)
    if math.isqrt(asked.positions) ** 2 != asked.positions:
        raise UserError(f"--positions {asked.positions}: is no square number like 64")
    if asked.width % asked.heads:
        raise UserError(f"--width {asked.width}: is no multiple of --heads {asked.heads}")
    import torch

    threads = use_threads(asked.threads or free_threads())
    with torch.autocast("cpu", torch.bfloat16, enabled=asked.precision == "bf16"):
        tables = [_table(asked, groups) for groups in asked.groups]
    report = {
        **{name: getattr(asked, name) for name in _REPORTED},
        "guidance": GUIDANCE,
        "threads": threads,
        "machine": harness.describe_machine(("torch", *PEERS)),
        "tables": tables,
        "verified": _verified(asked) if asked.verified else None,
    }
    return harness.finish(report, format_tables(report), asked.out)


def contestants(arguments: argparse.Namespace, groups: int) -> dict[str, Sampler]:
    import torch

    from eval.benchmarks import prior_contestants as samplers
    from vqvae.config import PriorConfig

    torch.manual_seed(arguments.seed)
    config = PriorConfig(width=arguments.width, depth=arguments.depth, heads=arguments.heads, dropout=0.0)
    steps, codes, tokens = arguments.steps, arguments.codes, arguments.positions * groups
    mine = samplers.ours(config, arguments.positions, groups, codes, steps)
    found = {samplers.OURS: mine}
    peers = {
        samplers.MUSE: lambda: samplers.muse(config, mine.parameters, tokens, codes, steps),
        samplers.AUTOREGRESSIVE: lambda: samplers.autoregressive(config, mine.parameters, tokens, codes),
    }
    if arguments.precision == "bf16":
        del peers[samplers.MUSE]
    for name, make in peers.items():
        try:
            found[name] = make()
        except ImportError:
            continue
        except ValueError as error:
            raise UserError(f"{name}: {error}; choose another --width or --depth") from None
    return found


def _table(arguments: argparse.Namespace, groups: int) -> dict[str, Any]:
    import torch
    from tqdm import tqdm

    samplers = contestants(arguments, groups)
    rows = []
    cases = [(batch, guidance) for batch in arguments.batch for guidance in (0.0, GUIDANCE)]
    for batch, guidance in tqdm(cases, desc=f"{groups} code(s) a position", disable=None):
        emotions = torch.arange(batch) % NUM_EMOTIONS
        calls = {
            name: partial(sampler.sample, emotions, guidance)
            for name, sampler in samplers.items()
            if sampler.guided or not guidance
        }
        seconds = harness.time_by_turns(calls, rounds=arguments.rounds)
        results = {name: harness.summarise(each, batch) for name, each in seconds.items()}
        rows.append({"batch": batch, "guided": guidance > 0, "results": results, "targets": compare(batch, results)})
    who = {
        name: {"parameters": each.parameters, "tokens": each.tokens, "passes": each.passes, "note": each.note}
        for name, each in samplers.items()
    }
    return {"groups": groups, "contestants": who, "rows": rows}


def compare(batch: int, results: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """How many times as fast ours is as each peer, beside the target for one face or for many at once."""
    ours = results["mimique"]["median_ms"]
    target = LATENCY_TARGET if batch == 1 else THROUGHPUT_TARGET
    return {name: held_against(row["median_ms"] / ours, target) for name, row in results.items() if name != "mimique"}


def _verified(arguments: argparse.Namespace) -> dict[str, Any]:
    """Accepted faces by seconds, over rounds of other seeds."""
    from generation.pipeline import FacePipeline

    pipe = FacePipeline.from_pretrained(arguments.weights)
    settings = {"precision": arguments.precision}
    request = pipe.settled(pipe.request(EMOTION_NAMES[0], arguments.verified, arguments.seed, **settings))
    pipe("neutral", 2, arguments.seed, **settings)
    speeds, drawn, kept, asked = [], 0, 0, 0
    for number in range(arguments.rounds):
        first = arguments.seed + number * arguments.verified
        batches = [pipe(name, arguments.verified, first, **settings) for name in EMOTION_NAMES]
        accepted = sum(len(batch.faces) for batch in batches)
        speeds.append(accepted / sum(batch.seconds for batch in batches))
        kept, drawn = kept + accepted, drawn + sum(batch.tried for batch in batches)
        asked += arguments.verified * len(batches)
    return {
        "weights": pipe.weights,
        "settings": request.model_dump(mode="json", exclude={"emotion", "seed", "count"}),
        "asked": asked,
        "accepted": kept,
        "tried": drawn,
        "faces_per_second": float(f"{statistics.median(speeds):.4g}"),
    }


def format_tables(report: Mapping[str, Any]) -> list[str]:
    lines = [
        f"{report['steps']} steps, {report['codes']} codes, {report['precision']}, {report['threads']} thread(s), "
        f"median of {report['rounds']} rounds, {report['machine']['processor']}"
    ]
    for table in report["tables"]:
        lines += ["", f"{table['groups']} code(s) a position"]
        for name, each in table["contestants"].items():
            size = f"{each['parameters'] / 1e6:.2f} M parameters, {each['tokens']} tokens, {each['passes']} passes"
            lines.append(f"{name}: {size}; {each['note']}")
        cells, ratios = [], []
        for row in table["rows"]:
            for name, found in row["results"].items():
                quartiles = " to ".join(f"{end:.1f}" for end in found["quartiles_ms"])
                speeds = (f"{found['median_ms']:.1f}", quartiles, f"{found['per_second']:.2f}")
                cells.append((name, row["batch"], "yes" if row["guided"] else "no", *speeds))
            case = f"{row['batch']} face(s){', guided' if row['guided'] else ''}"
            for name, held in row["targets"].items():
                ratios.append(f"{case}: {held['ratio']:.2f} x as fast as {name}")
        lines += [*harness.table(("contestant", "faces", "guided", "ms", "quartiles, ms   ", "faces/s"), cells), *ratios]
    if (verified := report["verified"]) is not None:
        accepted = f"{verified['accepted']} of {verified['asked']} asked for, {verified['tried']} drawn"
        lines += ["", f"verified faces: {verified['faces_per_second']:.2f} a second, default settings ({accepted})"]
    return [*lines, *harness.absent(report["machine"], *PEERS)]


cli = command(main)


if __name__ == "__main__":
    cli()
