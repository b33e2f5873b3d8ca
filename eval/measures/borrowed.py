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

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
LPIPS_FILE = "alexnet-owt-7be5be79.pth"
_BATCH = 64


def missing(file: str, *packages: str) -> str | None:
    """Why a network cannot be used: a package or its weights are absent; None where it can."""
    if not (_checkpoints() / file).is_file():
        return f"not measured: weights absent ({file} is not in $TORCH_HOME/hub/checkpoints)"
    for package in packages:
        if find_spec(package) is None:
            return f"not measured: package {package} is not installed"
    return None


def _checkpoints() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def inception_missing() -> str | None:
    """Why Inception features cannot be had, or None."""
    return missing(INCEPTION_FILE, "torchmetrics", "torch_fidelity")


def lpips_missing() -> str | None:
    """Why LPIPS cannot be had, or None."""
    return missing(LPIPS_FILE, "lpips")


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
    rows = []
    for chunk in torch.from_numpy(images).unsqueeze(1).split(_BATCH):
        rows.append(net(chunk.expand(-1, 3, -1, -1).contiguous().to(device)).float().cpu())
    return torch.cat(rows).numpy()


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
        one, two = (
            torch.from_numpy(images[index[start : start + _BATCH]]).unsqueeze(1).expand(-1, 3, -1, -1).to(device).float() / 255
            for index in (first, second)
        )
        total += float(net(one, two, normalize=True).sum())
    return total / pairs
