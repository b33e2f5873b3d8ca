"""The quantiser's speed beside vector-quantize-pytorch and beside the least any quantiser must do."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from configs.cli import command, command_parser
from engine.storage.atomic import require_new
from engine.threads import free_threads, use_threads
from eval.benchmarks import harness
from eval.benchmarks.harness import DEFAULT, LEAST_ROUNDS, held_against
from eval.experiments.options import at_least

EXAMPLES = """examples:
  python -m eval.benchmarks.vq
  python -m eval.benchmarks.vq --threads 1 --groups 1 2 --codes 1024 --dim 8 --out out/vq.json
  python -m eval.benchmarks.vq --positions 2304 --rounds 15

All contestants quantise the same vectors with codebooks of the same size, on the CPU, by turns in one process; the median of
--rounds counts. Features are equal: l2-normalised codes, EMA of counts and sums with decay 0.99, restart of codes used less
than a tenth of the mean, straight-through gradients, commitment loss. "train" is forward, backward and EMA update; "eval" is
vectors to tokens to codes. "floor" is a matrix product, argmax and gather of vectors that are already normalised.

vector-quantize-pytorch is not patched; it is given use_cosine_sim=True, rotation_trick=False, decay=0.99,
threshold_ema_dead_code a tenth of the mean, and for several groups heads with separate_codebook_per_head=True.
It comes with the extra bench: pip install 'mimique[bench]'; where it is missing, it is absent from the table."""

PEER = "vector-quantize-pytorch"
OURS, FLOOR = "mimique", "floor"
TRAIN_TARGET, EVAL_TARGET, FLOOR_TARGET = 3.0, 2.0, 1.3

Call = Callable[[], object]


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser("python -m eval.benchmarks.vq", __doc__, EXAMPLES)
    parser.add_argument("--positions", type=int, default=4096, help=f"vectors of each group at once ({DEFAULT})")
    parser.add_argument("--codes", type=int, default=512, help=f"codes of each codebook ({DEFAULT})")
    parser.add_argument("--dim", type=int, default=16, help=f"channels of a code ({DEFAULT})")
    parser.add_argument("--groups", type=int, nargs="+", default=[1, 2], help="codebooks; each number is a row (default: 1 2)")
    harness.add_options(parser, "vq", rounds=11, seed="of vectors and codes", least=", at least 7")
    return parser


def contestants(
    positions: int, codes: int, dim: int, groups: int, *, seed: int = 0
) -> tuple[dict[str, dict[str, Call]], dict[str, Any]]:
    """(per mode and contestant one call that returns codes (positions, groups * dim), the modules behind them by name)."""
    import torch
    import torch.nn.functional as F

    from vqvae.quantizers.ema_codebook import EmaQuantizer

    torch.manual_seed(seed)
    vectors = torch.randn(positions, groups * dim)
    weights = torch.randn(positions, groups * dim)
    ours = EmaQuantizer(codes, dim, groups, decay=0.99, restart_after=0.1)
    # The start by k-means happens once in a training; it is no part of a step.
    ours.started.fill_(1.0)
    modules: dict[str, Any] = {OURS: ours}
    unit = F.normalize(vectors.view(positions, groups, dim), dim=-1).transpose(0, 1).contiguous()
    table = ours.codes.clone()

    def train_ours() -> torch.Tensor:
        leaf = vectors.detach().requires_grad_()
        made = ours.train()(leaf)
        ((made.vectors * weights).sum() + 0.25 * made.commitment).backward()
        return made.vectors.detach()

    @torch.inference_mode()
    def read_ours() -> torch.Tensor:
        ours.eval()
        return ours.lookup(ours.tokens(vectors))

    @torch.inference_mode()
    def floor() -> torch.Tensor:
        return torch.cat([table[g][(unit[g] @ table[g].T).argmax(dim=1)] for g in range(groups)], dim=1)

    calls: dict[str, dict[str, Call]] = {"train": {OURS: train_ours}, "eval": {FLOOR: floor, OURS: read_ours}}
    try:
        from vector_quantize_pytorch import VectorQuantize
    except ImportError:
        return calls, modules
    peer = VectorQuantize(
        dim=groups * dim,
        codebook_size=codes,
        codebook_dim=dim,
        heads=groups,
        separate_codebook_per_head=groups > 1,
        decay=0.99,
        use_cosine_sim=True,
        rotation_trick=False,
        threshold_ema_dead_code=0.1 * positions / codes,
        commitment_weight=0.25,
        sync_codebook=False,
    )
    book = peer._codebook
    book.embed.data.copy_(table)
    book.embed_avg.data.copy_(table)
    book.cluster_size.data.fill_(1.0)
    modules[PEER] = peer

    def train_peer() -> torch.Tensor:
        leaf = vectors.detach().requires_grad_()
        made, _, commitment = peer.train()(leaf.unsqueeze(0))
        ((made[0] * weights).sum() + commitment.sum()).backward()
        return made[0].detach()

    @torch.inference_mode()
    def read_peer() -> torch.Tensor:
        return peer.eval()(vectors.unsqueeze(0))[0][0]

    calls["train"][PEER], calls["eval"][PEER] = train_peer, read_peer
    return calls, modules


def main(argv: Sequence[str]) -> int:
    asked = build_parser().parse_args(argv)
    at_least(asked, positions=1, codes=2, dim=1, rounds=LEAST_ROUNDS, threads=1, groups=1)
    require_new([asked.out], asked.overwrite)
    from tqdm import tqdm

    threads = use_threads(asked.threads or free_threads())
    rows: list[dict[str, Any]] = []
    for groups in tqdm(asked.groups, desc="codebooks", disable=None):
        calls, _ = contestants(asked.positions, asked.codes, asked.dim, groups, seed=asked.seed)
        for mode, by_name in calls.items():
            seconds = harness.time_by_turns(by_name, rounds=asked.rounds)
            results = {name: harness.summarise(each, asked.positions * groups) for name, each in seconds.items()}
            rows.append({"groups": groups, "mode": mode, "results": results, "targets": compare(mode, results)})
    report = {
        **{name: getattr(asked, name) for name in ("positions", "codes", "dim", "rounds", "seed")},
        "threads": threads,
        "machine": harness.describe_machine(("torch", PEER)),
        "rows": rows,
    }
    return harness.finish(report, format_table(report), asked.out)


def compare(mode: str, results: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """How many times as fast ours is as each other contestant, or as slow as the floor, beside the targets."""
    found, ours = {}, results[OURS]["median_ms"]
    if PEER in results:
        target = TRAIN_TARGET if mode == "train" else EVAL_TARGET
        found[f"times as fast as {PEER}"] = held_against(results[PEER]["median_ms"] / ours, target)
    if FLOOR in results:
        found["time, in floors"] = held_against(ours / results[FLOOR]["median_ms"], FLOOR_TARGET, at_most=True)
    return found


def format_table(report: Mapping[str, Any]) -> list[str]:
    head = (
        f"{report['positions']} vectors, {report['codes']} codes of {report['dim']} channels, {report['threads']} thread(s), "
        f"median of {report['rounds']} rounds, {report['machine']['processor']}"
    )
    cells, ratios = [], []
    for row in report["rows"]:
        for name, found in row["results"].items():
            quartiles = " to ".join(f"{end:.2f}" for end in found["quartiles_ms"])
            speeds = (f"{found['median_ms']:.2f}", quartiles, f"{found['per_second'] / 1e6:.2f}")
            cells.append((name, row["groups"], row["mode"], *speeds))
        for what, held in row["targets"].items():
            ratios.append(f"{row['groups']} group(s), {row['mode']}: {what}: {held['ratio']:.2f}")
    lines = harness.table(("contestant", "groups", "mode", "ms", "quartiles, ms   ", "M codes/s"), cells)
    return [head, "", *lines, "", *ratios, *harness.absent(report["machine"], PEER)]


cli = command(main)


if __name__ == "__main__":
    cli()
