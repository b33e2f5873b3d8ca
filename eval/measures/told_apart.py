"""Whether real and generated faces can be told apart: by a classifier that is trained on some of them and asked about others.

The two-sample test of Lopez-Paz and Oquab (2017). Its classifier is fresh: a critic that took part in making or choosing the
faces has, in what it let pass, nothing left to find.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tqdm import tqdm

from encoder.emotions import NUM_EMOTIONS
from encoder.fitting.augment import NUM_UNIFORMS, augment
from engine.training.batches import GlobalBatches, uniforms
from eval.measures.distances import bootstrap
from vqvae.critics.critic import CriticConfig, RealismCritic, separation
from vqvae.critics.stage import GENTLE

# Half of them train, half are asked about.
FEWEST_PAIRS = 4
_PAIRS_AT_ONCE, _RATE, _DECAY = 16, 2e-3, 0.02


def matched(real: NDArray[np.integer], made: NDArray[np.integer], seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of real and of made faces, as many as can be paired so that both of a pair are read as the same emotion.

    A classifier is to tell pictures apart and not mixtures of emotions: real faces seldom show disgust.

    Args:
        real, made: (N,) and (M,) the emotion that is read in each face, by number.

    Returns:
        two arrays of equal length: pair i is row ``i`` of each.
    """
    rng = np.random.default_rng(seed)
    pairs = []
    for emotion in range(NUM_EMOTIONS):
        one, two = (rng.permutation(np.flatnonzero(read == emotion)) for read in (real, made))
        pairs.append(np.stack([one[: len(two)], two[: len(one)]]))
    both = np.concatenate(pairs, axis=1)
    return both[0], both[1]


def told_apart(
    real: NDArray[np.uint8], made: NDArray[np.uint8], *, seed: int, epochs: int, rounds: int, device: torch.device | str = "cpu"
) -> dict[str, Any] | None:
    """Area under the ROC curve of a critic of the ``pooled`` architecture on the half of the pairs that it has not seen.

    Args:
        real, made: (N, C, P, P), C 1 or 3; row i of both is a pair. P at least 16.
        seed: of the halves, of the first weights and of all changes to the faces.
        epochs: passes over the half that it is trained on. rounds: of the bootstrap over pairs.

    Returns:
        ``value``, 0.5 where they cannot be told apart, its 95 % ``interval``, and the ``faces`` it was asked about; None of
        fewer than :data:`FEWEST_PAIRS` pairs.
    """
    if len(real) < FEWEST_PAIRS:
        return None
    order = np.random.default_rng(seed).permutation(len(real))
    learned, held_out = np.array_split(order, 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        critic = RealismCritic(CriticConfig(name="pooled", channels=3 if real.shape[1] == 3 else 1)).to(device)
    _train(critic, real[learned], made[learned], seed, epochs)
    scores = [_logits(critic, faces[held_out]) for faces in (real, made)]
    value = separation(*scores)
    ends = bootstrap(lambda rows: separation(scores[0][rows], scores[1][rows]), len(held_out), rounds=rounds, seed=seed)
    return {"value": round(value, 4), "interval": [round(end, 4) for end in ends], "faces": 2 * len(held_out)}


def _train(critic: RealismCritic, real: NDArray[np.uint8], made: NDArray[np.uint8], seed: int, epochs: int) -> None:
    device = critic.head.weight.device
    batches = GlobalBatches(len(real), min(_PAIRS_AT_ONCE, len(real)), seed=seed)
    steps = epochs * batches.steps_per_epoch
    optimizer = torch.optim.AdamW(critic.parameters(), lr=_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps + 1)
    critic.train()
    for step in tqdm(range(steps), desc="told apart", unit="step", disable=None, leave=False):
        epoch, index = batches(step)
        both = np.stack([real[index], made[index]], axis=1).reshape(-1, *real.shape[1:])
        faces = torch.from_numpy(both).to(device).float().div_(255.0)
        # Each of the two is changed in its own way: else their difference would tell.
        u = uniforms(seed, epoch, index, 2 * NUM_UNIFORMS).reshape(-1, NUM_UNIFORMS)
        logits = critic(augment(faces, torch.from_numpy(u).to(device), GENTLE))
        loss = F.binary_cross_entropy_with_logits(logits, torch.tensor([1.0, 0.0], device=device).repeat(len(index)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    critic.eval()


@torch.inference_mode()
def _logits(critic: RealismCritic, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    device = critic.head.weight.device
    parts = (torch.from_numpy(faces[start : start + 64]).to(device).float() / 255.0 for start in range(0, len(faces), 64))
    return np.concatenate([critic(part).cpu().numpy() for part in parts])
