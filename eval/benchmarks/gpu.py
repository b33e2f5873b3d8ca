"""What one GPU does: images a second of both stages in training, the share of its peak that is, and samples a second."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from configs.cli import UserError, command, command_parser
from engine.storage.atomic import require_new
from eval.benchmarks.harness import add_out

if TYPE_CHECKING:
    import torch

    from engine.training.task import TrainingTask
    from vqvae.config import VqvaeConfig

EXAMPLES = """examples:
  python -m eval.benchmarks.gpu
  python -m eval.benchmarks.gpu --batch 2048 --no-compile --out out/gpu.json
  python -m eval.benchmarks.gpu --device cpu --batch 8 --steps 2 tokenizer.widths=[8,16,16] prior.depth=1

Steps are those of vqvae/train.py with the settings of --config: bf16 where the device has it, networks compiled, faces of
random pixels in memory, so that no disk is measured. Floating-point operations are counted by torch in one step that is not
compiled; the peak is that of dense bf16 matrix products by the maker's data sheet, for the GPUs that are known here, else
--peak. Timed are --rounds rounds of --steps steps, of which the median counts, after --warmup steps."""

# TFLOP/s of dense bf16 matrix products by NVIDIA's data sheets (SXM where there are several).
PEAKS = {
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "A10": 125.0,
    "RTX 4090": 165.0,
}


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m eval.benchmarks.gpu", __doc__, EXAMPLES)
    parser.add_argument("--config", default="configs/vqvae/base.yaml", help="settings of both stages (default: %(default)s)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change single settings")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a check of the code, not of a GPU")
    parser.add_argument("--batch", type=int, default=512, help="faces of a training step (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=256, help="faces sampled at a time (default: %(default)s)")
    parser.add_argument("--warmup", type=int, default=20, help="steps before the timed ones (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=50, help="steps of a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="default: %(default)s")
    parser.add_argument("--no-compile", action="store_true", help="leave the networks as they are")
    parser.add_argument("--peak", type=float, help="TFLOP/s of the GPU, where it is not known here")
    add_out(parser, "gpu")
    parser.parse_args = parser.parse_intermixed_args  # type: ignore[method-assign]
    return parser


def main(argv: Sequence[str]) -> int:
    """Measure both stages and sampling; print a table and write it as JSON."""
    arguments = build_parser().parse_args(argv)
    for name in ("batch", "samples", "warmup", "steps", "rounds"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name} {getattr(arguments, name)}: give at least 1")
    require_new([arguments.out], arguments.overwrite)
    import torch

    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "this benchmark measures a GPU and there is none that torch can use; --device cpu only checks that the code runs"
        )
    from configs.loader import load_config
    from engine.storage.atomic import atomic_write_text, make_folder
    from vqvae.config import VqvaeConfig

    batch = [f"{stage}.{name}" for stage in ("tokenizer_stage", "prior_stage") for name in (f"batch_size={arguments.batch}",)]
    fixed = [*batch, f"device={arguments.device}", f"compile={'false' if arguments.no_compile else 'true'}"]
    config = load_config(VqvaeConfig, arguments.config, [*arguments.overrides, *fixed])
    report = measure(config, arguments)
    make_folder(arguments.out.parent)
    atomic_write_text(arguments.out, json.dumps(report, indent=2) + "\n")
    print(f"{format_table(report)}\n\nwritten: {arguments.out}")
    return 0


def measure(config: VqvaeConfig, arguments: argparse.Namespace) -> dict[str, Any]:
    """Figures of both stages and of sampling, with what they were measured on."""
    import numpy as np
    import torch

    from encoder.inference.emotion_encoder import EmotionEncoder
    from engine.devices import make_accelerator
    from engine.storage.weights import resolve_folder
    from vqvae.faces import TrainingFaces
    from vqvae.prior_stage import PriorTask, initial_prior
    from vqvae.tokenizer import Tokenizer
    from vqvae.tokenizer_stage import TokenizerStart, TokenizerTask
    from vqvae.tokens.store import make_token_store

    accelerator = make_accelerator(config.device, config.precision)
    device = accelerator.device
    count, size = max(2 * arguments.batch, 64), config.tokenizer.size
    rng = np.random.default_rng(config.seed)
    images = rng.integers(0, 256, (count, size, size), dtype=np.uint8)
    faces = TrainingFaces(images, np.eye(7, dtype=np.float32)[np.arange(count) % 7], np.zeros(count, np.int64))
    encoder = None if config.encoder is None else EmotionEncoder.from_pretrained(resolve_folder(config.encoder))
    torch.manual_seed(config.seed)
    tokenizer = Tokenizer(config.tokenizer).eval()
    peak = arguments.peak or _known_peak(device)
    plain = config.model_copy(update={"compile": False})
    report: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "precision": accelerator.mixed_precision,
        "compiled": config.compile,
        "batch": arguments.batch,
        "seed": config.seed,
        "peak_tflops": peak,
        "stages": {},
    }

    def task(stage: str, settings: VqvaeConfig) -> TrainingTask:
        if stage == "tokenizer":
            return TokenizerTask(settings, TokenizerStart(settings, encoder, device), faces, faces, accelerator)
        store = make_token_store(faces, tokenizer.to(device), None, 1.0, accelerator)
        return PriorTask(settings, initial_prior(settings), store, store, tokenizer, accelerator)

    for stage in ("tokenizer", "prior"):
        operations = _operations(task(stage, plain))
        trained = task(stage, config)
        report["stages"][stage] = _timed_steps(trained, device, arguments, operations, peak)
    report["sampling"] = _timed_sampling(trained.modules["prior"].eval(), tokenizer.to(device), device, arguments)
    return report


def _operations(task: TrainingTask) -> int:
    """Floating-point operations of one step, all losses taking part."""
    from torch.utils.flop_counter import FlopCounterMode

    task.train_step(0, 0.99)
    with FlopCounterMode(display=False) as counter:
        task.train_step(1, 0.99)
    return int(counter.get_total_flops())


def _timed_steps(
    task: TrainingTask, device: torch.device, arguments: argparse.Namespace, operations: int, peak: float | None
) -> dict[str, Any]:
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    steps = iter(range(10**9))

    def some(number: int) -> None:
        for _ in range(number):
            task.train_step(next(steps), 0.99)
            for name, ema in task.emas.items():
                ema.update(task.modules[name])

    some(arguments.warmup)
    seconds = _median_seconds(lambda: some(arguments.steps), device, arguments.rounds) / arguments.steps
    achieved = operations / seconds / 1e12
    return {
        "parameters": {name: sum(p.numel() for p in module.parameters()) for name, module in task.modules.items()},
        "images_per_second": arguments.batch / seconds,
        "gflop_per_image": operations / arguments.batch / 1e9,
        "tflops": achieved,
        "share_of_peak": None if peak is None else achieved / peak,
        "peak_gib": torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None,
    }


def _timed_sampling(prior: Any, tokenizer: Any, device: torch.device, arguments: argparse.Namespace) -> dict[str, Any]:
    """Faces a second with the sampler's defaults, unverified, decoded; at once one and many."""
    import torch

    from vqvae.sampler import sample_tokens

    found = {}
    for count in (1, arguments.samples):
        emotion = torch.eye(7, device=device)[torch.arange(count, device=device) % 7]
        source = torch.zeros(count, dtype=torch.int64, device=device)

        def once(count: int = count, emotion: Any = emotion, source: Any = source) -> None:
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                tokenizer.decode(sample_tokens(prior, emotion, source, list(range(count))))

        once()
        found[str(count)] = count / _median_seconds(once, device, arguments.rounds)
    return {"faces_per_second": found}


def _median_seconds(function: Callable[[], None], device: torch.device, rounds: int) -> float:
    import torch

    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _known_peak(device: torch.device) -> float | None:
    import torch

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return next((peak for part, peak in PEAKS.items() if part in name), None)


def format_table(report: Mapping[str, Any]) -> str:
    """The report as lines for a terminal."""
    how = f"precision {report['precision']}, {'compiled' if report['compiled'] else 'not compiled'}, batch {report['batch']}"
    peak = "unknown" if report["peak_tflops"] is None else f"{report['peak_tflops']:g} TFLOP/s"
    lines = [f"{report['device']}, torch {report['torch']}, {how}, peak {peak}", ""]
    lines.append(f"{'stage':<12}{'images/s':>12}{'GFLOP/image':>14}{'TFLOP/s':>10}{'of peak':>10}{'GiB':>8}")
    for stage, row in report["stages"].items():
        share = "-" if row["share_of_peak"] is None else f"{100 * row['share_of_peak']:.1f} %"
        memory = "-" if row["peak_gib"] is None else f"{row['peak_gib']:.1f}"
        figures = f"{row['images_per_second']:>12,.0f}{row['gflop_per_image']:>14.2f}{row['tflops']:>10.3f}"
        lines.append(f"{stage:<12}{figures}{share:>10}{memory:>8}")
    for count, speed in report["sampling"]["faces_per_second"].items():
        lines.append(f"sampling {count} at a time: {speed:,.1f} faces/s")
    return "\n".join(lines)


cli = command(main)


if __name__ == "__main__":
    cli()
