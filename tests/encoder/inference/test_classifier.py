"""The encoder as people call it, its preprocessing, augmentation, calibration and networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from configs.cli import UserError
from encoder.config import AugmentConfig, CalibrationConfig, HeadCalibration, ModelConfig, PreprocessingConfig
from encoder.fitting.augment import NUM_UNIFORMS, augment
from encoder.fitting.calibration import fit_calibration
from encoder.inference.calibration import calibrated_log_probabilities, fold_to_seven
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.inference.preprocessing import normalise, to_grey
from encoder.models.create import create_model, list_models, registered_model
from engine.training.ema import Ema


@pytest.fixture
def encoder(small_encoder: Callable[..., EmotionEncoder]) -> EmotionEncoder:
    return small_encoder(answer="ferplus")


@pytest.mark.parametrize("name", list_models())
def test_every_network_runs_and_trains(name: str) -> None:
    torch.manual_seed(0)
    entry = registered_model(name)
    # Networks of earlier systems have their own sizes.
    sizes = {"widths": (8, 16), "depths": (1, 1)} if entry.sized else {}
    net = create_model(ModelConfig(name=name, **sizes)).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    faces = torch.randn(3, 1, *[entry.size or (24 if entry.sized else 48)] * 2)
    # The residual branches start at zero: after one step every weight takes part.
    for _ in range(2):
        optimizer.zero_grad()
        output = net(faces)
        torch.stack([logits.logsumexp(1).mean() for logits in output.logits.values()]).sum().backward()
        optimizer.step()
    assert output.logits["fer2013"].shape == (3, 7)
    assert output.logits["ferplus"].shape == (3, 8)
    assert output.embedding.shape == (3, net.heads["fer2013"].in_features)
    assert all(torch.isfinite(logits).all() for logits in output.logits.values())
    assert all(maps.ndim == 4 and min(maps.shape[2:]) >= 2 for maps in output.maps)
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_widths_and_depths_must_match() -> None:
    with pytest.raises(UserError, match="widths has 2"):
        create_model(ModelConfig(widths=(8, 16), depths=(1,)))


def test_the_same_picture_in_any_form_reads_the_same(encoder: EmotionEncoder, rng: np.random.Generator) -> None:
    grey = rng.integers(0, 256, (4, 40, 40), dtype=np.uint8)
    expected = encoder.predict(grey).distributions
    channels = [grey[:, None], np.repeat(grey[..., None], 3, axis=-1), np.repeat(grey[:, None], 3, axis=1)]
    for form in (*channels, grey.astype(np.float32) / 255, torch.from_numpy(grey)):
        torch.testing.assert_close(encoder.predict(form).distributions, expected, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(encoder.predict(grey[1]).distributions[0], expected[1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(encoder.predict(grey, batch_size=3).distributions, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("faces", "message"),
    [
        (np.full((1, 8, 8), 200.0, np.float32), r"\[0, 1\]"),
        (np.zeros((1, 8, 8), np.int64), "uint8 or float"),
        (np.zeros((2, 5, 8, 8), np.uint8), "cannot read shape"),
    ],
)
def test_other_inputs_are_refused(encoder: EmotionEncoder, faces: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        encoder.predict(faces)


def test_grey_is_the_luma_of_pil(rng: np.random.Generator) -> None:
    from PIL import Image

    colour = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    ours = to_grey(colour)[0, 0].numpy() * 255
    assert np.abs(ours - np.asarray(Image.fromarray(colour).convert("L"), np.float32)).max() <= 1.0


def test_per_image_normalisation_forgives_light() -> None:
    face = torch.rand(1, 1, 24, 24) * 0.5 + 0.2
    config = PreprocessingConfig(size=24)
    torch.testing.assert_close(normalise(face, config), normalise(face * 0.8 + 0.1, config), atol=0.02, rtol=0.02)


def test_saved_and_loaded_it_says_the_same(encoder: EmotionEncoder, tmp_path: Path) -> None:
    encoder.calibration = CalibrationConfig(answer="fer2013", heads={"fer2013": HeadCalibration(temperature=2.0)})
    encoder.save_pretrained(tmp_path / "e")
    loaded = EmotionEncoder.from_pretrained(tmp_path / "e")
    assert loaded.calibration == encoder.calibration
    faces = torch.rand(3, 1, 24, 24)
    torch.testing.assert_close(loaded.predict(faces).distributions, encoder.predict(faces).distributions, atol=5e-3, rtol=5e-2)


def test_contempt_is_folded_away() -> None:
    eight = torch.tensor([[0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.2]]).log()
    seven = fold_to_seven(eight).exp()
    assert seven.sum() == pytest.approx(1.0)
    assert seven[0, 0] == pytest.approx(0.25)


def test_prior_correction_favours_the_rare_class_and_temperature_keeps_the_order() -> None:
    logits = torch.tensor([[1.0, 0.5, 0.0]])
    prior = tuple(np.log([0.9, 0.09, 0.01]).tolist())
    plain = calibrated_log_probabilities(logits, HeadCalibration())
    corrected = calibrated_log_probabilities(logits, HeadCalibration(tau=1.0, log_prior=prior))
    cooled = calibrated_log_probabilities(logits, HeadCalibration(temperature=0.5))
    assert plain.argmax() == cooled.argmax() == 0
    assert cooled.max() > plain.max()
    assert corrected.argmax() == 2


def test_the_fitted_temperature_undoes_overconfidence(rng: np.random.Generator) -> None:
    labels = rng.integers(0, 3, 3000)
    honest = np.log(0.2) * np.ones((3000, 3))
    top = np.where(rng.random(3000) < 0.6, labels, (labels + rng.integers(1, 3, 3000)) % 3)
    honest[np.arange(3000), top] = np.log(0.6)
    fitted = fit_calibration(3.0 * honest, labels, np.ones(3), (0.0,))
    assert fitted.temperature == pytest.approx(3.0, rel=0.12)


def test_prior_correction_costs_at_most_a_point(rng: np.random.Generator) -> None:
    labels = (rng.random(4000) < 0.05).astype(int)
    logits = np.stack([1.5 - 3.0 * labels, -1.5 + 3.0 * labels], 1) + rng.normal(0, 2, (4000, 2)) + np.log([0.95, 0.05])
    taus = tuple(np.linspace(0, 1, 11).round(1))
    fitted = fit_calibration(logits, labels, np.array([0.95, 0.05]), taus)
    log_prior = np.log([0.95, 0.05])

    def right(tau: float) -> float:
        return float(((logits - tau * log_prior).argmax(1) == labels).mean())

    assert right(fitted.tau) >= max(right(tau) for tau in taus) - 0.01
    assert fitted.tau > 0


def test_augmentation_is_a_pure_function_of_its_numbers_and_passes_gradients() -> None:
    config = AugmentConfig(blur=1.0, noise=0.1)
    faces, u = torch.rand(6, 1, 20, 20, requires_grad=True), torch.rand(6, NUM_UNIFORMS)
    together = augment(faces, u, config)
    torch.testing.assert_close(augment(faces[3:4], u[3:4], config), together[3:4])
    assert 0 <= float(together.detach().min()) <= float(together.detach().max()) <= 1
    assert not torch.allclose(together, faces)
    together.sum().backward()
    assert faces.grad.abs().sum() > 0


STILL = AugmentConfig(flip=False, rotation=0, scale=0, shift=0, shear=0, contrast=0, brightness=0, erase=0)


def test_augmentation_switched_off_changes_nothing_and_flips_exactly() -> None:
    faces, u = torch.rand(2, 1, 20, 20), torch.full((2, NUM_UNIFORMS), 0.2)
    torch.testing.assert_close(augment(faces, u, STILL), faces, atol=1e-5, rtol=1e-5)
    mirrored = augment(faces, u, STILL.model_copy(update={"flip": True}))
    torch.testing.assert_close(mirrored, faces.flip(-1), atol=1e-5, rtol=1e-5)


def test_saturation_changes_colour_and_neither_grey_nor_brightness() -> None:
    config = STILL.model_copy(update={"saturation": 0.5})
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    colour, u = 0.3 + 0.4 * torch.rand(2, 3, 20, 20), torch.full((2, NUM_UNIFORMS), 0.2)
    changed = augment(colour, u, config)
    # A draw of 0.2 is 1 - 0.3 of the saturation.
    grey = (colour * luma).sum(1, keepdim=True)
    torch.testing.assert_close(changed, grey + 0.7 * (colour - grey), atol=1e-4, rtol=1e-4)
    for unsaturated in (colour[:, :1], colour[:, :1].expand(-1, 3, -1, -1)):
        torch.testing.assert_close(augment(unsaturated, u, config), unsaturated, atol=1e-4, rtol=1e-4)


def test_the_average_copies_buffers_and_counts_its_updates() -> None:
    net = torch.nn.BatchNorm1d(3)
    ema = Ema(net, decay=0.99)
    with torch.no_grad():
        net.weight.fill_(5.0)
        net.running_mean.fill_(7.0)
    ema.update(net)
    assert ema.updates == 1
    assert ema.module.running_mean.tolist() == [7.0] * 3  # type: ignore[union-attr, operator]
    assert 1.0 < float(ema.module.weight[0]) < 5.0  # type: ignore[index, arg-type]
