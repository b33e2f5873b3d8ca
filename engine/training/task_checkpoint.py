"""What of a training goes into its checkpoints, and which evaluation was the best."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from configs.cli import UserError
from engine.storage.checkpoint import load_checkpoint, save_checkpoint, step_folder

if TYPE_CHECKING:
    from engine.training.task import TrainingTask


def save_task(task: TrainingTask, run_dir: Path, step: int, elapsed: float, best: dict[str, Any], keep: int, world: int) -> None:
    """Write the checkpoint of ``step``; ``best`` is the best evaluation so far, whose checkpoint is never removed."""
    tensors: dict[str, dict[str, Tensor]] = {name: dict(module.state_dict()) for name, module in task.modules.items()}
    state: dict[str, Any] = {"elapsed": elapsed, "best": best, "task": task.state(), "ema_updates": {}, "optimizers": {}}
    state |= {"processes": world, "threads": torch.get_num_threads()}
    for name, ema in task.emas.items():
        tensors[f"ema-{name}"] = dict(ema.state())
        state["ema_updates"][name] = ema.updates
    for name, optimizer in task.optimizers.items():
        tensors[f"optimizer-{name}"], state["optimizers"][name] = pack_optimizer(optimizer)
    protect = [best["step"]] if best else []
    save_checkpoint(run_dir, step, tensors=tensors, state=state, keep=keep, protect=protect)


def restore_task(task: TrainingTask, path: Path) -> tuple[int, float, dict[str, Any], int, int | None]:
    """Put a checkpoint into ``task``.

    Returns:
        its step, the seconds spent in training, the best evaluation so far, how many processes trained, and with how many
        threads each (None: of a time when this was not noted).

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
    world, threads = int(state.get("processes", 1)), state.get("threads")
    return checkpoint.step, float(state["elapsed"]), dict(state["best"]), world, threads


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


def pack_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State of an optimiser whose per-parameter state is tensors and numbers (AdamW, SGD, ...).

    Returns:
        tensors named ``<parameter index>.<name>``, and a JSON object with the parameter groups and the names.
    """
    stored = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    described: dict[str, Any] = {}
    for index, state in stored["state"].items():
        found = {name: value for name, value in state.items() if isinstance(value, Tensor)}
        tensors.update({f"{index}.{name}": value for name, value in found.items()})
        others = {name: value for name, value in state.items() if name not in found}
        described[str(index)] = {"tensors": sorted(found), "values": others}
    return tensors, {"param_groups": stored["param_groups"], "state": described}


def unpack_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], json_state: Mapping[str, Any]) -> None:
    """Put a packed state into ``optimizer``, which must hold the same parameters in the same groups.

    Raises:
        UserError: other groups or parameters, or a tensor missing, unknown or of another shape. Nothing is changed
            then.
    """
    groups = _matched_groups(optimizer, json_state["param_groups"])
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    described = {int(index): entry for index, entry in json_state["state"].items()}
    expected = {f"{index}.{name}" for index, entry in described.items() for name in entry["tensors"]}
    if expected != set(tensors):
        name = sorted(expected ^ set(tensors))[0]
        raise UserError(f"optimizer state: tensor {name} is {'missing' if name in expected else 'unknown'}")
    state: dict[int, dict[str, Any]] = {}
    for index, entry in described.items():
        if not 0 <= index < len(parameters):
            raise UserError(f"optimizer state: parameter {index} does not exist; there are {len(parameters)}")
        state[index] = dict(entry["values"])
        for name in entry["tensors"]:
            value, shape = tensors[f"{index}.{name}"], parameters[index].shape
            if value.ndim and value.shape != shape:
                raise UserError(
                    f"optimizer state: {index}.{name} has shape {tuple(value.shape)}, its parameter {tuple(shape)}; "
                    "resume with the configuration of the run"
                )
            # torch gives a moment the memory layout of its parameter (channels_last, say); so does this.
            place = torch.empty_like(parameters[index] if value.ndim else value, dtype=value.dtype, device="cpu")
            state[index][name] = place.copy_(value)
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _matched_groups(optimizer: torch.optim.Optimizer, stored: list[dict[str, Any]]) -> list[dict[str, Any]]:
    present = optimizer.state_dict()["param_groups"]
    sizes, wanted = [len(group["params"]) for group in stored], [len(group["params"]) for group in present]
    if sizes != wanted:
        raise UserError(f"optimizer state: parameter groups of sizes {sizes}, this model has {wanted}")
    matched = []
    for number, (old, new) in enumerate(zip(stored, present, strict=True)):
        missing = sorted(set(new) - set(old))
        if missing:
            raise UserError(f"optimizer state: group {number} lacks {missing[0]}; it is of another optimizer")
        # JSON has no tuples, and some optimisers compare or unpack theirs.
        matched.append({key: tuple(value) if isinstance(new.get(key), tuple) else value for key, value in old.items()})
    return matched
