"""A critic that learned from what somebody said of made faces."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from configs.cli import UserError
from encoder.emotions import EMOTION_NAMES
from encoder.inference.emotion_encoder import EmotionEncoder
from vqvae.critics.__main__ import main
from vqvae.critics.critic import CriticConfig, RealismCritic
from vqvae.critics.ratings import Ratings, areas, fit_ratings, read_ratings
from vqvae.tokenizer import Tokenizer

PRETRAINED = Path(__file__).resolve().parents[2] / "pretrained"


def rated(rng: np.random.Generator, count: int = 210) -> tuple[torch.Tensor, Ratings]:
    """Faces of 300 numbers, of which one direction says how believable a face is."""
    x = rng.normal(size=(count, 300)).astype(np.float32)
    truth = x @ rng.normal(size=300) / 300**0.5
    rating = np.searchsorted(np.quantile(truth, [0.35, 0.75]), truth)
    tokens = rng.integers(0, 8, (count, 16, 2))
    return torch.from_numpy(x), Ratings(tokens, np.arange(count) % 7, rating, "ab" * 32)


def test_what_tells_is_found_and_noise_is_not(rng: np.random.Generator) -> None:
    x, ratings = rated(rng, 700)
    fitted = fit_ratings(x, ratings)
    told = areas(fitted.held_out, ratings)
    assert told["whole"] > 0.9
    assert told["believable"] > 0.9
    assert told["within"] > 0.9
    # 0 lies between malformed and passable ones.
    said = (x @ fitted.weight + fitted.bias).numpy()
    assert said[ratings.rating == 0].mean() < 0 < said[ratings.rating == 1].mean()
    noise = torch.from_numpy(rng.normal(size=tuple(x.shape)).astype(np.float32))
    assert abs(areas(fit_ratings(noise, ratings).held_out, ratings)["whole"] - 0.5) < 0.1


def test_within_does_not_take_an_emotion_for_a_rating(rng: np.random.Generator) -> None:
    emotion = np.repeat(np.arange(2), 100)
    rating = np.where(rng.random(200) < np.where(emotion == 0, 0.8, 0.2), 0, 1)
    ratings = Ratings(np.zeros((200, 1, 1), np.int64), emotion, rating, "")
    told = areas(emotion.astype(float), ratings)
    assert told["whole"] > 0.7
    assert told["within"] == 0.5


def test_a_table_comes_back_and_others_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    _, ratings = rated(rng, 30)
    ratings.save(tmp_path / "r.safetensors", "at random")
    back = read_ratings(tmp_path / "r.safetensors")
    for name in ("tokens", "emotion", "rating"):
        np.testing.assert_array_equal(getattr(back, name), getattr(ratings, name))
    assert back.tokenizer_sha256 == ratings.tokenizer_sha256
    Ratings(ratings.tokens, ratings.emotion, ratings.rating + 1, "").save(tmp_path / "three.safetensors", "")
    with pytest.raises(UserError, match="rating must lie in 0 to 2"):
        read_ratings(tmp_path / "three.safetensors")
    (tmp_path / "half.safetensors").write_bytes((tmp_path / "r.safetensors").read_bytes()[:99])
    with pytest.raises(UserError, match="cannot be read"):
        read_ratings(tmp_path / "half.safetensors")
    with pytest.raises(UserError, match="no such file"):
        read_ratings(tmp_path / "none.safetensors")
    with pytest.raises(UserError, match="at least 10 malformed"):
        fit_ratings(torch.zeros(30, 5), Ratings(ratings.tokens, ratings.emotion, ratings.rating * 0, ""))


def test_a_critic_that_weighs_maps_needs_its_encoder(tmp_path: Path) -> None:
    place = shutil.copytree(PRETRAINED / "judge", tmp_path / "judge")
    reader = EmotionEncoder.from_pretrained(place)
    digest = json.loads((place / "config.json").read_text())["sha256"]
    config = CriticConfig(name="maps", reader="judge", reader_sha256=digest, width=2688)
    torch.manual_seed(0)
    critic, faces = RealismCritic(config, reader).eval().requires_grad_(False), torch.rand(5, 3, 128, 128)
    critic.measure(critic.logits(faces))
    critic.save_pretrained(tmp_path / "critic")
    loaded = RealismCritic.from_pretrained(tmp_path / "critic")
    np.testing.assert_allclose(loaded.realism(faces), critic.realism(faces), atol=1e-5)
    assert sum(parameter.numel() for parameter in loaded.parameters()) == 2689
    torch.testing.assert_close(loaded(faces.flip(-1)), loaded(faces), atol=1e-4, rtol=1e-4)
    shutil.rmtree(place)
    shutil.copytree(PRETRAINED / "fast", place)
    with pytest.raises(UserError, match="was fitted on another encoder than"):
        RealismCritic.from_pretrained(tmp_path / "critic")


@pytest.mark.parametrize("name", ["critic", "critic_judge"])
def test_the_shipped_critics_know_the_faces_that_were_rated(name: str) -> None:
    ratings, tokenizer = read_ratings(), Tokenizer.from_pretrained(PRETRAINED / "tokenizer")
    assert ratings.tokenizer_sha256 == tokenizer.encoding_sha256()
    assert {EMOTION_NAMES[each] for each in set(ratings.emotion.tolist())} >= {"fear", "disgust", "anger", "sadness"}
    picked = np.arange(0, len(ratings.rating), 11)
    with torch.inference_mode():
        faces = (tokenizer.decode(torch.from_numpy(ratings.tokens[picked])) * 255.0).round() / 255.0
    critic = RealismCritic.from_pretrained(PRETRAINED / name)
    some = Ratings(ratings.tokens[picked], ratings.emotion[picked], ratings.rating[picked], "")
    assert areas(critic.realism(faces), some)["whole"] > 0.85


def test_the_program_fits_what_verification_takes(tmp_path: Path, rng: np.random.Generator) -> None:
    pictures = []
    for level in (40, 120, 200):
        buffer = io.BytesIO()
        noise = rng.integers(0, 50, (128, 128, 3))
        Image.fromarray((level + noise).astype(np.uint8)).save(buffer, format="PNG")
        pictures.append({"bytes": buffer.getvalue(), "path": ""})
    pq.write_table(pa.table({"image": pictures}), tmp_path / "valid.parquet")
    every = read_ratings()
    picked = np.arange(0, len(every.rating), 13)
    few = Ratings(every.tokens[picked], every.emotion[picked], every.rating[picked], every.tokenizer_sha256)
    few.save(tmp_path / "few.safetensors", "")
    weights = tmp_path / "weights"
    weights.mkdir()
    for part in ("encoder", "tokenizer", "prior"):
        (weights / part).symlink_to(PRETRAINED / part)
    asked = ["--weights", str(weights), "--photographs", str(tmp_path), "--ratings", str(tmp_path / "few.safetensors")]
    assert main([*asked, "--out", str(weights / "critic")]) == 0
    from generation.weights import FaceNetworks

    networks = FaceNetworks.from_pretrained(weights)
    assert networks.critic is not None
    assert networks.critic.scale.real == tuple(sorted(networks.critic.scale.real))
    with pytest.raises(UserError, match="is there already"):
        main([*asked, "--out", str(weights / "critic")])
    Ratings(few.tokens, few.emotion, few.rating, "other").save(tmp_path / "few.safetensors", "")
    with pytest.raises(UserError, match="made of other tokens"):
        main([*asked, "--out", str(tmp_path / "another")])
