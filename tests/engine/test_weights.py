"""Weights folders: saved in half precision, loaded strictly; whatever is not exactly right is refused by name."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from configs.cli import UserError
from configs.version import version
from engine.storage.weights import file_sha256, load_weights, read_config, save_weights

CONFIG = {"kind": "encoder", "model": {"width": 8, "heads": ["fer2013"]}, "metrics": {"accuracy": 0.7}}


class Net(nn.Module):
    """Floats, an integer buffer and a flag: everything that a state_dict of this project holds."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.register_buffer("started", torch.tensor(True))


@pytest.fixture
def net(rng: np.random.Generator) -> Net:
    torch.manual_seed(int(rng.integers(2**31)))
    return Net()


@pytest.fixture
def folder(tmp_path: Path, net: Net) -> Path:
    save_weights(tmp_path / "weights", net.state_dict(), CONFIG)
    return tmp_path / "weights"


def load(folder: str | Path, kind: str = "encoder") -> Net:
    """Read into a fresh module, as a caller does; a refusal must leave that module as it was."""
    fresh = Net()
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    refusal: UserError | None = None
    try:
        load_weights(folder, fresh, read_config(folder, kind))
    except UserError as error:
        refusal = error
    if refusal is not None:
        assert "\n" not in str(refusal)
        assert all(torch.equal(before[name], tensor) for name, tensor in fresh.state_dict().items())
        raise refusal
    return fresh


def put_config(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the configuration on purpose: without its hash."""
    config = json.loads((folder / "config.json").read_text())
    config.pop("config_sha256", None)
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def put_bytes(folder: Path, data: bytes) -> None:
    """Other weights with their right hash, as an attacker would make them."""
    (folder / "model.safetensors").write_bytes(data)
    put_config(folder, lambda config: config.update(sha256=file_sha256(folder / "model.safetensors")))


def put_tensors(folder: Path, tensors: dict[str, Tensor]) -> None:
    put_bytes(folder, safetensors.torch.save(tensors))


def header_of(entries: Any, data: bytes = b"") -> bytes:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + data


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def test_weights_come_back_in_half_precision(folder: Path, net: Net) -> None:
    stored = safetensors.torch.load_file(folder / "model.safetensors")
    assert stored["conv.weight"].dtype == torch.float16
    assert stored["norm.num_batches_tracked"].dtype == torch.int64
    found = load(folder).state_dict()
    for name, tensor in net.state_dict().items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor.half().to(tensor.dtype) if tensor.is_floating_point() else tensor)


def test_the_config_comes_back_with_version_and_hash(folder: Path) -> None:
    config = read_config(folder, "encoder")
    digest = file_sha256(folder / "model.safetensors")
    assert config == {**CONFIG, "format_version": 1, "version": version(), "sha256": digest}
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("patterns", [["norm.running_var"], ["norm.*", "conv.bias"]])
def test_named_tensors_stay_in_full_precision(tmp_path: Path, net: Net, patterns: list[str]) -> None:
    with torch.no_grad():
        net.norm.running_var.fill_(1e-9)  # zero in half precision
    save_weights(tmp_path, net.state_dict(), CONFIG, keep_float32=patterns)
    stored = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert stored["norm.running_var"].dtype == torch.float32
    assert stored["conv.weight"].dtype == torch.float16
    assert torch.equal(load(tmp_path).norm.running_var, net.norm.running_var)


def test_full_precision_is_exact_and_layouts_are_kept(tmp_path: Path, net: Net) -> None:
    net = net.to(memory_format=torch.channels_last)
    save_weights(tmp_path, net.state_dict(), CONFIG, half=False)
    assert torch.equal(load(tmp_path).conv.weight, net.conv.weight)


def test_saving_again_replaces_both_files(folder: Path, net: Net) -> None:
    with torch.no_grad():
        net.conv.bias.fill_(2.0)
    save_weights(folder, net.state_dict(), CONFIG)
    assert load(folder).conv.bias.tolist() == [2.0] * 8


def test_shared_tensors_are_not_saved(tmp_path: Path) -> None:
    table = torch.randn(4, 4)
    for other in (table, table.T, table[1:]):
        with pytest.raises(UserError, match=r"tensors embed and head share memory.*clone"):
            save_weights(tmp_path / "weights", {"embed": table, "head": other}, CONFIG)
    assert not (tmp_path / "weights").exists()


@pytest.mark.parametrize(
    ("value", "options", "message"),
    [
        (float("nan"), {}, "tensor conv.bias has 1 value.* not finite"),
        (float("inf"), {"half": False}, "tensor conv.bias has 1 value.* not finite"),
        (1e5, {}, "tensor conv.bias .*too large for float16; name it in keep_float32"),
        (0.0, {"keep_float32": ["conv.bais"]}, "keep_float32: 'conv.bais' names none"),
    ],
)
def test_unusable_tensors_are_not_saved(tmp_path: Path, net: Net, value: float, options: dict[str, Any], message: str) -> None:
    with torch.no_grad():
        net.conv.bias[3] = value
    with pytest.raises(UserError, match=message):
        save_weights(tmp_path / "weights", net.state_dict(), CONFIG, **options)
    assert not (tmp_path / "weights").exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**CONFIG, "moddel": {}}, "moddel: unknown key"),
        ({"kind": "encoder"}, "model is missing"),
        ({**CONFIG, "training": {"path": Path("runs")}}, r"training\.path: PosixPath is no plain data"),
        ({**CONFIG, "training": {"rates": [1.0, float("nan")]}}, r"training\.rates\[1\]: nan is not a finite"),
        ({**CONFIG, "model": {"labels": {0: "anger"}}}, r"model\.labels\.0: keys must be text"),
        ({**CONFIG, "model": [1]}, "model: must be an object"),
    ],
)
def test_a_config_that_could_not_be_read_again_is_not_saved(
    tmp_path: Path, net: Net, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        save_weights(tmp_path / "weights", net.state_dict(), config)
    assert not (tmp_path / "weights").exists()


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth", ".ckpt", ".pkl"])
def test_pickles_are_refused_by_name(tmp_path: Path, folder: Path, suffix: str) -> None:
    pickle = tmp_path / "old" / f"pytorch_model{suffix}"
    pickle.parent.mkdir()
    pickle.write_bytes(b"\x80\x04N.")
    with pytest.raises(UserError, match=rf"pytorch_model\{suffix} beside it is a pickle"):
        load(pickle.parent)
    with pytest.raises(UserError, match=rf"pytorch_model\{suffix}: a pickle can run code"):
        load(pickle)
    (folder / "model.safetensors").replace(folder / f"model{suffix}")
    with pytest.raises(UserError, match=rf"model\.safetensors: no such file; model\{suffix} beside it is a pickle"):
        load(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_files_and_folders_are_named(folder: Path, name: str) -> None:
    (folder / name).rename(folder / "away")
    with pytest.raises(UserError, match=f"{name}: no such file; name a folder that holds config.json and"):
        load(folder)
    with pytest.raises(UserError, match="absent: no such folder; name a folder"):
        load(folder / "absent")
    with pytest.raises(UserError, match="away: is a file; name a folder"):
        load(folder / "away")


@pytest.mark.parametrize(
    "url", ["https://example.org/weights", "http://127.0.0.1/w", "s3://bucket/w", "hf://user/model", "file:///tmp/w"]
)
def test_nothing_is_fetched(url: str) -> None:
    for path in (url, Path(url)):
        with pytest.raises(UserError, match="nothing is fetched"):
            read_config(path, "encoder")


def test_paths_that_climb_out_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"'\.\.' leaves the folder named before it"):
        load(folder / ".." / "weights")
    with pytest.raises(UserError, match="NUL"):
        load(f"{folder}\0.png")
    (folder / "inner").mkdir()
    monkeypatch.chdir(folder / "inner")
    load("..")  # where the user stands is no escape


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_links_that_leave_the_folder_are_refused(tmp_path: Path, folder: Path, name: str) -> None:
    outside = (folder / name).rename(tmp_path / "outside")
    (folder / name).symlink_to(outside)
    with pytest.raises(UserError, match=f"{name}: is a link that leaves its folder"):
        load(folder)
    (folder / name).unlink()
    (folder / name).symlink_to(name)
    with pytest.raises(UserError, match=f"{name}: cannot be read"):
        load(folder)
    (folder / name).unlink()
    (folder / name).symlink_to(outside.rename(folder / "inside").name)
    load(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_pipes_and_folders_in_place_of_files_are_refused(folder: Path, name: str) -> None:
    for make in (os.mkfifo, os.mkdir):
        (folder / name).unlink()
        make(folder / name)
        with pytest.raises(UserError, match=f"{name}: not a regular file"):
            load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format_version=2), "format_version 2 is unknown .* update this one"),
        (lambda c: c.update(format_version=0), "format_version 0 is unknown"),
        (lambda c: c.update(format_version=True), "format_version True is unknown"),
        (lambda c: c.update(format_version="1"), "format_version '1' is unknown"),
        (lambda c: c.pop("format_version"), "key format_version is missing"),
        (lambda c: c.pop("kind"), "key kind is missing"),
        (lambda c: c.pop("model"), "key model is missing"),
        (lambda c: c.pop("sha256"), "key sha256 is missing"),
        (lambda c: c.update(kind="prior"), "kind is 'prior', but 'encoder' is needed"),
        (lambda c: c.update(kind=["encoder"]), "kind: must be text"),
        (lambda c: c.update(auto_map={}), "auto_map: unknown key"),
        (lambda c: c.update(hooks={}), "hooks: unknown key"),
        (lambda c: c.update(model=[]), "model: must be an object, got list"),
        (lambda c: c.update(calibration=3), "calibration: must be an object, got int"),
        (lambda c: c.update(sha256="AB" * 32), "sha256: must be 64 hexadecimal digits in lower case"),
        (lambda c: c["model"].update(_target_="os.system"), r"model\._target_: a key of this form names code"),
        (lambda c: c["model"].update({"x": [{"py/object": "os"}]}), r"model\.x\[0\]\.py/object: .* names code"),
        (lambda c: c["model"].update(__reduce__=[]), r"model\.__reduce__: .* names code"),
        (lambda c: c.update(sha256="0" * 64), "SHA-256 is not the one in config.json"),
    ],
)
def test_a_config_of_another_kind_or_form_is_refused(folder: Path, change: Callable[[Any], Any], message: str) -> None:
    put_config(folder, change)
    with pytest.raises(UserError, match=message):
        load(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\x80\x04N.", "not UTF-8"),
        (b"[]", "must be a JSON object, got list"),
        (b'{"format_version": 1, "kind": "a", "kind": "encoder"}', "key 'kind' stands twice"),
        (b'{"model": {"width": 1, "width": 2}}', "key 'width' stands twice"),
        (b'{"model": {"width": NaN}}', "NaN is not a finite number"),
        (b'{"model": {"width": -Infinity}}', "-Infinity is not a finite number"),
        (b'{"model": {"width": 1e999}}', "1e999 is not a finite number"),
        (b'{"model": {"width": ' + b"9" * 5000 + b"}}", "not valid JSON"),
        (b'{"model": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (
            b'{"format_version": 1, "kind": "encoder", "sha256": "", "model": {"a": ' + b"[" * 40 + b"]" * 40 + b"}}",
            "nested more than 32",
        ),
        (b" " * (1 << 20) + b"{}", "more than the 1048576 that are read"),
    ],
)
def test_json_that_is_not_plain_and_unique_is_refused(folder: Path, text: bytes, message: str) -> None:
    (folder / "config.json").write_bytes(text)
    with pytest.raises(UserError, match=message) as caught:
        load(folder)
    assert "config.json" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("conv.bias"), "tensor conv.bias is missing"),
        (lambda t: [t.pop("conv.bias"), t.pop("started")], r"tensor conv.bias is missing \(and 1 more\)"),
        (lambda t: t.update(evil=torch.ones(1)), "tensor evil is unknown to this model"),
        (lambda t: t.update({"conv.bias": torch.ones(9)}), r"conv.bias has shape \(9,\), the model needs \(8,\)"),
        (lambda t: t.update({"conv.bias": torch.ones(8, 1)}), r"conv.bias has shape \(8, 1\)"),
        (lambda t: t.update({"conv.bias": torch.ones(8).double()}), "conv.bias is torch.float64, which does not fit"),
        (lambda t: t.update({"conv.bias": torch.ones(8).int()}), "conv.bias is torch.int32, which does not fit"),
        (lambda t: t.update(started=torch.tensor(1.0)), "started is torch.float32, which does not fit"),
        (lambda t: t.update({"norm.num_batches_tracked": torch.tensor(3).int()}), "num_batches_tracked is torch.int32"),
        (lambda t: t["conv.bias"].__setitem__(0, float("nan")), "tensor conv.bias has 1 value.* not finite"),
        (lambda t: t["norm.running_var"].fill_(float("-inf")), "tensor norm.running_var has 8 value.* not finite"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    folder: Path, net: Net, change: Callable[[dict[str, Tensor]], Any], message: str
) -> None:
    tensors = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    change(tensors)
    put_tensors(folder, tensors)
    with pytest.raises(UserError, match=message) as caught:
        load(folder)
    assert "model.safetensors" in str(caught.value)


def test_brain_floats_are_cast_up(folder: Path, net: Net) -> None:
    put_tensors(folder, {name: t.bfloat16() if t.is_floating_point() else t for name, t in net.state_dict().items()})
    assert torch.equal(load(folder).conv.weight, net.conv.weight.bfloat16().float())


def test_absurd_sizes_are_refused_before_anything_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(data: bytes) -> dict[str, Tensor]:
        raise AssertionError("tensors were read")

    monkeypatch.setattr(safetensors.torch, "load", never)
    with open(folder / "model.safetensors", "wb") as file:  # sparse: 513 MiB that take no room
        file.truncate(513 << 20)
    with pytest.raises(UserError, match="more than the 536870912 that are read"):
        load(folder)


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x08\0\0",
        b"\xff" * 64,
        header_of(b"[]"),
        header_of({"x": 1}),
        *(header_of({"x": {**ENTRY, "dtype": dtype}}, bytes(8)) for dtype in ("F7", ["F32"])),
        *(header_of({"x": {**ENTRY, "shape": shape}}, bytes(8)) for shape in ([-2], [2.0], 2, [3])),
        header_of({"x": {**ENTRY, "dtype": "F4", "shape": [16]}}, bytes(8)),
        header_of({"x": {**ENTRY, "data_offsets": [0]}}, bytes(8)),
        header_of({"x": {**ENTRY, "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}, bytes(8)),
        header_of({"x": ENTRY, "y": ENTRY}, bytes(8)),
        header_of({"x": {**ENTRY, "data_offsets": [4, 12]}}, bytes(12)),
        header_of({"x": ENTRY}, bytes(7)),
        header_of({"x": ENTRY}, bytes(9)),
    ],
)
def test_malformed_files_are_refused(folder: Path, data: bytes) -> None:
    put_bytes(folder, data)
    with pytest.raises(UserError, match="not a valid safetensors file"):
        load(folder)


def test_every_prefix_of_the_weights_and_a_flipped_bit_anywhere_are_refused(folder: Path, rng: np.random.Generator) -> None:
    whole, config = (folder / "model.safetensors").read_bytes(), (folder / "config.json").read_bytes()
    for length in rng.integers(0, len(whole), 30):
        put_bytes(folder, whole[:length])
        with pytest.raises(UserError, match=r"model\.safetensors"):
            load(folder)
    (folder / "config.json").write_bytes(config)
    for position in rng.integers(0, len(whole), 60):
        data = bytearray(whole)
        data[position] ^= 1 << int(rng.integers(8))
        (folder / "model.safetensors").write_bytes(bytes(data))
        with pytest.raises(UserError, match=r"model\.safetensors"):
            load(folder)


def test_random_headers_never_end_in_anything_but_a_refusal(folder: Path, rng: np.random.Generator) -> None:
    entries, data = split((folder / "model.safetensors").read_bytes())
    text = json.dumps(entries, separators=(",", ":")).encode()  # no white space, whose change would mean nothing
    for _ in range(150):
        mangled = bytearray(text)
        for position in rng.integers(0, len(text), int(rng.integers(1, 6))):
            mangled[position] = int(rng.integers(256))
        put_bytes(folder, header_of(bytes(mangled), data))
        if bytes(mangled) != text:
            with pytest.raises(UserError, match=r"model\.safetensors"):
                load(folder)


def test_hashes_are_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert file_sha256(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(UserError, match="cannot be read: No such file"):
        file_sha256(tmp_path / "y")
