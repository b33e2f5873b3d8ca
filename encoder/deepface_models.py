"""DeepFace's networks for attributes and identity, called directly: its own ``analyze`` reads one picture at a time.

Nothing here happens unless a name beginning with ``deepface`` is asked for. The weights are then downloaded once by
DeepFace, from its own places and without a checksum, into ``$DEEPFACE_HOME/.deepface/weights``.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from encoder.colour_crops import colour_crops
from encoder.detect_deepface import import_deepface

_ATTRIBUTE_SIZE = (224, 224)
# Faces that go through at once: 16 of 224 x 224 pixels need about 1 GB in the VGG trunk.
_BATCH = 16


def load_deepface(task: Literal["facial_attribute", "facial_recognition"], name: str, device: str = "auto") -> Any:
    """One of DeepFace's clients, with its PyTorch network on ``device``.

    Raises:
        UserError: deepface or a package of the model is missing, the model is unknown, or its weights cannot be had.
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
        raise UserError(f"deepface:{name}: needs a package that is missing ({_one_line(error)})") from None
    except Exception as error:  # whatever a backend or its download raises; DeepFace promises no set
        raise UserError(
            f"deepface:{name}: its weights cannot be had ({_one_line(error)}); DeepFace downloads them at first use, so "
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


class DeepFaceGender:
    """DeepFace's gender network (VGG-Face trunk, 134 M parameters, in colour)."""

    def __init__(self, device: str = "auto") -> None:
        self._client = load_deepface("facial_attribute", "Gender", device)

    def predict(self, faces: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(N, 2) float32 probabilities of (female, male); faces as in :func:`encoder.colour_crops.colour_crops`."""
        return _in_batches(self._client, deepface_input(faces, _ATTRIBUTE_SIZE), (2,))


class DeepFaceAge:
    """DeepFace's age network: the mean of a distribution over 0 to 100 years, of apparent age."""

    def __init__(self, device: str = "auto") -> None:
        self._client = load_deepface("facial_attribute", "Age", device)

    def predict(self, faces: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(N,) float32 apparent age in years; faces as in :func:`encoder.colour_crops.colour_crops`."""
        return _in_batches(self._client, deepface_input(faces, _ATTRIBUTE_SIZE), ())


def _in_batches(client: Any, batch: NDArray[np.float32], tail: tuple[int, ...]) -> NDArray[np.float32]:
    rows = [np.zeros((0, *tail), np.float32)]
    for start in range(0, len(batch), _BATCH):
        part = batch[start : start + _BATCH]
        # Of a single face DeepFace returns the bare answer, without the axis of faces.
        rows.append(np.asarray(client.predict(part), np.float32).reshape(len(part), *tail))
    return np.concatenate(rows)


def _one_line(error: BaseException) -> str:
    """The message without line breaks and without the pictograms that DeepFace begins it with."""
    return " ".join(str(error).encode("ascii", "ignore").decode().split()) or type(error).__name__
