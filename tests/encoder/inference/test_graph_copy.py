"""Stored networks that ONNX Runtime reads on the CPU: PyTorch's answers, never of old weights, with or without a cache folder."""

from __future__ import annotations

import copy
import pickle
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from encoder.config import CalibrationConfig, HeadCalibration, ModelConfig, PreprocessingConfig
from encoder.emotions import NUM_EMOTIONS
from encoder.inference import graph_copy
from encoder.inference.emotion_encoder import EmotionEncoder, Prediction
from encoder.inference.explain import grad_cam
from encoder.inference.graph_copy import GraphCopy
from encoder.models.create import create_model, list_models, registered_model

SIZE = 24


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of one test, which does not exist yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mimique" / "graphs"


@pytest.fixture
def faces(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (5, SIZE, SIZE), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path, small_encoder: Callable[..., EmotionEncoder]) -> Path:
    small_encoder(SIZE).save_pretrained(tmp_path / "weights")
    return tmp_path / "weights"


def largest_gap(one: Prediction, two: Prediction) -> float:
    """Of an embedding relative to its largest entry, as it has no scale of its own."""
    scale = max(1.0, float(two.embeddings.abs().max()))
    pairs = [(one.distributions, two.distributions), (one.embeddings / scale, two.embeddings / scale)]
    pairs += [(one.heads[name], two.heads[name]) for name in two.heads]
    assert list(one.heads) == list(two.heads)
    return max(float((a - b).abs().max()) for a, b in pairs)


def is_read_by_graph(encoder: EmotionEncoder) -> bool:
    assert encoder._graph is not None
    return encoder._graph.of(encoder) is not None


@pytest.mark.parametrize("name", list_models())
def test_every_network_is_answered_as_by_pytorch(name: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_copy, "MOST_PARAMETERS", 10**9)
    entry = registered_model(name)
    size = entry.size or max(SIZE, entry.smallest)
    torch.manual_seed(int(rng.integers(2**31)))
    net = create_model(ModelConfig(name=name, **({"widths": (8, 16), "depths": (2, 1)} if entry.sized else {})))
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.uniform_(0.2, 2.0)
            module.running_mean.uniform_(-0.5, 0.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    prior = tuple(np.log(np.arange(1, 9) / 36.0).tolist())
    calibration = CalibrationConfig(
        answer="ferplus", heads={"ferplus": HeadCalibration(temperature=0.6, tau=0.5, log_prior=prior)}
    )
    encoder = EmotionEncoder(net, PreprocessingConfig(size=size), calibration)
    # Features of a deep untrained network are in the hundreds: answers that are all but certain would say little.
    features = encoder.predict(rng.integers(0, 256, (2, size, size), dtype=np.uint8), runtime="pytorch").embeddings
    for head in net.heads.values():
        head.weight /= features.abs().max().clamp_min(1.0)
    encoder._graph = GraphCopy()
    assert is_read_by_graph(encoder)
    for count in (1, 2, 19):
        shown = rng.integers(0, 256, (count, size + 3, size + 3), dtype=np.uint8)
        found = encoder.predict(shown)
        assert found.distributions.shape == (count, NUM_EMOTIONS)
        assert largest_gap(found, encoder.predict(shown, runtime="pytorch")) <= 1e-4


@pytest.mark.parametrize("weights", ["encoder", "judge", "fast"])
def test_the_shipped_networks_are_answered_as_by_pytorch(weights: str) -> None:
    from encoder.drawing.faces import draw_faces
    from engine.storage.weights import resolve_folder

    encoder = EmotionEncoder.from_pretrained(resolve_folder(f"pretrained/{weights}"))
    shown = draw_faces(21, seed=0, size=96).images
    found = encoder.predict(shown)
    assert is_read_by_graph(encoder)
    assert largest_gap(found, encoder.predict(shown, runtime="pytorch")) <= 1e-4
    assert largest_gap(found, encoder.predict(shown, batch_size=4)) <= 1e-5


def test_a_graph_is_traced_once_and_then_comes_from_the_cache_folder(
    folder: Path, cache: Path, faces: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = EmotionEncoder.from_pretrained(folder).predict(faces)
    (file,) = cache.iterdir()
    monkeypatch.setattr(graph_copy, "traced", lambda encoder: pytest.fail("traced again"))
    again = EmotionEncoder.from_pretrained(folder)
    assert torch.equal(again.predict(faces).distributions, first.distributions)
    assert list(cache.iterdir()) == [file]


def test_other_weights_settings_or_code_have_another_graph(
    folder: Path, small_encoder: Callable[..., EmotionEncoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    def key(encoder: EmotionEncoder) -> str:
        return graph_copy.graph_key(encoder, [*encoder.net.parameters(), *encoder.net.buffers()])

    stored = EmotionEncoder.from_pretrained(folder)
    keys = {key(stored), key(small_encoder(SIZE, 1)), key(small_encoder(SIZE, 0, "ferplus")), key(small_encoder(SIZE + 8))}
    assert key(EmotionEncoder.from_pretrained(folder)) in keys
    monkeypatch.setattr(graph_copy, "OPSET", 19)
    keys.add(key(stored))
    monkeypatch.setattr(torch, "__version__", "0.0")
    keys.add(key(stored))
    assert len(keys) == 6


def test_a_damaged_file_is_made_again(folder: Path, cache: Path, faces: np.ndarray) -> None:
    expected = EmotionEncoder.from_pretrained(folder).predict(faces).distributions
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:1000])
    assert torch.equal(EmotionEncoder.from_pretrained(folder).predict(faces).distributions, expected)
    assert len(file.read_bytes()) == len(whole)


@pytest.mark.parametrize("trouble", ["a file in the way", "read-only", "no home"])
def test_reading_goes_on_in_memory_where_nothing_can_be_kept(
    trouble: str, folder: Path, cache: Path, tmp_path: Path, faces: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    if trouble == "a file in the way":
        (tmp_path / "cache").write_text("no folder")
    elif trouble == "read-only":
        cache.mkdir(parents=True)
        cache.chmod(stat.S_IRUSR | stat.S_IXUSR)
        # Root may write anywhere.
        monkeypatch.setattr(graph_copy, "atomic_write_bytes", lambda *_: (_ for _ in ()).throw(OSError(30, "read-only")))
    else:
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", "/proc/none")
    encoder = EmotionEncoder.from_pretrained(folder)
    found = encoder.predict(faces)
    assert is_read_by_graph(encoder)
    assert largest_gap(found, encoder.predict(faces, runtime="pytorch")) <= 1e-4
    assert not cache.is_dir() or list(cache.iterdir()) == []


def test_only_the_latest_graphs_are_kept(
    cache: Path, tmp_path: Path, small_encoder: Callable[..., EmotionEncoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_copy, "MOST_KEPT", 2)
    last = set()
    for seed in range(3):
        small_encoder(SIZE, seed).save_pretrained(tmp_path / str(seed))
        EmotionEncoder.from_pretrained(tmp_path / str(seed)).predict(np.zeros((1, SIZE, SIZE), np.uint8))
        before, last = last, {file.name for file in cache.iterdir()}
    assert len(last) == 2
    assert last != before


def scale(encoder: EmotionEncoder) -> None:
    with torch.no_grad():
        next(encoder.net.parameters()).mul_(1.5)


def renew(encoder: EmotionEncoder) -> None:
    encoder.calibration = CalibrationConfig(heads={"fer2013": HeadCalibration(temperature=9.0)})


def other(encoder: EmotionEncoder) -> None:
    encoder.net.load_state_dict({name: value + 0.5 for name, value in encoder.net.state_dict().items()}, assign=True)


@pytest.mark.parametrize("change", [scale, renew, other])
def test_an_old_graph_never_answers_for_what_changed(
    change: Callable[[EmotionEncoder], None], folder: Path, cache: Path, faces: np.ndarray
) -> None:
    encoder = EmotionEncoder.from_pretrained(folder)
    before = encoder.predict(faces)
    change(encoder)
    after = encoder.predict(faces)
    assert torch.equal(after.distributions, encoder.predict(faces, runtime="pytorch").distributions)
    assert not torch.allclose(after.distributions, before.distributions, atol=1e-5)
    assert len(list(cache.iterdir())) == 1


def test_what_learns_or_is_watched_is_read_by_pytorch(folder: Path, faces: np.ndarray) -> None:
    encoder = EmotionEncoder.from_pretrained(folder)
    encoder.predict(faces)
    encoder.net.requires_grad_(True)
    assert not is_read_by_graph(encoder)
    encoder.net.requires_grad_(False)
    handle = encoder.net.stages[0].register_forward_hook(lambda *_: None)
    assert not is_read_by_graph(encoder)
    handle.remove()
    assert is_read_by_graph(encoder)
    encoder.net.train()
    assert not is_read_by_graph(encoder)


def test_grad_cam_is_that_of_an_encoder_that_was_never_read(folder: Path, faces: np.ndarray) -> None:
    used, fresh = (EmotionEncoder.from_pretrained(folder) for _ in range(2))
    used.predict(faces)
    assert np.array_equal(grad_cam(used, faces), grad_cam(fresh, faces))


def test_the_session_follows_torchs_threads(folder: Path, faces: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    original = graph_copy.open_session

    def note(graph: bytes, threads: int, **options: bool) -> object:
        opened.append(threads)
        return original(graph, threads, **options)

    monkeypatch.setattr(graph_copy, "open_session", note)
    encoder, before = EmotionEncoder.from_pretrained(folder), torch.get_num_threads()
    try:
        for threads in (1, 1, 2):
            torch.set_num_threads(threads)
            encoder.predict(faces)
    finally:
        torch.set_num_threads(before)
    assert opened == [1, 2]


def test_copies_read_alike(folder: Path, faces: np.ndarray) -> None:
    encoder = EmotionEncoder.from_pretrained(folder)
    expected = encoder.predict(faces).distributions
    for made in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):  # noqa: S301
        assert is_read_by_graph(made)
        assert torch.equal(made.predict(faces).distributions, expected)


def fail(*_: object, **__: object) -> None:
    raise RuntimeError("not\ntoday")


@pytest.mark.parametrize("broken", ["traced", "open_session", "_largest_gap"])
def test_pytorch_reads_where_onnx_runtime_fails_and_that_is_said(
    broken: str, folder: Path, faces: np.ndarray, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(graph_copy, broken, (lambda *_: float("nan")) if broken == "_largest_gap" else fail)
    encoder = EmotionEncoder.from_pretrained(folder)
    for _ in range(2):
        assert torch.equal(encoder.predict(faces).distributions, encoder.predict(faces, runtime="pytorch").distributions)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("encoder: ONNX Runtime cannot be used, PyTorch reads instead, more slowly: ")
    assert line.endswith("differ from PyTorch's by nan" if broken == "_largest_gap" else "not today")


def test_no_face_is_no_reading(folder: Path) -> None:
    found = EmotionEncoder.from_pretrained(folder).predict(np.zeros((0, SIZE, SIZE), np.uint8))
    assert found.distributions.shape == (0, NUM_EMOTIONS)


def test_a_graph_made_under_autocast_is_one_of_float32(
    small_encoder: Callable[..., EmotionEncoder], tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    small_encoder(SIZE).save_pretrained(tmp_path / "e")
    encoder, faces = EmotionEncoder.from_pretrained(tmp_path / "e"), rng.integers(0, 256, (3, SIZE, SIZE), dtype=np.uint8)
    with torch.autocast("cpu", torch.bfloat16):
        found = encoder.predict(faces)
        assert is_read_by_graph(encoder)
    assert largest_gap(found, encoder.predict(faces, runtime="pytorch")) <= 1e-4
    assert "ONNX" not in capsys.readouterr().err
