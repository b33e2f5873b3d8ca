"""Training checkpoints: what was saved comes back, and nothing that is not whole is ever used."""

import errno
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from configs.cli import UserError
from engine.storage import atomic
from engine.storage.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from engine.training.task_checkpoint import pack_optimizer, unpack_optimizer

ROOT = Path(__file__).resolve().parents[2]
FILES = ("net.safetensors", "ema-net.safetensors", "state.json", "MANIFEST.json")


def some_tensors(value: float = 0.0) -> dict[str, dict[str, Tensor]]:
    weight = torch.arange(24.0).reshape(2, 3, 4) + value
    return {
        "net": {"weight": weight, "half": weight.half(), "count": torch.tensor(7)},
        "ema-net": {"weight": weight.bfloat16(), "mask": weight > 9, "empty": torch.empty(0, 3)},
    }


def save(run: Path, step: int, **options: Any) -> Path:
    return save_checkpoint(run, step, tensors=some_tensors(step), state={"elapsed": 1.5, "step": step}, **options)


def steps_in(run: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in (run / "checkpoints").glob("step-*"))


def leftovers(run: Path) -> list[str]:
    return [path.name for path in (run / "checkpoints").iterdir() if path.name.startswith(".")]


def flip(path: Path, position: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << bit
    path.write_bytes(bytes(data))


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    state = {"best": {"step": 3, "score": 0.1 + 0.2}, "never": math.nan, "names": ["é", None, True]}
    path = save_checkpoint(tmp_path, 12, tensors=some_tensors(), state=state)
    assert path == tmp_path / "checkpoints" / "step-00000012"
    assert sorted(entry.name for entry in path.iterdir()) == sorted(FILES)
    found = load_checkpoint(path)
    assert found.step == 12
    assert math.isnan(found.state["never"])
    assert {**found.state, "never": 0} == {**state, "never": 0}
    for group, named in some_tensors().items():
        assert set(found.tensors[group]) == set(named)
        for name, tensor in named.items():
            assert found.tensors[group][name].dtype == tensor.dtype
            assert torch.equal(found.tensors[group][name], tensor)


def test_views_and_shared_tensors_come_back_as_they_look(tmp_path: Path) -> None:
    base = torch.randn(6, 4)
    named = {"base": base, "same": base, "turned": base.T, "part": base[2:4], "wide": base[:1].expand(5, 4)}
    images = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    found = load_checkpoint(save_checkpoint(tmp_path, 0, tensors={"net": {**named, "images": images}}, state={}))
    for name, tensor in {**named, "images": images}.items():
        assert torch.equal(found.tensors["net"][name], tensor)


def test_only_the_newest_and_the_protected_are_kept(tmp_path: Path) -> None:
    for step in range(1, 8):
        save(tmp_path, step, keep=2, protect=[3])
    assert steps_in(tmp_path) == [3, 6, 7]
    assert not leftovers(tmp_path)
    save(tmp_path, 8, keep=0)
    assert steps_in(tmp_path) == [8]


def test_a_run_that_went_back_keeps_what_it_just_wrote(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        save(tmp_path, step, keep=3)
    assert load_checkpoint(save(tmp_path, 15, keep=1)).step == 15
    assert steps_in(tmp_path) == [15, 30]


def test_the_same_step_can_be_saved_again(tmp_path: Path) -> None:
    save(tmp_path, 5)
    path = save_checkpoint(tmp_path, 5, tensors={"other": {"x": torch.ones(2)}}, state={"again": True})
    found = load_checkpoint(path)
    assert found.state == {"again": True}
    assert set(found.tensors) == {"other"}
    assert not leftovers(tmp_path)


def test_a_replacement_that_was_cut_off_is_undone(tmp_path: Path) -> None:
    path = save(tmp_path, 5)
    path.rename(path.with_name(f".aside-{path.name}"))
    assert latest_checkpoint(tmp_path) == path
    assert load_checkpoint(path).step == 5


def test_no_run_has_no_latest_checkpoint(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path / "absent") is None
    (tmp_path / "checkpoints").mkdir()
    assert latest_checkpoint(tmp_path) is None


def assert_refused(newest: Path, name: str) -> None:
    """Named, it is refused; of its run, the one before it is used, and a line says why."""
    with pytest.raises(UserError, match=rf"{newest.name}.*{name}"):
        load_checkpoint(newest)
    messages: list[str] = []
    assert latest_checkpoint(newest.parent.parent, log=messages.append) == newest.with_name("step-00000001")
    assert len(messages) == 1
    assert name in messages[0]


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_anywhere_refuses_the_checkpoint(tmp_path: Path, name: str, rng: np.random.Generator) -> None:
    save(tmp_path, 1)
    newest = save(tmp_path, 2)
    whole = (newest / name).read_bytes()
    for position in {0, len(whole) - 1, *rng.integers(0, len(whole), 40).tolist()}:
        flip(newest / name, position, int(rng.integers(8)))
        assert_refused(newest, name)
        (newest / name).write_bytes(whole)
    assert load_checkpoint(newest).step == 2


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("harm", ["truncated", "longer", "empty", "missing", "linked"])
def test_a_changed_file_refuses_the_checkpoint(tmp_path: Path, name: str, harm: str) -> None:
    save(tmp_path, 1)
    newest = save(tmp_path, 2)
    path = newest / name
    whole = path.read_bytes()
    path.unlink()
    if harm == "linked":
        elsewhere = tmp_path / "elsewhere"
        elsewhere.write_bytes(whole[:-1] + b"?")
        path.symlink_to(elsewhere)
    elif harm != "missing":
        path.write_bytes({"truncated": whole[:-1], "longer": whole + b" ", "empty": b""}[harm])
    assert_refused(newest, name)


def test_every_checkpoint_damaged_is_none_with_a_line_each(tmp_path: Path) -> None:
    for step in (1, 2):
        flip(save(tmp_path, step) / "state.json", 3)
    messages: list[str] = []
    assert latest_checkpoint(tmp_path, log=messages.append) is None
    assert len(messages) == 2
    assert "step-00000002/state.json: SHA-256 differs" in messages[0]


def test_what_is_no_checkpoint_is_named_as_what_it_is(tmp_path: Path) -> None:
    save(tmp_path, 4)
    (tmp_path / "model.pt").write_bytes(b"\x80\x04")
    for name, message in {
        "absent": "no such checkpoint folder",
        "model.pt": "is a file; a checkpoint is a folder",
        "": "this is a run, not a checkpoint",
        "checkpoints": "not a checkpoint",
    }.items():
        with pytest.raises(UserError, match=message):
            load_checkpoint(tmp_path / name)


@pytest.mark.parametrize("name", ["../../outside.safetensors", "/etc/passwd", "net.pt", "a/b.safetensors"])
def test_a_manifest_cannot_name_files_elsewhere_or_pickles(tmp_path: Path, name: str) -> None:
    path = save(tmp_path, 1)
    manifest = json.loads((path / "MANIFEST.json").read_bytes())
    manifest[name] = manifest.pop("net.safetensors")
    (path / "MANIFEST.json").write_text(json.dumps(manifest, sort_keys=True, separators=(",", ":")))
    with pytest.raises(UserError, match=r"MANIFEST\.json: not the manifest"):
        load_checkpoint(path)


def test_a_group_that_is_no_file_name_is_refused_before_writing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="group name"):
        save_checkpoint(tmp_path, 1, tensors={"../net": {}}, state={})
    assert not list(tmp_path.iterdir())


SAVES = """
import sys, torch
from engine.storage.checkpoint import save_checkpoint
tensors = {"net": {str(i): torch.full((64, 1024), float(i)) for i in range(8)}, "ema": {"x": torch.rand(256, 1024)}}
print("ready", flush=True)
for step in range(int(sys.argv[2]), 10**8):
    save_checkpoint(sys.argv[1], step, tensors=tensors, state={"step": step}, keep=2)
"""


@pytest.mark.slow
def test_killed_at_any_moment_a_run_has_a_valid_checkpoint(tmp_path: Path, rng: np.random.Generator) -> None:
    save(tmp_path, 1)
    last = 1
    for _ in range(8):
        program = [sys.executable, "-c", SAVES, str(tmp_path), str(last + 1)]
        with subprocess.Popen(program, cwd=ROOT, stdout=-1) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            while max(steps_in(tmp_path)) <= last:  # at least one save of its own
                assert process.poll() is None
                time.sleep(0.001)
            time.sleep(float(rng.uniform(0.0, 0.1)))
            process.send_signal(signal.SIGKILL)
        newest = max(steps_in(tmp_path))
        complaints: list[str] = []
        found = latest_checkpoint(tmp_path, log=complaints.append)
        assert not complaints
        assert found is not None
        assert load_checkpoint(found).step == newest > last
        last = newest
    save(tmp_path, last + 1)
    assert steps_in(tmp_path) == [last, last + 1]
    assert not leftovers(tmp_path)


def test_folders_of_a_running_process_are_left_alone(tmp_path: Path) -> None:
    save(tmp_path, 1)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) as other:
        busy = tmp_path / "checkpoints" / f".tmp-9-{other.pid}"
        busy.mkdir()
        save(tmp_path, 2)
        assert busy.is_dir()
        other.communicate(b"\n")
    save(tmp_path, 3)
    assert not busy.exists()


def failing_call(monkeypatch: pytest.MonkeyPatch, number: int, code: int) -> Callable[[], bool]:
    """Let the ``number``-th flush to disk fail; returns whether it came to that."""
    real, calls = os.fsync, 0

    def fsync(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            raise OSError(code, os.strerror(code))
        real(descriptor)

    monkeypatch.setattr(atomic.os, "fsync", fsync)
    return lambda: calls >= number


@pytest.mark.parametrize("target", [2, 1], ids=["new step", "same step"])
def test_a_full_disk_leaves_the_last_checkpoint_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: int) -> None:
    for number in range(1, 20):
        run = tmp_path / str(number)
        first = save(run, 1)
        with monkeypatch.context() as patch:
            reached = failing_call(patch, number, errno.ENOSPC)
            message = ""
            try:
                save(run, target)
            except UserError as error:
                message = str(error)
            if not reached():
                assert not message
                break
        assert f"step {target} could not be saved: the disk is full" in message
        assert load_checkpoint(first).step == 1
        assert not leftovers(run)
        assert save(run, 3).is_dir()
    assert number > 5  # four files, the folder, its parent


@pytest.mark.skipif(sys.platform != "linux", reason="needs the file size limit of Linux")
def test_a_write_that_the_system_cuts_short_is_reported(tmp_path: Path) -> None:
    first = save(tmp_path, 1)
    program = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n" + SAVES
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), "2"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "UserError" in ended.stderr
    assert "step 2 could not be saved: file too large; earlier checkpoints are intact" in ended.stderr
    assert latest_checkpoint(tmp_path) == first
    assert not leftovers(tmp_path)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(UserError, match="could not be saved"):
        save(tmp_path / "run", 1)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))


def make_optimizer(net: nn.Module) -> torch.optim.Optimizer:
    matrices = [p for p in net.parameters() if p.ndim > 1]
    vectors = [p for p in net.parameters() if p.ndim <= 1]
    return torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}], lr=1e-2)


@pytest.mark.parametrize("steps", [0, 1])
def test_an_optimizer_comes_back_even_if_it_never_stepped(tmp_path: Path, steps: int) -> None:
    net = network()
    optimizer, other = make_optimizer(net), make_optimizer(network())
    for _ in range(steps):
        net(torch.randn(4, 2, 8, 8)).square().mean().backward()
        optimizer.step()
    packed, described = pack_optimizer(optimizer)
    found = load_checkpoint(save_checkpoint(tmp_path, 0, tensors={"optimizer": packed}, state={"o": described}))
    unpack_optimizer(other, found.tensors["optimizer"], found.state["o"])
    for mine, theirs in zip(other.state.values(), optimizer.state.values(), strict=True):
        assert all(torch.equal(mine[key], value) for key, value in theirs.items())


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda tensors, state: tensors.pop("0.exp_avg"), "tensor 0.exp_avg is missing"),
        (lambda tensors, state: tensors.update({"0.extra": torch.ones(1)}), "tensor 0.extra is unknown"),
        (lambda tensors, state: tensors.update({"0.exp_avg": torch.ones(2, 2)}), "0.exp_avg has shape"),
        (lambda tensors, state: state["param_groups"].pop(), "parameter groups of sizes"),
        (lambda tensors, state: state["param_groups"][1].pop("betas"), "group 1 lacks betas"),
    ],
)
def test_a_state_of_another_optimizer_is_refused(harm: Callable[[Any, Any], Any], message: str) -> None:
    net = network()
    optimizer = make_optimizer(net)
    net(torch.randn(4, 2, 8, 8)).square().mean().backward()
    optimizer.step()
    tensors, described = pack_optimizer(optimizer)
    tensors, described = dict(tensors), json.loads(json.dumps(described))
    harm(tensors, described)
    before = [value["exp_avg"].clone() for value in optimizer.state.values()]
    with pytest.raises(UserError, match=message):
        unpack_optimizer(optimizer, tensors, described)
    assert all(torch.equal(old, new["exp_avg"]) for old, new in zip(before, optimizer.state.values(), strict=True))
