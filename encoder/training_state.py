"""Optimisers and random generators as named tensors and JSON, so that checkpoints need no pickle."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
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


def pack_rng() -> dict[str, Tensor]:
    """States of the global generators of torch (CPU and every CUDA device), numpy and Python."""
    packed = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        packed |= {f"cuda{index}": state for index, state in enumerate(torch.cuda.get_rng_state_all())}
    words = np.random.get_state(legacy=False)
    inner = words["state"]
    packed["numpy"] = torch.tensor([*inner["key"].tolist(), inner["pos"], words["has_gauss"]], dtype=torch.int64)
    packed["numpy_gauss"] = torch.tensor([words["gauss"]], dtype=torch.float64)
    _, state, gauss = random.getstate()
    packed["python"] = torch.tensor(state, dtype=torch.int64)
    packed["python_gauss"] = torch.tensor([] if gauss is None else [gauss], dtype=torch.float64)
    return packed


def unpack_rng(tensors: Mapping[str, Tensor]) -> None:
    """Set the global generators to what :func:`pack_rng` stored.

    Raises:
        UserError: a state is missing, unknown or of another size (also: another number of CUDA devices). Nothing is
            changed then.
    """
    expected = pack_rng()
    different = sorted(set(expected) ^ set(tensors))
    if different:
        name = different[0]
        fault = "is missing" if name in expected else "has no generator here"
        raise UserError(f"random state {name} {fault}; an exact resume needs the devices that the run had")
    for name, value in tensors.items():
        free = name == "python_gauss" and value.numel() <= 1
        if value.dtype != expected[name].dtype or (value.shape != expected[name].shape and not free):
            raise UserError(f"random state {name}: {tuple(value.shape)} {value.dtype} is not a state of this generator")
    words = tensors["numpy"].tolist()
    np.random.set_state(
        {
            "bit_generator": "MT19937",
            "state": {"key": np.array(words[:-2], np.uint32), "pos": words[-2]},
            "has_gauss": words[-1],
            "gauss": tensors["numpy_gauss"].item(),
        }
    )
    gauss = tensors["python_gauss"].tolist()
    random.setstate((3, tuple(tensors["python"].tolist()), gauss[0] if gauss else None))
    torch.set_rng_state(tensors["torch"])
    cuda = len(tensors) - 5
    if cuda:
        torch.cuda.set_rng_state_all([tensors[f"cuda{index}"] for index in range(cuda)])
