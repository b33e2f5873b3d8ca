"""The ablation command: rows, seeds, resuming, and what its table says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import encoder.ablation as ablation
import encoder.experiments.ablation_rows as ablation_rows
import encoder.experiments.ablation_runs as ablation_runs
from configs.cli import UserError
from encoder.experiments.ablation_rows import Variant

SMALL = ["model.widths=[4,8]", "model.depths=[1,1]", "preprocessing.size=16", "data.drawn_count=256", "train.epochs=1"]
PLAIN = ["train.batch_size=32", "train.device=cpu", "train.precision=no"]
ROWS = ["cross-entropy", "post-hoc", "crt"]


def command(out: Path, *more: str) -> list[str]:
    return [*SMALL, *PLAIN, "--data", "drawn", "--out", str(out), "--only", ",".join(ROWS), "--seeds", "0,1", *more]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ablation")
    with pytest.MonkeyPatch.context() as patch:
        # Drawn faces carry labels only.
        patch.setattr(ablation_rows, "VARIANTS", tuple(labels_only(variant) for variant in ablation_rows.VARIANTS))
        assert ablation.main(command(out)) == 0
    return out


def labels_only(variant: Variant) -> Variant:
    changes = {name: value for name, value in variant.changes.items() if name != "model.heads"}
    if variant.changes:
        changes["model.heads"] = ["fer2013"]
    return Variant(variant.name, variant.title, changes, variant.start, variant.tau, variant.epochs)


def test_every_row_and_seed_is_reported_with_counts_and_intervals(finished: Path) -> None:
    report = json.loads((finished / "ablation.json").read_text())
    assert [row["name"] for row in report["rows"]] == ROWS
    for row in report["rows"]:
        figure = row["splits"]["test"]["macro_f1"]
        assert len(figure["seeds"]) == 2
        assert figure["mean"] == pytest.approx(np.mean(figure["seeds"]), abs=1e-4)
        assert figure["interval"][0] <= figure["mean"] <= figure["interval"][1]
        assert row["splits"]["test"]["count"] > 0
    table = (finished / "table.md").read_text()
    assert table.count("\n| ") >= len(ROWS)
    assert "test split" in table


def test_a_row_without_changes_corrects_the_row_it_starts_from(finished: Path) -> None:
    runs = sorted(path.name for path in (finished / "runs").iterdir())
    assert runs == ["cross-entropy-0", "cross-entropy-1", "crt-0", "crt-1", "stage-1-0", "stage-1-1"]
    assert (finished / "readings" / "post-hoc-1-test.npz").is_file()


def test_finished_rows_are_not_trained_again(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> int:
        raise AssertionError("trained again")

    monkeypatch.setattr(ablation_runs, "fit_encoder", never)
    before = (finished / "ablation.json").read_text()
    assert ablation.main(command(finished)) == 0
    assert (finished / "ablation.json").read_text() == before


def test_another_configuration_in_the_same_folder_is_refused(finished: Path) -> None:
    with pytest.raises(UserError, match="other settings"):
        ablation.main(command(finished, "train.learning_rate=1e-4"))


@pytest.mark.parametrize(("option", "value", "said"), [("--seeds", "0,0", "different"), ("--only", "crt,cart", "no row 'cart'")])
def test_wrong_lists_are_refused_in_one_line(tmp_path: Path, option: str, value: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        ablation.main(["--data", "drawn", "--out", str(tmp_path), option, value])


def test_faces_that_are_not_there_leave_no_folder_behind(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        ablation.main(["--data", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_an_out_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="file: cannot be used"):
        ablation.main(command(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "mine"
