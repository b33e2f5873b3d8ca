"""The quantiser's speed beside vector-quantize-pytorch and beside the least any quantiser must do."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.cli import UserError, command, command_parser

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
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m eval.benchmarks.vq", __doc__, EXAMPLES)
    parser.add_argument("--positions", type=int, default=4096, help="vectors of each group at once (default: %(default)s)")
    parser.add_argument("--codes", type=int, default=512, help="codes of each codebook (default: %(default)s)")
    parser.add_argument("--dim", type=int, default=16, help="channels of a code (default: %(default)s)")
    parser.add_argument("--groups", type=int, nargs="+", default=[1, 2], help="codebooks; each number is a row (default: 1 2)")
    parser.add_argument("--threads", type=int, help="default: as many as this process may use cores")
    parser.add_argument("--rounds", type=int, default=11, help="timed rounds, at least 7 (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of vectors and codes (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/benchmark-vq.json"), help="default: %(default)s")
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
    """Time everything and print the table; exit code 0 whether or not the targets are met."""
    arguments = build_parser().parse_args(argv)
    from eval.benchmarks.interleaved import LEAST_ROUNDS, summarise, time_by_turns
    from eval.benchmarks.machine import cores, describe_machine

    for name, least in (("positions", 1), ("codes", 2), ("dim", 1), ("rounds", LEAST_ROUNDS), ("threads", 1)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise UserError(f"--{name} {value}: give at least {least}")
    if min(arguments.groups) < 1:
        raise UserError("--groups: give at least 1")
    import torch
    from tqdm import tqdm

    from engine.storage.atomic import write_json

    threads = arguments.threads or cores()
    torch.set_num_threads(threads)
    rows: list[dict[str, Any]] = []
    for groups in tqdm(arguments.groups, desc="codebooks", disable=None):
        calls, _ = contestants(arguments.positions, arguments.codes, arguments.dim, groups, seed=arguments.seed)
        for mode, by_name in calls.items():
            seconds = time_by_turns(by_name, rounds=arguments.rounds)
            results = {name: summarise(each, arguments.positions * groups) for name, each in seconds.items()}
            rows.append({"groups": groups, "mode": mode, "results": results, "targets": compare(mode, results)})
    report = {
        **{name: getattr(arguments, name) for name in ("positions", "codes", "dim", "rounds", "seed")},
        "threads": threads,
        "machine": describe_machine(("torch", PEER)),
        "rows": rows,
    }
    write_json(arguments.out, report)
    print(f"{format_table(report)}\n\nwritten: {arguments.out}")
    return 0


def compare(mode: str, results: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """How many times as fast ours is as each other contestant, or as slow as the floor, beside the targets."""
    from eval.benchmarks.interleaved import held_against

    found, ours = {}, results[OURS]["median_ms"]
    if PEER in results:
        target = TRAIN_TARGET if mode == "train" else EVAL_TARGET
        found[f"times as fast as {PEER}"] = held_against(results[PEER]["median_ms"] / ours, target)
    if FLOOR in results:
        found["time, in floors"] = held_against(ours / results[FLOOR]["median_ms"], FLOOR_TARGET, at_most=True)
    return found


def format_table(report: Mapping[str, Any]) -> str:
    """The report as lines for a terminal."""
    lines = [
        f"{report['positions']} vectors, {report['codes']} codes of {report['dim']} channels, {report['threads']} thread(s), "
        f"median of {report['rounds']} rounds, {report['machine']['processor']}",
        "",
        f"{'groups':>6} {'mode':<6} {'contestant':<24} {'ms':>8} {'quartiles':>17} {'M codes/s':>10}",
    ]
    for row in report["rows"]:
        for name, found in row["results"].items():
            low, high = found["quartiles_ms"]
            lines.append(
                f"{row['groups']:>6} {row['mode']:<6} {name:<24} {found['median_ms']:>8.2f} {low:>8.2f} {high:>8.2f} "
                f"{found['per_second'] / 1e6:>10.2f}"
            )
    lines.append("")
    for row in report["rows"]:
        for what, held in row["targets"].items():
            verdict = "met" if held["met"] else "not met"
            where = f"{row['groups']} group(s), {row['mode']}"
            lines.append(f"{where}: {what}: {held['ratio']:.2f} (target {held['target']:g}: {verdict})")
    if PEER not in report["machine"]:
        lines.append(f"{PEER} is not installed and therefore absent: pip install 'mimique[bench]'")
    return "\n".join(lines)


cli = command(main)


if __name__ == "__main__":
    cli()
