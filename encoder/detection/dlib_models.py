"""Files of dlib's models, found in the package ``face_recognition_models`` (extra ``dlib``); dlib itself brings none.

The five landmarks and the network that recognises faces are free of conditions (CC0). The 68 landmarks were learned from iBUG
300-W, whose terms exclude commercial use.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from configs.cli import UserError

PACKAGE = "face_recognition_models"
INSTALL = "install the extra: pip install -e '.[dlib]'"
FIVE_POINTS = "shape_predictor_5_face_landmarks.dat"
POINTS_68 = "shape_predictor_68_face_landmarks.dat"
RECOGNITION = "dlib_face_recognition_resnet_model_v1.dat"
# The same files are at http://dlib.net/files/, packed.
PUBLISHED_SHA256 = {
    FIVE_POINTS: "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
    POINTS_68: "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f",
    RECOGNITION: "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
}


def packaged_model(name: str) -> Path | None:
    """A model of the package; None where it is not installed. It is not imported, because that needs pkg_resources."""
    spec = find_spec(PACKAGE)
    path = Path(next(iter(spec.submodule_search_locations or ()), "")) / "models" / name if spec is not None else None
    return path if path is not None and path.is_file() else None


def published_model(name: str, purpose: str) -> Path:
    """A model of the package that is sure to be the published one: dlib does not defend itself against made-up files.

    Args:
        purpose: what needs it, as the error says it.

    Raises:
        UserError: the package is not installed, or its file is another one.
    """
    path = packaged_model(name)
    if path is None:
        raise UserError(f"{purpose} needs the package {PACKAGE}; {INSTALL}")
    require_sha256(path, PUBLISHED_SHA256[name])
    return path


def require_sha256(path: Path, sha256: str) -> None:
    """Raises UserError: the file has another SHA-256, or cannot be read."""
    from engine.storage.weights import file_sha256

    found = file_sha256(path)
    if found != sha256:
        raise UserError(f"{path}: not the published model (SHA-256 {found[:16]}...); {INSTALL}")
