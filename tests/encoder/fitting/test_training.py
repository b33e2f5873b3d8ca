"""A run that is broken off and resumed ends with the same weights, bit for bit."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import encoder.fitting.fit as fit
from configs.cli import UserError
from configs.loader import load_config
from encoder.config import CalibrationConfig, EncoderConfig, PreprocessingConfig
from encoder.data.face_set import FaceSet
from encoder.fitting.fit import EncoderTask, fit_encoder
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.models.create import create_model
from engine.storage.checkpoint import latest_checkpoint, load_checkpoint
from engine.storage.weights import read_config

SETTINGS = {
    "model": {"widths": [8, 16], "depths": [1, 1], "dropout": 0.2, "heads": ["fer2013", "ferplus"]},
    "preprocessing": {"size": 16},
    "train": {"epochs": 10, "batch_size": 8, "device": "cpu", "precision": "no"},
}


def make_faces(count: int, seed: int) -> FaceSet:
    rng = np.random.default_rng(seed)
    counts = np.zeros((count, 10), np.int16)
    counts[np.arange(count), rng.integers(0, 8, count)] = 8
    counts[np.arange(count), rng.integers(0, 8, count)] += 2
    from encoder.data.ferplus import vote_distributions

    return FaceSet(
        images=rng.integers(0, 256, (count, 16, 16), dtype=np.uint8),
        labels=(np.arange(count) % 7).astype(np.int8),
        votes=vote_distributions(counts),
        ids=tuple(str(i) for i in range(count)),
        source="made up",
        vote_counts=counts,
    )


@pytest.fixture(autouse=True)
def _made_up_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = {"train": make_faces(40, 1), "valid": make_faces(28, 2)}
    monkeypatch.setattr(fit, "load_split", lambda _config, split: sets[split])


def settings(**train: object) -> EncoderConfig:
    return load_config(EncoderConfig, None, defaults={**SETTINGS, "train": {**SETTINGS["train"], **train}})


@pytest.mark.parametrize(("stop_at", "optimizer"), [(7, "adamw"), (25, "adamw"), (33, "adamw"), (8, "sgd")])
def test_interrupted_and_resumed_equals_unbroken(
    tmp_path: Path, stop_at: int, optimizer: str, signal_in_step: Any, differing: Any
) -> None:
    # A part of the network learns at a rate of its own: the optimizer's groups come back too.
    config, number = settings(optimizer=optimizer, trunk_rate=0.5), signal.SIGINT if optimizer == "adamw" else signal.SIGTERM
    assert fit_encoder(config, tmp_path / "whole", None) == 0
    with signal_in_step(EncoderTask, stop_at, number):
        assert fit_encoder(config, tmp_path / "broken", None) == 128 + number
    assert not (tmp_path / "broken" / "weights").exists()
    # A run begun before there were such settings, whose defaults change nothing.
    text = (tmp_path / "broken" / "config.yaml").read_text()
    assert f"  optimizer: {optimizer}\n" in text
    (tmp_path / "broken" / "config.yaml").write_text(text.replace("  optimizer: adamw\n", "").partition("landmarks:")[0])
    assert fit_encoder(config, tmp_path / "broken", "latest") == 0
    assert differing(tmp_path / "whole", tmp_path / "broken") == []


@pytest.mark.parametrize("stop_at", [7, 10], ids=["mid-epoch", "epoch's end"])
def test_killed_in_mid_accumulation_and_resumed_equals_unbroken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before_each: Callable[..., None], stop_at: int, differing: Any
) -> None:
    from accelerate import Accelerator

    parts, left = settings(epochs=3, accumulate=4, checkpoint_every=2), iter(range(4 * stop_at + 2))

    def killed(*_: object) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    assert fit_encoder(parts, tmp_path / "whole", None) == 0
    with monkeypatch.context() as patch:
        before_each(Accelerator, "backward", killed, patch)
        with pytest.raises(KeyboardInterrupt):
            fit_encoder(parts, tmp_path / "broken", None)
    assert fit_encoder(parts, tmp_path / "broken", "latest") == 0
    assert differing(tmp_path / "whole", tmp_path / "broken") == []


def test_the_result_loads_and_reads_faces(tmp_path: Path) -> None:
    assert fit_encoder(settings(epochs=1), tmp_path / "run", None) == 0
    reader = EmotionEncoder.from_pretrained(tmp_path / "run" / "weights")
    read = reader.predict(make_faces(3, 5).images)
    assert read.distributions.shape == (3, 7)
    torch.testing.assert_close(read.distributions.sum(1), torch.ones(3))


def test_training_can_start_from_other_weights(tmp_path: Path) -> None:
    fit_encoder(settings(epochs=1), tmp_path / "first", None)
    start = str(tmp_path / "first" / "weights")
    assert fit_encoder(settings(epochs=0.2, init=start, learning_rate=1e-9, weight_decay=0), tmp_path / "second", None) == 0
    before, after = (EmotionEncoder.from_pretrained(tmp_path / run / "weights").net.state_dict() for run in ("first", "second"))
    torch.testing.assert_close(after["stages.0.0.weight"], before["stages.0.0.weight"], atol=1e-3, rtol=1e-3)
    starts = [read_config(tmp_path / run / "weights", "encoder")["training"]["start"] for run in ("first", "second")]
    assert starts == [None, "other weights"]


def test_a_run_is_not_overwritten_and_not_resumed_with_other_settings(tmp_path: Path) -> None:
    fit_encoder(settings(epochs=1), tmp_path / "run", None)
    with pytest.raises(UserError, match="already holds a run"):
        fit_encoder(settings(epochs=1), tmp_path / "run", None)
    with pytest.raises(UserError, match="configuration differs"):
        fit_encoder(settings(epochs=2), tmp_path / "run", "latest")
    with pytest.raises(UserError, match="no checkpoint"):
        fit_encoder(settings(epochs=1), tmp_path / "empty", "latest")


@pytest.mark.parametrize(
    ("train", "resume", "message"),
    [
        ({}, None, "file: cannot be made a folder"),
        ({"init": "nowhere"}, None, "nowhere"),
        ({"init": "other"}, None, "train.init: other holds another model"),
        ({"teacher": "nowhere"}, None, "nowhere"),
        ({"batch_size": 9, "accumulate": 2}, None, "train.batch_size: 9 cannot be shared"),
        ({}, "nowhere", "nowhere"),
        ({}, "other", "other"),
    ],
)
def test_what_cannot_start_is_refused_before_faces_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, train: dict[str, object], resume: str | None, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fit, "load_split", lambda *_: pytest.fail("faces were read"))
    Path("file").write_text("mine")
    net = create_model(settings().model.model_copy(update={"widths": (4, 8)}))
    EmotionEncoder(net, PreprocessingConfig(size=16), CalibrationConfig(answer="ferplus")).save_pretrained("other")
    with pytest.raises(UserError, match=message):
        fit_encoder(settings(**train), Path("file" if message.startswith("file") else "run"), resume)


def test_a_time_budget_ends_annealed(tmp_path: Path) -> None:
    assert fit_encoder(settings(max_minutes=0.02), tmp_path / "run", None) == 0
    assert (tmp_path / "run" / "weights" / "model.safetensors").is_file()


def with_scores(monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> None:
    """Evaluations that find these scores, one after the other; beyond them the last one."""
    given = iter(scores)
    original = EncoderTask.evaluate

    def scored(self: EncoderTask) -> dict[str, float]:
        return {**original(self), "score": next(given, scores[-1])}

    monkeypatch.setattr(EncoderTask, "evaluate", scored)


def rates(run: Path) -> float:
    newest = latest_checkpoint(run)
    assert newest is not None
    return load_checkpoint(newest).state["optimizers"]["net"]["param_groups"][0]["lr"]


def test_the_rate_falls_on_a_plateau_and_a_resumed_run_lowers_it_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signal_in_step: Any, differing: Any
) -> None:
    # 5 steps make an epoch; the first evaluation is the best, so the rate is halved after the third and the fifth.
    plateau = {"schedule": "plateau", "plateau_patience": 2, "evaluate_every": 1.0, "epochs": 6, "learning_rate": 0.001}
    with monkeypatch.context() as patch:
        with_scores(patch, [0.9, 0.1, 0.1, 0.1, 0.1, 0.1])
        assert fit_encoder(settings(**plateau), tmp_path / "whole", None) == 0
    assert rates(tmp_path / "whole") == pytest.approx(0.001 / 4)
    with monkeypatch.context() as patch, signal_in_step(EncoderTask, 12, signal.SIGINT):
        with_scores(patch, [0.9, 0.1])
        assert fit_encoder(settings(**plateau), tmp_path / "broken", None) == 130
    with monkeypatch.context() as patch:
        with_scores(patch, [0.1])
        assert fit_encoder(settings(**plateau), tmp_path / "broken", "latest") == 0
    assert rates(tmp_path / "broken") == rates(tmp_path / "whole")
    assert differing(tmp_path / "whole", tmp_path / "broken") == []


def test_a_plateau_kept_by_an_earlier_release_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signal_in_step: Any
) -> None:
    plateau = {"schedule": "plateau", "epochs": 6}
    with monkeypatch.context() as patch, signal_in_step(EncoderTask, 2, signal.SIGINT):
        patch.setattr(EncoderTask, "state", lambda _: {"plateau": {"rate": 1.0, "best": None, "waited": 0}})
        assert fit_encoder(settings(**plateau), tmp_path / "run", None) == 130
    with pytest.raises(UserError, match="earlier release"):
        fit_encoder(settings(**plateau), tmp_path / "run", "latest")


def test_training_stops_early_and_keeps_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, newest_tensors: Any) -> None:
    with_scores(monkeypatch, [0.2, 0.5, 0.4, 0.3, 0.3])
    chosen = settings(epochs=40, evaluate_every=1.0, early_stopping=3, select="best", schedule="constant")
    assert fit_encoder(chosen, tmp_path / "run", None) == 0
    training = read_config(tmp_path / "run" / "weights", "encoder")["training"]
    assert (training["steps"], training["kept_step"]) == (25, 10)
    stored = load_checkpoint(tmp_path / "run" / "checkpoints" / "step-00000010").tensors["ema-net"]
    kept = EmotionEncoder.from_pretrained(tmp_path / "run" / "weights").net.state_dict()
    name = "stages.0.0.weight"
    torch.testing.assert_close(kept[name], stored[name].half().float())
    last = newest_tensors(tmp_path / "run")[f"ema-net/{name}"]
    assert not torch.equal(kept[name], last.half().float())


def test_without_early_stopping_the_last_weights_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_scores(monkeypatch, [0.5, 0.1])
    assert fit_encoder(settings(epochs=4, evaluate_every=1.0), tmp_path / "run", None) == 0
    training = read_config(tmp_path / "run" / "weights", "encoder")["training"]
    assert (training["steps"], training["kept_step"]) == (20, 20)


def test_the_normalisation_of_the_data_set_is_measured_and_stored_as_fixed(tmp_path: Path) -> None:
    config = settings(epochs=1).model_copy(update={"preprocessing": PreprocessingConfig(size=16, normalisation="data_set")})
    assert fit_encoder(config, tmp_path / "run", None) == 0
    stored = EmotionEncoder.from_pretrained(tmp_path / "run" / "weights").preprocessing
    images = make_faces(40, 1).images / 255
    assert stored.normalisation == "fixed"
    assert (stored.mean, stored.std) == (pytest.approx(images.mean()), pytest.approx(images.std()))


@pytest.mark.parametrize("trainable", ["head", "all"])
def test_the_trunk_moves_only_if_it_is_trained(tmp_path: Path, trainable: str, newest_tensors: Any) -> None:
    torch.manual_seed(0)
    start = create_model(settings().model).state_dict()["stages.0.0.weight"]
    assert fit_encoder(settings(epochs=1, trainable=trainable), tmp_path / "run", None) == 0
    trained = newest_tensors(tmp_path / "run")
    assert torch.equal(trained["net/stages.0.0.weight"], start) == (trainable == "head")
    assert bool(trained["net/stages.0.1.num_batches_tracked"] == 0) == (trainable == "head")


def test_a_teacher_is_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fit_encoder(settings(epochs=0.2), tmp_path / "first", None) == 0
    original, loaded = EmotionEncoder.from_pretrained, list[Path]()

    def counted(folder: Path, *more: Any) -> EmotionEncoder:
        loaded.append(folder)
        return original(folder, *more)

    monkeypatch.setattr(EmotionEncoder, "from_pretrained", counted)
    teacher = tmp_path / "first" / "weights"
    assert fit_encoder(settings(epochs=0.2, teacher=str(teacher)), tmp_path / "second", None) == 0
    assert loaded == [teacher]
