"""What a loader of shared weights must refuse, by name, and that good weights load."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from configs.cli import UserError
from encoder.weights import file_sha256, load_weights, read_config, save_weights


def make_net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_weights(tmp_path / "w", make_net().state_dict(), {"kind": "encoder", "model": {"name": "tiny"}})
    return tmp_path / "w"


def load(folder: Path | str) -> nn.Module:
    net = make_net()
    load_weights(folder, net, read_config(folder, "encoder"))
    return net


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change the tensors and bring the hash up to date: a consistent folder of other weights."""
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)
    edit_config(folder, sha256=file_sha256(file))


def edit_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    config.update(changes)
    (folder / "config.json").write_text(json.dumps(config))


def test_round_trip_keeps_values_to_half_precision(folder: Path) -> None:
    torch.manual_seed(0)
    saved, loaded = make_net().state_dict(), load(folder).state_dict()
    for name, tensor in saved.items():
        assert loaded[name].dtype == tensor.dtype
        torch.testing.assert_close(loaded[name], tensor, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("0.bias"), r"'0\.bias' is missing"),
        (lambda t: t.update(extra=torch.zeros(2)), "unknown tensor 'extra'"),
        (lambda t: t.update({"0.bias": torch.zeros(5, dtype=torch.float16)}), r"'0\.bias' has shape \[5\]"),
        (lambda t: t.update({"0.bias": torch.zeros(4, dtype=torch.int64)}), r"'0\.bias' is of type I64"),
        (lambda t: t["0.weight"].fill_(float("nan")), r"'0\.weight' holds values that are not finite"),
    ],
)
def test_other_tensors_are_refused_by_name(folder: Path, change: Callable, message: str) -> None:
    rewrite(folder, change)
    with pytest.raises(UserError, match=message):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "format_version 2"),
        ({"kind": "tokenizer"}, "kind 'tokenizer', but 'encoder'"),
        ({"kind": "pickle"}, "unknown kind"),
        ({"surprise": 1}, "unknown key 'surprise'"),
        ({"sha256": "0" * 64}, "SHA-256"),
    ],
)
def test_other_configurations_are_refused_by_name(folder: Path, changes: dict, message: str) -> None:
    edit_config(folder, **changes)
    with pytest.raises(UserError, match=message):
        load(folder)


def test_a_missing_key_is_named(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["model"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="'model' is missing"):
        load(folder)


def test_a_key_given_twice_is_refused(folder: Path) -> None:
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"kind"', '"kind": "encoder", "kind"', 1))
    with pytest.raises(UserError, match="'kind' stands twice"):
        load(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        load(folder)


@pytest.mark.parametrize("name", ["model.bin", "model.pt", "model.pth", "model.ckpt", "model.pkl"])
def test_a_folder_of_pickles_is_refused(folder: Path, name: str) -> None:
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(UserError, match="can run code"):
        load(folder)


def test_an_absurd_shape_is_refused_from_the_header_alone(folder: Path) -> None:
    file = folder / "model.safetensors"
    data = file.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    header["0.weight"]["shape"] = [1 << 40, 1 << 20]
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    edit_config(folder, sha256=file_sha256(file))
    with pytest.raises(UserError, match=r"'0\.weight' has shape"):
        load(folder)


def test_an_oversized_header_is_refused(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(struct.pack("<Q", 1 << 40) + b"{}")
    with pytest.raises(UserError, match="damaged or no safetensors"):
        load(folder)


def test_a_truncated_file_is_refused(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    edit_config(folder, sha256=file_sha256(file))
    with pytest.raises(UserError, match="damaged"):
        load(folder)


def test_a_link_that_leaves_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere.safetensors"
    (folder / "model.safetensors").rename(outside)
    (folder / "model.safetensors").symlink_to(outside)
    with pytest.raises(UserError, match="leaves the folder"):
        load(folder)


@pytest.mark.parametrize("path", ["https://example.org/weights", "a/../b", "a\0b", "nowhere"])
def test_paths_that_are_no_folder_of_weights_are_refused(path: str) -> None:
    with pytest.raises(UserError):
        read_config(path, "encoder")


def test_tensors_that_share_memory_are_not_saved(tmp_path: Path) -> None:
    one = torch.zeros(3)
    with pytest.raises(UserError, match="share memory"):
        save_weights(tmp_path, {"a": one, "b": one}, {"kind": "encoder", "model": {}})


def test_values_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'a' is not finite"):
        save_weights(tmp_path, {"a": torch.tensor([1e9])}, {"kind": "encoder", "model": {}})
