"""Several views of the same face at test time, whose logits are averaged."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from encoder.data.face_set import FaceSet
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.models.emotion_net import EncoderOutput

Views = Literal["plain", "mirror", "ten-crop"]
VIEW_TITLES: dict[Views, str] = {"plain": "one view", "mirror": "mirror average", "ten-crop": "ten-crop average"}
_COUNTS: dict[Views, int] = {"plain": 1, "mirror": 2, "ten-crop": 10}
# Share of the side that a crop keeps: 44 of 48 pixels.
CROP = 11 / 12


def views_of(grey: Tensor, views: Views) -> list[Tensor]:
    """The views of (N, 1, S, S) faces: themselves; also mirrored; or the middle and four corners, each also mirrored.

    Ten crops after Krizhevsky et al. (2012), which keep 11/12 of each side here; the encoder resizes them.
    """
    if views == "ten-crop":
        size = grey.shape[-1]
        side = round(size * CROP)
        last, middle = size - side, (size - side) // 2
        places = [(middle, middle), (0, 0), (0, last), (last, 0), (last, last)]
        shown = [grey[..., top : top + side, left : left + side] for top, left in places]
    else:
        shown = [grey]
    return shown if views == "plain" else [*shown, *(view.flip(-1) for view in shown)]


def mirrored_distributions(
    encoder: EmotionEncoder, faces: NDArray[np.uint8], batch_size: int | None = None
) -> NDArray[np.float32]:
    """(N, 7) probabilities as the product gives them: averaged in the log domain over each face and its mirror image.

    ``faces``: (N, H, W) or (N, H, W, 3) uint8; ``batch_size`` of :meth:`EmotionEncoder.predict`.
    """
    both = encoder.predict(np.concatenate([faces, faces[:, :, ::-1]]), batch_size=batch_size)
    seen, mirrored = both.distributions.clamp_min(1e-12).log().chunk(2)
    return torch.softmax((seen + mirrored) / 2, dim=1).numpy()


@torch.inference_mode()
def averaged_logits(
    encoder: EmotionEncoder, faces: FaceSet, views: Views = "mirror", batch_size: int = 512
) -> dict[str, NDArray[np.float64]]:
    """Per head (N, classes): the mean of the logits over the ``views`` of every face."""
    rows: dict[str, list[Tensor]] = {}
    total = len(faces) * _COUNTS[views]
    bar = tqdm(total=total, desc=VIEW_TITLES[views], unit="view", delay=1, leave=False, disable=None)
    for chunk in torch.from_numpy(faces.images).unsqueeze(1).split(batch_size):
        outputs: list[EncoderOutput] = []
        for view in views_of(chunk.to(encoder.device).float().div_(255.0), views):
            outputs.append(encoder.forward_unit(view))
            bar.update(len(chunk))
        for head in outputs[0].logits:
            logits = torch.stack([output.logits[head].double() for output in outputs]).mean(dim=0)
            rows.setdefault(head, []).append(logits.cpu())
    bar.close()
    return {head: torch.cat(values).numpy() for head, values in rows.items()}
