"""What of a training goes into its checkpoints, and which evaluation was the best."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from configs.cli import UserError
from encoder.checkpoint import load_checkpoint, save_checkpoint, step_folder
from encoder.training_state import pack_optimizer, unpack_optimizer

if TYPE_CHECKING:
    from encoder.training import TrainingTask


def save_task(task: TrainingTask, run_dir: Path, step: int, elapsed: float, best: dict[str, Any], keep: int, world: int) -> None:
    """Write the checkpoint of ``step``; ``best`` is the best evaluation so far, whose checkpoint is never removed."""
    tensors: dict[str, dict[str, Tensor]] = {name: dict(module.state_dict()) for name, module in task.modules.items()}
    state: dict[str, Any] = {"elapsed": elapsed, "best": best, "task": task.state(), "ema_updates": {}, "optimizers": {}}
    state["processes"] = world
    for name, ema in task.emas.items():
        tensors[f"ema-{name}"] = dict(ema.state())
        state["ema_updates"][name] = ema.updates
    for name, optimizer in task.optimizers.items():
        tensors[f"optimizer-{name}"], state["optimizers"][name] = pack_optimizer(optimizer)
    protect = [best["step"]] if best else []
    save_checkpoint(run_dir, step, tensors=tensors, state=state, keep=keep, protect=protect)


def restore_task(task: TrainingTask, path: Path) -> tuple[int, float, dict[str, Any], int]:
    """Put a checkpoint into ``task``.

    Returns:
        its step, the seconds spent in training, the best evaluation so far, and how many processes trained.

    Raises:
        UserError: the checkpoint is damaged, of another stage, or of another shape.
    """
    checkpoint = load_checkpoint(path)
    expected = {*task.modules, *(f"ema-{name}" for name in task.emas), *(f"optimizer-{name}" for name in task.optimizers)}
    if expected != set(checkpoint.tensors):
        raise UserError(
            f"{path}: holds {', '.join(sorted(checkpoint.tensors))}, but this training needs {', '.join(sorted(expected))}; "
            "it is of another stage or program"
        )
    try:
        for name, module in task.modules.items():
            module.load_state_dict(dict(checkpoint.tensors[name]))
        for name, ema in task.emas.items():
            ema.module.load_state_dict(dict(checkpoint.tensors[f"ema-{name}"]))
            ema.updates = checkpoint.state["ema_updates"][name]
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"{path}: {reason}; resume with the configuration of the run") from None
    for name, optimizer in task.optimizers.items():
        unpack_optimizer(optimizer, checkpoint.tensors[f"optimizer-{name}"], checkpoint.state["optimizers"][name])
    state = checkpoint.state
    task.load_state(state.get("task", {}))
    return checkpoint.step, float(state["elapsed"]), dict(state["best"]), int(state.get("processes", 1))


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
