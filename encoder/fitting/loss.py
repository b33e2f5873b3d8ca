"""Losses of the encoder: labels, votes and, where there is one, a teacher's answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from configs.cli import UserError
from encoder.config import EncoderConfig, PreprocessingConfig
from encoder.data.face_set import FaceSet
from encoder.fitting.rebalancing import class_frequencies
from encoder.inference.emotion_encoder import EmotionEncoder


class EncoderLoss(nn.Module):
    """Cross-entropy of every head, with class frequencies taken into account, mixed with a teacher's answers.

    ``logit_adjustment`` adds that multiple of the log class frequencies of ``train`` to the logits before the softmax: the
    network itself then answers for balanced classes (Menon et al., 2021, eq. 10; with 1 it is the balanced softmax of Ren et al.,
    2020). The teacher sees the very faces that the pupil sees (Beyer et al., 2022); its share is the Kullback-Leibler divergence
    at a temperature, times the temperature squared (Hinton et al., 2015). Raises UserError: a teacher that reads another input.
    """

    def __init__(self, config: EncoderConfig, train: FaceSet, teacher: EmotionEncoder | None = None) -> None:
        super().__init__()
        settings = config.train
        self._settings = settings
        self._adjustments: dict[str, Tensor] = {}
        if settings.logit_adjustment:
            for head in config.model.heads:
                prior = torch.from_numpy(class_frequencies(train, head)).float()
                self._adjustments[head] = settings.logit_adjustment * prior.log()
        self._teacher = None if teacher is None else teacher.net
        # How photographs are cut for either is no matter: both see the same faces here.
        if teacher is not None and _input(teacher.preprocessing) != _input(config.preprocessing):
            where = settings.teacher
            raise UserError(f"train.teacher: {where} reads another input than preprocessing.* describes; make them alike")

    def to(self, device: torch.device) -> EncoderLoss:  # type: ignore[override]
        """Move what the loss holds to ``device``; returns self."""
        self._adjustments = {head: value.to(device) for head, value in self._adjustments.items()}
        if self._teacher is not None:
            self._teacher.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self

    def forward(self, faces: Tensor, logits: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Loss by head, weighted; their sum is the loss.

        ``faces`` is (B, C, S, S) network input; ``logits`` and ``targets`` are (B, classes) by head. A row of zeros in
        ``targets`` is a face without this kind of label.
        """
        settings = self._settings
        losses = {}
        for head, values in logits.items():
            weight = settings.ferplus_weight if head == "ferplus" else 1.0
            losses[head] = weight * soft_cross_entropy(values + self._adjustments.get(head, 0.0), targets[head])
        if self._teacher is None:
            return losses
        with torch.no_grad():
            answers = self._teacher(faces).logits
        share = settings.teacher_weight
        losses = {head: (1 - share) * value for head, value in losses.items()}
        parts = [distillation(values, answers[head], settings.teacher_temperature) for head, values in logits.items()]
        losses["teacher"] = share * torch.stack(parts).sum()
        return losses


def _input(preprocessing: PreprocessingConfig) -> PreprocessingConfig:
    return preprocessing.model_copy(update={"crop": None})


def load_teacher(config: EncoderConfig) -> EmotionEncoder | None:
    """The frozen encoder of ``train.teacher``; None without one. Raises UserError: it lacks a head, or cannot be loaded."""
    where = config.train.teacher
    if where is None:
        return None
    teacher = EmotionEncoder.from_pretrained(Path(where).expanduser())
    missing = [head for head in config.model.heads if head not in teacher.net.config.heads]
    if missing:
        raise UserError(f"train.teacher: {where} has no head {missing[0]}; it has {', '.join(teacher.net.config.heads)}")
    return teacher


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the rows of ``targets`` that hold anything; rows of zeros are faces without this kind of label."""
    rows = -(targets * torch.log_softmax(logits, dim=1)).sum(dim=1)
    return rows.sum() / (targets.sum(dim=1) > 0).float().sum().clamp(min=1.0)


def distillation(logits: Tensor, answers: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence of softened answers from softened logits, both (B, classes), mean over the batch."""
    wanted = torch.log_softmax(answers.float() / temperature, dim=1)
    given = torch.log_softmax(logits / temperature, dim=1)
    return temperature**2 * (wanted.exp() * (wanted - given)).sum(dim=1).mean()


def disagreement(logits: Mapping[str, Tensor], views: int) -> Tensor:
    """How much the answers for the crops of one face differ: the mean over heads and faces of the Kullback-Leibler divergence
    of each crop's answer from the mean answer of its face (the Jensen-Shannon divergence).

    ``logits`` are (B * views, classes) by head, the crops of a face one after the other.
    """
    parts = []
    for values in logits.values():
        answers = torch.log_softmax(values.float(), dim=1).unflatten(0, (-1, views))
        mean = answers.exp().mean(dim=1, keepdim=True)
        parts.append((answers.exp() * (answers - mean.clamp_min(1e-8).log())).sum(dim=2).mean())
    return torch.stack(parts).mean()
