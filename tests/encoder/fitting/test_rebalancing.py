"""Rebalanced draws, adjusted logits, a teacher, and which parts of a network a second stage moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from configs.cli import UserError
from configs.loader import load_config
from encoder.config import CalibrationConfig, EncoderConfig, PreprocessingConfig
from encoder.data.face_set import FaceSet
from encoder.fitting.loss import EncoderLoss, distillation, load_teacher, soft_cross_entropy
from encoder.fitting.rebalancing import class_frequencies, sampling_weights
from encoder.fitting.starting_point import make_net, make_optimizer
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.inference.views import averaged_logits, views_of
from encoder.models.create import create_model
from engine.training.batches import GlobalBatches

LABELS = np.repeat([0, 1, 2, 3, 4, 5, 6, -1], [40, 4, 40, 80, 40, 30, 50, 10])


def lopsided(size: int = 16) -> FaceSet:
    rng = np.random.default_rng(0)
    count = len(LABELS)
    votes = np.zeros((count, 8), np.float32)
    votes[np.arange(count), rng.integers(0, 8, count)] = 1
    return FaceSet(
        images=rng.integers(0, 256, (count, size, size), dtype=np.uint8),
        labels=LABELS.astype(np.int8),
        votes=votes,
        ids=tuple(str(i) for i in range(count)),
        source="made up",
    )


def config(**train: object) -> EncoderConfig:
    model = {"widths": [8, 16], "depths": [1, 1], "dropout": 0.0, "heads": ["fer2013", "ferplus"]}
    settings = {"batch_size": 16, "device": "cpu", "precision": "no", **train}
    return load_config(EncoderConfig, None, defaults={"model": model, "preprocessing": {"size": 16}, "train": settings})


@pytest.mark.parametrize(("sampling", "ratio"), [("balanced", 1.0), ("square_root", np.sqrt(80 / 4))])
def test_rebalanced_draws_have_the_promised_shares(sampling: str, ratio: float) -> None:
    weights = sampling_weights(lopsided(), sampling)  # type: ignore[arg-type]
    batches = GlobalBatches(len(LABELS), 100, seed=3, weights=weights)
    drawn = np.concatenate([LABELS[batches.whole(step)] for step in range(400)])
    happy, disgust = (drawn == 3).sum(), (drawn == 1).sum()
    assert happy / disgust == pytest.approx(ratio, rel=0.1)
    unlabelled = (drawn == -1).mean()
    assert unlabelled == pytest.approx((LABELS == -1).mean(), rel=0.25)


def test_instance_sampling_needs_no_weights_and_rebalancing_needs_labels() -> None:
    faces = lopsided()
    assert sampling_weights(faces, "instance") is None
    with pytest.raises(UserError, match=r"train\.sampling.*no face"):
        sampling_weights(faces.subset(np.flatnonzero(LABELS == -1)), "balanced")


def test_class_frequencies_are_positive_and_sum_to_one() -> None:
    frequencies = class_frequencies(lopsided(), "fer2013")
    assert frequencies.sum() == pytest.approx(1.0)
    assert frequencies[3] / frequencies[1] == pytest.approx(81 / 5)
    assert (class_frequencies(lopsided(), "ferplus") > 0).all()


def test_logit_adjustment_is_the_balanced_softmax() -> None:
    faces, settings = lopsided(), config(logit_adjustment=1.0)
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3, 6])
    targets = torch.nn.functional.one_hot(labels, 7).float()
    loss = EncoderLoss(settings, faces)(torch.zeros(5, 1, 16, 16), {"fer2013": logits}, {"fer2013": targets})
    weighted = logits.exp() * torch.from_numpy(class_frequencies(faces, "fer2013")).float()
    expected = -(weighted[torch.arange(5), labels] / weighted.sum(dim=1)).log().mean()
    assert float(loss["fer2013"]) == pytest.approx(float(expected), rel=1e-5)


def test_faces_without_a_kind_of_label_do_not_count() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    targets = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    assert torch.equal(soft_cross_entropy(logits, targets), soft_cross_entropy(logits[:1], targets[:1]))
    assert float(soft_cross_entropy(logits, torch.zeros(2, 2))) == 0.0


def test_distillation_is_zero_for_the_same_answers_and_pulls_towards_others() -> None:
    logits = torch.randn(4, 7, generator=torch.Generator().manual_seed(1), requires_grad=True)
    assert float(distillation(logits.detach(), logits.detach() + 3.0, 2.0)) == pytest.approx(0.0, abs=1e-6)
    wanted = torch.eye(7)[:4] * 5
    before = distillation(logits, wanted, 2.0)
    (gradient,) = torch.autograd.grad(before, logits)
    assert float(distillation((logits - 0.1 * gradient).detach(), wanted, 2.0)) < float(before.detach())


def teacher_folder(folder: Path, settings: EncoderConfig) -> Path:
    torch.manual_seed(9)
    EmotionEncoder(create_model(settings.model), settings.preprocessing, CalibrationConfig()).save_pretrained(folder)
    return folder


def test_a_teacher_adds_its_share_of_the_loss(tmp_path: Path) -> None:
    folder = teacher_folder(tmp_path / "teacher", config())
    faces = torch.randn(6, 1, 16, 16)
    targets = {"fer2013": torch.eye(7)[:6], "ferplus": torch.eye(8)[:6]}
    logits = {"fer2013": torch.randn(6, 7), "ferplus": torch.randn(6, 8)}
    alone = EncoderLoss(config(), lopsided())(faces, logits, targets)
    settings = config(teacher=str(folder), teacher_weight=0.7)
    taught = EncoderLoss(settings, lopsided(), load_teacher(settings))(faces, logits, targets)
    assert set(taught) == {"fer2013", "ferplus", "teacher"}
    assert float(taught["fer2013"]) == pytest.approx(0.3 * float(alone["fer2013"]), rel=1e-5)
    assert float(taught["teacher"]) > 0


def test_a_teacher_that_reads_another_input_is_refused(tmp_path: Path) -> None:
    folder = teacher_folder(tmp_path / "teacher", config())
    other = config(teacher=str(folder)).model_copy(update={"preprocessing": PreprocessingConfig(size=24)})
    with pytest.raises(UserError, match=r"train\.teacher.*reads another input"):
        EncoderLoss(other, lopsided(), load_teacher(other))


def test_reset_heads_keeps_the_trunk(tmp_path: Path) -> None:
    folder = teacher_folder(tmp_path / "start", config())
    start = EmotionEncoder.from_pretrained(folder).net
    net = make_net(config(init=str(folder), reset_heads=True, trainable="head"))
    assert torch.equal(net.stages[0][0].weight, start.stages[0][0].weight)  # type: ignore[index]
    assert not torch.equal(net.heads["fer2013"].weight, start.heads["fer2013"].weight)
    with pytest.raises(UserError, match=r"train\.reset_heads"):
        make_net(config(reset_heads=True))


def test_last_stage_learns_slowly_and_the_first_not_at_all() -> None:
    net = make_net(config(trainable="last_stage", trunk_rate=0.1))
    assert not any(p.requires_grad for p in net.stages[0].parameters())
    assert all(p.requires_grad for p in net.stages[1].parameters())
    optimizer = make_optimizer(net, config(trunk_rate=0.1).train)
    scales = {id(p): group.get("lr_scale", 1.0) for group in optimizer.param_groups for p in group["params"]}
    assert {scales[id(p)] for p in net.stages[1].parameters()} == {0.1}
    assert {scales[id(p)] for p in net.heads.parameters()} == {1.0}
    assert not any(id(p) in scales for p in net.stages[0].parameters())


def test_ten_crops_are_the_corners_and_the_middle_with_their_mirrors() -> None:
    grey = torch.arange(48 * 48, dtype=torch.float32).view(1, 1, 48, 48)
    views = views_of(grey, "ten-crop")
    assert [view.shape[-2:] for view in views] == [(44, 44)] * 10
    corners = sorted(float(view[0, 0, 0, 0]) for view in views[:5])
    assert corners == sorted([2 * 48 + 2, 0, 4, 4 * 48, 4 * 48 + 4])
    assert all(torch.equal(view.flip(-1), mirrored) for view, mirrored in zip(views[:5], views[5:], strict=True))


def test_averaged_logits_do_not_see_which_way_a_face_looks() -> None:
    encoder = EmotionEncoder(create_model(config().model), PreprocessingConfig(size=16), CalibrationConfig())
    faces = lopsided()
    mirrored = faces.subset(np.arange(len(faces)))
    mirrored.images[:] = faces.images[:, :, ::-1]
    plain, flipped = averaged_logits(encoder, faces), averaged_logits(encoder, mirrored)
    assert np.allclose(plain["fer2013"], flipped["fer2013"], atol=1e-5)
    assert not np.allclose(averaged_logits(encoder, faces, "plain")["fer2013"], plain["fer2013"], atol=1e-3)
