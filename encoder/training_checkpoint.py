"""What of a training goes into its checkpoints, and which evaluation was the best."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from encoder.checkpoint import load_checkpoint, pack_optimizer, save_checkpoint, step_folder, unpack_optimizer

if TYPE_CHECKING:
    from encoder.training import TrainingTask


def save_task(task: TrainingTask, run_dir: Path, step: int, elapsed: float, best: dict[str, Any], keep: int) -> None:
    """Write the checkpoint of ``step``; ``best`` is the best evaluation so far, whose checkpoint is never removed."""
    tensors: dict[str, dict[str, Tensor]] = {name: dict(module.state_dict()) for name, module in task.modules.items()}
    state: dict[str, Any] = {"elapsed": elapsed, "best": best, "task": task.state(), "ema_updates": {}, "optimizers": {}}
    for name, ema in task.emas.items():
        tensors[f"ema-{name}"] = dict(ema.state())
        state["ema_updates"][name] = ema.updates
    for name, optimizer in task.optimizers.items():
        tensors[f"optimizer-{name}"], state["optimizers"][name] = pack_optimizer(optimizer)
    protect = [best["step"]] if best else []
    save_checkpoint(run_dir, step, tensors=tensors, state=state, keep=keep, protect=protect)


def restore_task(task: TrainingTask, path: Path) -> tuple[int, float, dict[str, Any]]:
    """Put a checkpoint into ``task``; its step, the seconds spent in training, and the best evaluation so far."""
    checkpoint = load_checkpoint(path)
    for name, module in task.modules.items():
        module.load_state_dict(dict(checkpoint.tensors[name]))
    for name, ema in task.emas.items():
        ema.module.load_state_dict(dict(checkpoint.tensors[f"ema-{name}"]))
        ema.updates = checkpoint.state["ema_updates"][name]
    for name, optimizer in task.optimizers.items():
        unpack_optimizer(optimizer, checkpoint.tensors[f"optimizer-{name}"], checkpoint.state["optimizers"][name])
    task.load_state(checkpoint.state.get("task", {}))
    return checkpoint.step, float(checkpoint.state["elapsed"]), dict(checkpoint.state["best"])


def judged(best: dict[str, Any], step: int, score: float) -> dict[str, Any]:
    """The best evaluation after one more; ``waited`` counts those since the score last rose."""
    if best and score < best["score"]:
        return {**best, "waited": best.get("waited", 0) + 1}
    rose = not best or score > best["score"]
    return {"step": step, "score": score, "waited": 0 if rose else best.get("waited", 0) + 1}


def keep_best(task: TrainingTask, run_dir: Path, best: Mapping[str, Any], figures: Mapping[str, float]) -> bool:
    """Put the averages of the best evaluation into ``task`` if they beat the present ones; whether they did."""
    if not best or best["score"] <= figures["score"]:
        return False
    tensors = load_checkpoint(step_folder(run_dir, best["step"])).tensors
    for name, ema in task.emas.items():
        ema.module.load_state_dict(dict(tensors[f"ema-{name}"]))
    return True
