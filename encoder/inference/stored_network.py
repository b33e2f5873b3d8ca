"""What classifiers of pictures share: a network with its input convention and calibration, in one folder of weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import nn

from configs.cli import UserError
from configs.loader import StrictModel, validate
from encoder.config import PreprocessingConfig
from engine.storage.weights import load_network, read_config, save_weights

Net = TypeVar("Net", bound=nn.Module)
Calibration = TypeVar("Calibration", bound=StrictModel)


class StoredNetwork(ABC, Generic[Net, Calibration]):
    """A network that no longer learns, with its preprocessing and calibration.

    A subclass says what its folder is called (``kind``), which settings stand in it, and how they :meth:`build` a network,
    which keeps them as ``config``.
    """

    kind: ClassVar[str]
    model_settings: ClassVar[type[StrictModel]]
    calibration_settings: ClassVar[type[StrictModel]]

    def __init__(self, net: Net, preprocessing: PreprocessingConfig, calibration: Calibration) -> None:
        self.net = net.eval().requires_grad_(False)
        self.preprocessing = preprocessing
        self.calibration = calibration

    @staticmethod
    @abstractmethod
    def build(config: Any) -> Any:
        """The network that ``config``, of type ``model_settings``, describes."""

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Load strictly from ``folder`` (``config.json`` + ``model.safetensors``); nothing is fetched.

        Raises UserError: anything missing, unknown, of another shape, not finite, or outside the folder.
        """
        stored = read_config(folder, cls.kind)
        where = f"{folder}/config.json"
        model = validate(cls.model_settings, stored["model"], where)
        preprocessing = validate(PreprocessingConfig, stored.get("preprocessing", {}), where)
        calibration = validate(cls.calibration_settings, stored.get("calibration", {}), where)
        net = load_network(folder, stored, lambda: cls.build(model))
        try:
            return cls(net, preprocessing, calibration)  # type: ignore[arg-type]
        except UserError as error:
            raise UserError(f"{where}: {error}") from None

    def save_pretrained(self, folder: str | Path, **notes: Any) -> None:
        """Write weights in half precision with everything needed to load them; ``notes`` go into ``config.json``."""
        settings = {"model": self.net.config, "preprocessing": self.preprocessing, "calibration": self.calibration}
        described = {name: each.model_dump(mode="json") for name, each in settings.items()}  # type: ignore[union-attr,operator]
        save_weights(folder, self.net.state_dict(), {"kind": self.kind, **described, **notes})

    def to(self, device: torch.device | str) -> Self:
        """Move to ``device``; returns self."""
        self.net.to(device)
        return self

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.net.parameters()).device
