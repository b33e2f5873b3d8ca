"""Action units, valence and arousal by py-feat, for those who ask for them (extra ``action-units``). Nothing here is ours.

py-feat's code is free (MIT). Its weights are for research that is not commercial, and are downloaded at first use.
Cheong et al., "Py-Feat: Python facial expression analysis toolbox", Affective Science 2023.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from encoder.detection.align import FER_SCALE, crop_face
from encoder.detection.face import DetectedFace

READERS = ("py-feat",)
# Side of a patch in pixels, and over that of the face: py-feat finds the face in it again, and cuts it by its own rule.
_PATCH, _PATCH_SCALE = 320, 2.0 * FER_SCALE
_BATCH = 16
_INSTALL = "install the extra: pip install -e '.[action-units]'"


class ActionUnitReader(Protocol):
    """Reads facial movements.

    Attributes:
        columns: names of its answers: ``AU01``, ... with 0 to 1, the probability that the unit is there (no intensity);
            ``valence`` (unpleasant to pleasant) and ``arousal`` (calm to excited) with -1 to 1.
    """

    columns: tuple[str, ...]

    def cut(self, picture: NDArray[np.uint8], face: DetectedFace) -> NDArray[np.uint8]:
        """What :meth:`read` wants to see of a face in an (H, W, 3) uint8 RGB picture."""
        ...

    def read(self, patches: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(N, columns) answers to what :meth:`cut` gave for N faces; NaN in the whole row where no face is found in it.

        Raises:
            UserError: the answers are not what this release knows.
        """
        ...


def create_action_units(name: str, *, device: str = "auto") -> ActionUnitReader:
    """A reader by name: ``py-feat``.

    Raises:
        UserError: an unknown name, a missing package, or weights that cannot be had.
    """
    if name not in READERS:
        raise UserError(f"action units by {name!r}: choose {' or '.join(READERS)}")
    return PyFeatUnits(device)


class PyFeatUnits:
    """py-feat's ``Detectorv2`` (release 2.1 and later): its own face detector and crop, then one network."""

    def __init__(self, device: str = "auto") -> None:
        from engine.devices import resolve_device

        place = resolve_device(device)
        detector = getattr(_import_feat(), "Detectorv2", None)
        if detector is None:
            raise UserError(f"py-feat: this release has no Detectorv2, which came with 2.0; {_INSTALL}")
        try:
            with _kept_apart():
                # Faces are named by a gallery or not at all, so its network for identities stays away.
                self._detector: Any = detector(device=place, identity_model=None)
            units = tuple(self._detector.multitask.au_names)
        except Exception as error:  # whatever its download or its networks raise; py-feat promises no set
            raise UserError(
                f"py-feat: its weights cannot be had ({_one_line(error)}); it downloads them at first use, so run this once "
                "with a network"
            ) from None
        self.columns = (*units, "valence", "arousal")

    def cut(self, picture: NDArray[np.uint8], face: DetectedFace) -> NDArray[np.uint8]:
        """See :class:`ActionUnitReader`: (320, 320, 3), the face level and in the middle of twice its side."""
        return crop_face(picture, face, _PATCH, scale=_PATCH_SCALE)

    def read(self, patches: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """See :class:`ActionUnitReader`. Of several faces in a patch the one nearest to its middle counts."""
        import torch

        answers = np.full((len(patches), len(self.columns)), np.nan, np.float32)
        if not len(patches):
            return answers
        batch = torch.from_numpy(np.stack(patches)).permute(0, 3, 1, 2).contiguous()
        with _kept_apart():
            table = self._detector.detect(batch, data_type="tensor", batch_size=_BATCH, progress_bar=False)
        try:
            patch = np.asarray(table["frame"], np.int64)
            left, top, width, height = (
                np.asarray(table[f"FaceRect{name}"], np.float64) for name in ("X", "Y", "Width", "Height")
            )
            values = np.stack([np.asarray(table[name], np.float32) for name in self.columns], axis=1)
        except (KeyError, ValueError) as error:
            raise UserError(f"py-feat: its answer is not what this release knows ({_one_line(error)}); {_INSTALL}") from None
        across, down = left + width / 2 - _PATCH / 2, top + height / 2 - _PATCH / 2
        # A neighbour's box may reach into the patch, but not over its middle. Where nothing was found the box is NaN.
        ours = np.flatnonzero((np.abs(across) < width / 2) & (np.abs(down) < height / 2))
        # From far to near, so that the nearest is written last.
        for row in ours[np.argsort(-np.hypot(across, down)[ours], kind="stable")]:
            answers[patch[row]] = values[row]
        return answers


def _import_feat() -> ModuleType:
    try:
        with _kept_apart():
            import feat
    except ImportError as error:
        raise UserError(f"--action-units py-feat needs a package that is missing ({_one_line(error)}); {_INSTALL}") from None
    return feat


@contextlib.contextmanager
def _kept_apart() -> Iterator[None]:
    """Its printing stays off the screen, and gradients stay as they were: it turns them off for the whole process."""
    import torch

    gradients = torch.is_grad_enabled()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        torch.set_grad_enabled(gradients)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
