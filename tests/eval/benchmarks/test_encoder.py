"""The speed benchmark: every contestant answers for every crop, and the arithmetic of the table is right. Nothing is timed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from configs.cli import UserError
from encoder.drawing.faces import draw_faces
from encoder.inference.emotion_encoder import EmotionEncoder
from eval.benchmarks import encoder
from eval.benchmarks.contestants import CONTESTANTS, measure_apart


@pytest.fixture(scope="module")
def crops() -> list[np.ndarray]:
    return list(np.repeat(draw_faces(5, seed=0, size=32).images[..., None], 3, axis=3))


def test_one_by_one_and_batched_give_the_same_answers(weights: Path, crops: list[np.ndarray]) -> None:
    single, batched = (CONTESTANTS[f"mimique, {mode}"](str(weights / "encoder"), 1)[0] for mode in ("batch 1", "batched"))
    assert np.stack(single(crops)) == pytest.approx(batched(crops), abs=1e-5)


def test_the_onnx_contestant_reads_like_the_network(weights: Path, crops: list[np.ndarray], tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed (pip install 'mimique[onnx]')")
    from encoder.inference.onnx_graph import to_onnx

    file = tmp_path / "e.onnx"
    file.write_bytes(to_onnx(EmotionEncoder.from_pretrained(weights / "encoder"), "uint8"))
    single, batched = (CONTESTANTS[f"mimique ONNX, {mode}"](str(file), 1)[0] for mode in ("batch 1", "batched"))
    assert np.stack(single(crops)) == pytest.approx(batched(crops), abs=1e-5)
    # Pillow and torch resize slightly differently.
    ours, _ = CONTESTANTS["mimique, batched"](str(weights / "encoder"), 1)
    assert batched(crops) == pytest.approx(ours(crops), abs=0.02)


def test_the_program_runs_ours_in_a_process_of_its_own(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "folder" / "benchmark.json"
    options = ["--contestants", "mimique", "--faces", "4", "--size", "20", "--rounds", "2", "--threads", "1"]
    assert encoder.main([*options, "--weights", str(weights / "encoder"), "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    assert set(report["results"]) == {"mimique, batch 1", "mimique, batched"}
    for row in report["results"].values():
        assert len(row["seconds"]) == 2
        assert row["faces_per_second"] > 0
        assert row["peak_mib"] >= row["loaded_mib"] > 20
    assert report["targets"] == []
    assert report["threads"] == 1
    assert "torch" in report["machine"]
    assert "mimique, batched" in capsys.readouterr().out


def test_deepface_answers_for_every_crop_without_its_weights(
    crops: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPFACE_HOME", str(tmp_path))
    found = measure_apart("DeepFace.analyze, list", crops, "", threads=1, rounds=1)
    assert found["note"].startswith("random weights")
    assert found["faces_per_second"] > 0


def test_ratios_are_held_against_their_targets() -> None:
    speeds = {"mimique, batch 1": 300.0, "mimique, batched": 999.0}
    speeds |= {"DeepFace.analyze, batch 1": 100.0, "DeepFace.analyze, list": 100.0}
    found = encoder.compare({name: {"faces_per_second": speed} for name, speed in speeds.items()})
    assert [(each["ours"], each["ratio"], each["met"]) for each in found] == [
        ("mimique, batch 1", 3.0, True),
        ("mimique, batched", 9.99, False),
    ]


def test_a_contestant_that_fails_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mimique, batch 1 failed: nowhere: no such folder"):
        encoder.main(["--contestants", "mimique", "--faces", "2", "--weights", "nowhere", "--out", str(tmp_path / "b.json")])
    assert not (tmp_path / "b.json").exists()
