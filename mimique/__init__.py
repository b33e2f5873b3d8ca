"""Mimique: faces that show the emotion you ask for, and a referee that checks.

    import mimique

    pipe = mimique.FacePipeline.from_pretrained()
    faces = pipe("fear", 4)
    faces[0].verdict["fear"]

Names are looked up when they are first used: importing this package takes no time and imports no PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import configs as configs  # says what is missing where `python -m mimique` is started without its packages

if TYPE_CHECKING:
    from configs.cli import UserError as UserError
    from encoder.analysis.analyzer import FaceAnalyzer as FaceAnalyzer
    from encoder.data.load import load_faces as load_faces
    from encoder.drawing.faces import draw_faces as draw_faces
    from encoder.emotions import Emotion as Emotion
    from encoder.inference.emotion_encoder import EmotionEncoder as EmotionEncoder
    from encoder.timelines.video import read_video as read_video
    from generation.pipeline import FacePipeline as FacePipeline
    from generation.service.client import Client as Client

    __version__: str

# Where each name lives.
_HOMES = {
    "Client": "generation.service.client",
    "Emotion": "encoder.emotions",
    "EmotionEncoder": "encoder.inference.emotion_encoder",
    "FaceAnalyzer": "encoder.analysis.analyzer",
    "FacePipeline": "generation.pipeline",
    "UserError": "configs.cli",
    "draw_faces": "encoder.drawing.faces",
    "load_faces": "encoder.data.load",
    "read_video": "encoder.timelines.video",
}
__all__ = [
    "Client",
    "Emotion",
    "EmotionEncoder",
    "FaceAnalyzer",
    "FacePipeline",
    "UserError",
    "__version__",
    "draw_faces",
    "load_faces",
    "read_video",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = import_module("engine.storage.provenance").version()
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
