"""Benchmarks of training: a GPU that is not there is not measured; memory on shards stays flat; storage is counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from configs.cli import UserError
from eval.benchmarks import gpu, shards, storage

TINY = ["tokenizer.size=16", "tokenizer.widths=[8,16]", "tokenizer.codebook_size=16", "tokenizer.code_dim=4", "prior.width=16",
        "prior.depth=1", "prior.heads=2", "loss.perceptual=0", "loss.emotion=0", "encoder=null", "precision=no"]  # fmt: skip
FEW = ["--batch", "8", "--samples", "3", "--warmup", "1", "--steps", "2", "--rounds", "2"]


def test_without_a_gpu_it_refuses_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="measures a GPU and there is none that torch can use; --device cpu only checks"):
        gpu.main(["--out", str(tmp_path / "b.json")])
    assert not (tmp_path / "b.json").exists()


def test_its_code_runs_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    # Compiled without the C++ compiler, as `accelerate launch --dynamo_backend eager` would.
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "EAGER")
    assert gpu.main([*FEW, "--device", "cpu", "--peak", "0.5", "--out", str(tmp_path / "b.json"), *TINY]) == 0
    report = json.loads((tmp_path / "b.json").read_text())
    assert (report["device"], report["batch"], report["compiled"]) == ("cpu", 8, True)
    for row in report["stages"].values():
        assert row["images_per_second"] > 0
        assert row["share_of_peak"] == pytest.approx(row["tflops"] / 0.5)
        # Counted by hand for neither, but of an order: a tiny network does some million operations on a face.
        assert 1e-4 < row["gflop_per_image"] < 1.0
    assert set(report["sampling"]["faces_per_second"]) == {"1", "3"}
    assert "sampling 3 at a time" in capsys.readouterr().out


@pytest.mark.slow
def test_memory_of_a_training_on_shards_stays_flat(tmp_path: Path) -> None:
    out = tmp_path / "shards.json"
    assert shards.main(["--faces", "300", "--times", "10", "--steps", "4", "--out", str(out)]) == 0
    small, large = json.loads(out.read_text())["sets"]
    assert (small["faces"], large["faces"]) == (300, 3000)
    # Ten times the faces are 2.7 MiB of pixels more; a process that imports torch varies by as much, so this catches only
    # what copies them. The command with its defaults measures.
    assert large["anonymous_mib"] < small["anonymous_mib"] + 60


def test_storage_is_measured_on_a_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from encoder.data.face_parquet import write_parquet_splits
    from encoder.drawing.faces import drawn_set

    write_parquet_splits(tmp_path / "data", {"valid": drawn_set("valid", 64, size=32)})
    assert storage.main([str(tmp_path / "data"), "--size", "32", "--faces", "600"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert all("faces a second" in line or "bytes" in line for line in lines[1:])
    with pytest.raises(UserError, match="at least 512"):
        storage.main([str(tmp_path / "data"), "--faces", "5"])
