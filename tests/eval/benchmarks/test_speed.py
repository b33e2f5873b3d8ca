"""The benchmarks of quantiser and prior: equal work, equal size, honest arithmetic. Nothing is timed for its own sake."""

from __future__ import annotations

import builtins
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from encoder.emotions import Emotion
from eval.benchmarks import harness, prior, vq
from eval.benchmarks.harness import held_against, summarise, time_by_turns
from generation import draw
from generation.verify import Verdict


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    original = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name.split(".")[0] in packages:
            raise ImportError(name)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)


def test_contestants_take_turns_and_begin_in_turn() -> None:
    now, order = itertools.count(), list[str]()
    calls = {name: (lambda name=name: order.append(name)) for name in "ab"}  # type: ignore[misc]
    seconds = time_by_turns(calls, rounds=2, least_seconds=1.0, clock=lambda: float(next(now)))
    assert order == ["a"] * 3 + ["b"] * 3 + ["a", "b"] + ["b", "a"]
    assert seconds == {"a": [1.0, 1.0], "b": [1.0, 1.0]}


def test_short_calls_are_repeated_and_counted_singly() -> None:
    now, calls = [0.0], [0]

    def call() -> None:
        calls[0] += 1
        now[0] += 0.25

    assert time_by_turns({"a": call}, rounds=1, least_seconds=2.0, clock=lambda: now[0]) == {"a": [0.25]}
    assert calls[0] == 3 + 8


def test_medians_quartiles_and_targets() -> None:
    found = summarise([0.1, 0.2, 0.3, 0.4, 9.0], 6)
    assert (found["median_ms"], found["quartiles_ms"], found["per_second"]) == (300.0, [200.0, 400.0], 20.0)
    assert held_against(2.0, 3.0) == {"ratio": 2.0, "target": 3.0, "met": False}
    assert held_against(1.2, 1.3, at_most=True)["met"]


@pytest.mark.parametrize("groups", [1, 2])
def test_both_quantisers_do_the_same(groups: int) -> None:
    pytest.importorskip("vector_quantize_pytorch", reason="the extra bench is not installed")
    calls, modules = vq.contestants(300, 32, 8, groups)
    for mode in ("eval", "train"):
        ours, theirs = calls[mode][vq.OURS](), calls[mode][vq.PEER]()
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(calls["eval"][vq.FLOOR](), ours)
    # Both moved their codes by the same running means.
    moved, book = modules[vq.OURS], modules[vq.PEER]._codebook
    torch.testing.assert_close(moved.counts.view(groups, -1), book.cluster_size.view(groups, -1))
    torch.testing.assert_close(moved.codes, torch.nn.functional.normalize(book.embed, dim=-1), atol=1e-5, rtol=0)


def test_the_quantiser_benchmark_reports_every_contestant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("vector_quantize_pytorch", reason="the extra bench is not installed")
    out = tmp_path / "folder" / "vq.json"
    options = ["--positions", "64", "--codes", "8", "--dim", "4", "--rounds", "7", "--threads", "1", "--groups", "2"]
    assert vq.main([*options, "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    train, evaluation = report["rows"]
    assert set(train["results"]) == {vq.OURS, vq.PEER}
    assert set(evaluation["results"]) == {vq.OURS, vq.PEER, vq.FLOOR}
    assert all(len(found["seconds"]) == 7 for found in evaluation["results"].values())
    ratio = evaluation["results"][vq.PEER]["median_ms"] / evaluation["results"][vq.OURS]["median_ms"]
    assert evaluation["targets"][f"times as fast as {vq.PEER}"]["ratio"] == pytest.approx(ratio, abs=0.01)
    assert "2 group(s), eval: time, in floors" in capsys.readouterr().out


def test_a_missing_quantiser_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "vector_quantize_pytorch")
    calls, _ = vq.contestants(16, 4, 4, 1)
    assert vq.PEER not in calls["train"]
    rows = [{"groups": 1, "mode": "eval", "results": {}, "targets": {}}]
    report = {"positions": 1, "codes": 2, "dim": 1, "threads": 1, "rounds": 7, "machine": {"processor": "x"}, "rows": rows}
    assert vq.format_table(report)[-1].endswith("is not installed and therefore absent: pip install 'mimique[bench]'")


SMALL = ["--positions", "16", "--codes", "8", "--width", "96", "--depth", "1", "--heads", "2", "--steps", "3", "--threads", "1"]


@pytest.mark.parametrize("groups", [1, 2])
def test_samplers_have_one_size_and_make_whole_faces(groups: int) -> None:
    for package in ("muse_maskgit_pytorch", "x_transformers"):
        pytest.importorskip(package, reason="the extra bench is not installed")
    samplers = prior.contestants(prior.build_parser().parse_args(SMALL), groups)
    assert set(samplers) == {"mimique", "muse-maskgit-pytorch", "x-transformers"}
    mine = samplers["mimique"].parameters
    emotions = torch.tensor([0, 3, 6])
    for name, sampler in samplers.items():
        assert sampler.parameters == pytest.approx(mine, rel=0.05), name
        tokens = sampler.sample(emotions, 0.0).flatten(1)
        assert tokens.shape == (3, sampler.tokens), name
        assert int(tokens.min()) >= 0, name
        # The peer's last tokens stand for emotions and may come up before anything is learned.
        assert int(tokens.max()) < 8 + 7 * (name == "x-transformers"), name
    assert samplers["muse-maskgit-pytorch"].tokens == {1: 16, 2: 25}[groups]
    assert samplers["x-transformers"].tokens == 16 * groups
    guided = samplers["muse-maskgit-pytorch"].sample(emotions, 3.0)
    assert guided.shape == (3, samplers["muse-maskgit-pytorch"].tokens)


def test_a_peer_that_cannot_compute_in_bfloat16_is_left_out() -> None:
    pytest.importorskip("x_transformers", reason="the extra bench is not installed")
    samplers = prior.contestants(prior.build_parser().parse_args([*SMALL, "--precision", "bf16"]), 1)
    assert set(samplers) == {"mimique", "x-transformers"}


def test_the_prior_benchmark_without_peers_says_so(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without(monkeypatch, "muse_maskgit_pytorch", "x_transformers")
    monkeypatch.setattr(harness, "describe_machine", lambda packages: {"processor": "x"})
    # A random encoder agrees with nothing; here all faces are accepted but the first after the two of the warm-up.
    tries: list[int] = []

    def agree(asked: tuple[float, ...], read: list[float], threshold: float, avoid: object = None) -> Verdict:
        tries.append(1)
        return Verdict(tuple(read), Emotion.ANGER, 1.0, len(tries) != 3)

    monkeypatch.setattr(draw, "judge", agree)
    out = tmp_path / "prior.json"
    options = ["--groups", "2", "--batch", "1", "2", "--verified", "1", "--weights", str(weights), "--out", str(out)]
    options += ["--precision", "bf16"]
    assert prior.main([*SMALL, *options]) == 0
    report = json.loads(out.read_text())
    (table,) = report["tables"]
    assert set(table["contestants"]) == {"mimique"}
    assert [(row["batch"], row["guided"]) for row in table["rows"]] == [(1, False), (1, True), (2, False), (2, True)]
    verified = report["verified"]
    assert (verified["asked"], verified["accepted"], verified["tried"]) == (49, 49, 50)
    assert verified["settings"]["steps"] == 12
    assert report["precision"] == verified["settings"]["precision"] == "bf16"
    shown = capsys.readouterr().out
    for name in ("muse-maskgit-pytorch", "x-transformers"):
        assert f"{name} is not installed and therefore absent" in shown
