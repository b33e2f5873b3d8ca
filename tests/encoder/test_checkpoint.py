"""Checkpoints survive crashes, damage and full disks, and are never silently replaced by others."""

from __future__ import annotations

import errno

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import encoder.checkpoint as checkpoint
from configs.cli import UserError
from encoder.checkpoint import latest_checkpoint, load_checkpoint, pack_optimizer, save_checkpoint, unpack_optimizer

ROOT = Path(__file__).resolve().parents[2]


def save(run: Path, step: int, **options: object) -> Path:
    return save_checkpoint(run, step, tensors={"net": {"w": torch.full((4,), float(step))}}, state={"x": step}, **options)  # type: ignore[arg-type]


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    loaded = load_checkpoint(save(tmp_path, 7))
    assert loaded.step == 7
    assert loaded.state == {"x": 7}
    assert loaded.tensors["net"]["w"].tolist() == [7.0] * 4


@pytest.mark.parametrize("name", ["net.safetensors", "state.json", "MANIFEST.json"])
def test_a_flipped_byte_in_any_file_is_found(tmp_path: Path, name: str) -> None:
    path = save(tmp_path, 1)
    data = bytearray((path / name).read_bytes())
    data[len(data) // 2] ^= 0xFF
    (path / name).write_bytes(data)
    with pytest.raises(UserError, match="cannot be used"):
        load_checkpoint(path)


def test_latest_passes_over_a_damaged_one_and_says_so(tmp_path: Path) -> None:
    good, bad = save(tmp_path, 1), save(tmp_path, 2)
    (bad / "net.safetensors").write_bytes(b"short")
    said: list[str] = []
    assert latest_checkpoint(tmp_path, log=said.append) == good
    assert "step-00000002" in said[0]
    assert "damaged" in said[0]


def test_a_named_checkpoint_never_falls_back(tmp_path: Path) -> None:
    save(tmp_path, 1)
    bad = save(tmp_path, 2)
    (bad / "state.json").unlink()
    with pytest.raises(UserError, match=r"state\.json is missing"):
        load_checkpoint(bad)
    with pytest.raises(UserError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "checkpoints" / "step-00000009")


def test_old_ones_go_but_the_best_stays(tmp_path: Path) -> None:
    for step in range(1, 6):
        save(tmp_path, step, keep=2, protect=[1])
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "step-00000001",
        "step-00000004",
        "step-00000005",
    ]


def test_a_full_disk_is_one_clear_line_and_leaves_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = save(tmp_path, 1)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_synced", full)
    with pytest.raises(UserError, match="disk is full"):
        save(tmp_path, 2)
    assert latest_checkpoint(tmp_path) == good
    assert not list((tmp_path / "checkpoints").glob(".tmp-*"))


def test_killed_at_any_moment_the_newest_that_counts_is_whole(tmp_path: Path) -> None:
    code = (
        "import sys, torch; from encoder.checkpoint import save_checkpoint\n"
        "step = int(sys.argv[2])\n"
        "while True:\n"
        "    step += 1\n"
        "    save_checkpoint(sys.argv[1], step, tensors={'net': {'w': torch.full((200_000,), float(step))}}, state={})\n"
        "    print(step, flush=True)\n"
    )
    step = 0
    for _ in range(5):
        command = [sys.executable, "-c", code, str(tmp_path), str(step)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            reported = int(process.stdout.readline())
            time.sleep(random.uniform(0.0, 0.1))
            process.send_signal(signal.SIGKILL)
        newest = latest_checkpoint(tmp_path)
        assert newest is not None
        loaded = load_checkpoint(newest)
        assert loaded.step >= reported
        assert (loaded.tensors["net"]["w"] == loaded.step).all()
        step = loaded.step


def test_an_optimiser_goes_on_bit_for_bit() -> None:
    def make() -> tuple[torch.nn.Linear, torch.optim.AdamW]:
        torch.manual_seed(0)
        net = torch.nn.Linear(3, 2)
        return net, torch.optim.AdamW(net.parameters(), lr=0.1)

    def step(net: torch.nn.Linear, optimizer: torch.optim.AdamW) -> None:
        optimizer.zero_grad()
        net(torch.ones(1, 3)).square().sum().backward()
        optimizer.step()

    net, optimizer = make()
    step(net, optimizer)
    tensors, state = pack_optimizer(optimizer)
    other, resumed = make()
    other.load_state_dict({name: tensor.clone() for name, tensor in net.state_dict().items()})
    unpack_optimizer(resumed, {name: tensor.clone() for name, tensor in tensors.items()}, state)
    step(net, optimizer)
    step(other, resumed)
    assert torch.equal(net.weight, other.weight)
