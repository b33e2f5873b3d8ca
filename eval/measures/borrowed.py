"""Feature spaces that belong to others, used only where their weights are on this machine already: nothing is fetched.

Inception (the network of the usual FID, through torchmetrics and torch-fidelity) and LPIPS with its AlexNet trunk.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from configs.cli import UserError
from engine.progress import in_chunks

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
LPIPS_FILE = "alexnet-owt-7be5be79.pth"
_BATCH = 64


def _checkpoints() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _missing(file: str, *packages: str) -> str | None:
    """Why a network cannot be used: a package or its weights are absent; None where it can."""
    if not (_checkpoints() / file).is_file():
        return f"not measured: weights absent ({file} is not in $TORCH_HOME/hub/checkpoints)"
    absent = [package for package in packages if find_spec(package) is None]
    return f"not measured: package {absent[0]} is not installed" if absent else None


def inception_missing() -> str | None:
    return _missing(INCEPTION_FILE, "torchmetrics", "torch_fidelity")


def lpips_missing() -> str | None:
    return _missing(LPIPS_FILE, "lpips")


def _coloured(images: npt.NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """(N, 3, S, S) of (N, S, S) grey faces."""
    return torch.from_numpy(images).unsqueeze(1).expand(-1, 3, -1, -1).contiguous().to(device)


@torch.inference_mode()
def inception_features(images: npt.NDArray[np.uint8], device: torch.device) -> npt.NDArray[np.float32]:
    """(N, 2048) pooled features of (N, S, S) grey faces, repeated to three channels (Heusel et al., 2017).

    Raises:
        UserError: package or weights are absent.
    """
    if (reason := inception_missing()) is not None:
        raise UserError(f"Inception features: {reason}")
    from torchmetrics.image.fid import NoTrainInceptionV3

    weights = str(_checkpoints() / INCEPTION_FILE)
    net = NoTrainInceptionV3("inception-v3-compat", ["2048"], weights).to(device).eval()
    parts = in_chunks(torch.from_numpy(images), _BATCH, "Inception features")
    return torch.cat([net(_coloured(part.numpy(), device)).float().cpu() for part in parts]).numpy()


@torch.inference_mode()
def lpips_diversity(images: npt.NDArray[np.uint8], device: torch.device, *, pairs: int = 500, seed: int = 0) -> float:
    """Mean LPIPS (Zhang et al., 2018) over random pairs of (N, S, S) grey faces of one set.

    Raises:
        UserError: package or weights are absent.
    """
    if (reason := lpips_missing()) is not None:
        raise UserError(f"LPIPS: {reason}")
    import lpips

    net = lpips.LPIPS(net="alex", verbose=False).to(device).eval()
    rng = np.random.default_rng(seed)
    first = rng.integers(0, len(images), pairs)
    second = (first + rng.integers(1, len(images), pairs)) % len(images)
    total = 0.0
    for start in range(0, pairs, _BATCH):
        one, two = (_coloured(images[index[start : start + _BATCH]], device).float() / 255 for index in (first, second))
        total += float(net(one, two, normalize=True).sum())
    return total / pairs
