"""The package DeepFace, imported with its noise, telemetry and global settings kept out."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from encoder.pictures.colour_crops import colour_crops

# Faces that go through at once: 16 of 224 x 224 pixels need about 1 GB in a VGG trunk.
_BATCH = 16


def load_deepface(task: Literal["facial_attribute", "facial_recognition"], name: str, device: str = "auto") -> Any:
    """One of DeepFace's clients, with its PyTorch network on ``device``.

    Raises UserError: deepface or a package of the model is missing, the model is unknown, or its weights cannot be had.
    """
    from engine.devices import resolve_device

    place = resolve_device(device)
    modeling = import_deepface("deepface.modules.modeling")
    known = sorted(modeling.AVAILABLE_MODELS[task])
    if name not in known:
        raise UserError(f"deepface:{name}: DeepFace has no such model; it has {', '.join(known)}")
    try:
        # Its download reports to the screen, in the middle of whatever is printed there.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            client = modeling.build_model(task=task, model_name=name)
    except ImportError as error:
        raise UserError(f"deepface:{name}: needs a package that is missing ({one_line(error)})") from None
    except Exception as error:  # whatever a backend or its download raises; DeepFace promises no set
        raise UserError(
            f"deepface:{name}: its weights cannot be had ({one_line(error)}); DeepFace downloads them at first use, so "
            "run this once with a network, or put the file there yourself"
        ) from None
    # DeepFace puts every PyTorch network on cuda:0, where the other processes' are, too.
    if hasattr(client, "device") and hasattr(client.model, "to"):
        client.model.to(place)
        client.device = place
    return client


def deepface_input(faces: Sequence[NDArray[np.uint8]], size: tuple[int, int]) -> NDArray[np.float32]:
    """Faces (see :func:`colour_crops`) as DeepFace's networks take them: float32 in [0, 1], **blue first**."""
    return colour_crops(faces, size)[..., ::-1].astype(np.float32) / np.float32(255.0)


def in_batches(network: Callable[[Any], Any], faces: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """(N, width) float32 answers of one of DeepFace's networks to what :func:`deepface_input` made of N faces."""
    rows = [np.zeros((0, width), np.float32)]
    for start in range(0, len(faces), _BATCH):
        part = faces[start : start + _BATCH]
        # Of a single face DeepFace returns the bare answer, without the axis of faces.
        rows.append(np.asarray(network(part), np.float32).reshape(len(part), width))
    return np.concatenate(rows)


def import_deepface(module: str) -> Any:
    """A module of DeepFace, on its PyTorch backend, without telemetry and without its change to the warning filters.

    Raises UserError: deepface or something it needs is missing.
    """
    import importlib

    # Read by deepface and onnxruntime when they are imported; a user's own choice stands.
    os.environ.setdefault("DEEPFACE_BACKEND_ENGINE", "pytorch")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        with warnings.catch_warnings():
            return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"DeepFace cannot be imported ({one_line(error)}); pip install 'mimique[deepface]'") from None
    except OSError as error:  # it makes its weight folder at import
        raise UserError(f"DeepFace cannot make its weight folder ({error}); set DEEPFACE_HOME to a place you may write") from None


def one_line(error: BaseException) -> str:
    """The message without line breaks and without the pictograms that DeepFace begins it with."""
    return " ".join(str(error).encode("ascii", "ignore").decode().split()) or type(error).__name__
