"""Optimisers as named tensors and JSON, so that checkpoints need no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from configs.cli import UserError


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
