"""The trainings and readings behind the ablation table; what is finished is never made again."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder.config import EncoderConfig
from encoder.data.duplicates import twins
from encoder.data.face_set import FaceSet
from encoder.emotions import EMOTION_NAMES
from encoder.evaluation.readings import HeadReading, in_order, read_heads
from encoder.experiments.ablation_rows import Variant, row_config, variant_by_name
from encoder.fitting.calibration import calibrate
from encoder.fitting.fit import fit_encoder, load_split
from encoder.inference.emotion_encoder import EmotionEncoder
from engine.storage.atomic import draft
from engine.storage.checkpoint import latest_checkpoint
from engine.storage.kept_rows import claim_folder
from engine.storage.weights import CONFIG_FILE

HEAD = "fer2013"


class AblationRuns:
    """Runs and readings under one folder, for one base configuration.

    Raises UserError: the folder belongs to another configuration, or there are no such faces.
    """

    def __init__(self, base: EncoderConfig, out: Path, data: str) -> None:
        from configs.loader import to_yaml

        self.base, self.out, self.data = base, out, data
        self._sets: dict[str, FaceSet] = {}
        self._twins: NDArray[np.bool_] | None = None
        # Before anything is written: a folder that began with faces which are not there could not be used again.
        self.faces("valid")
        claim_folder(out, "config.yaml", to_yaml(base))

    def faces(self, split: str) -> FaceSet:
        """Faces of a split in the order of their names, read once."""
        if split not in self._sets:
            faces = load_split(self.base, split)
            self._sets[split] = faces.subset(in_order(faces))
        return self._sets[split]

    def twin(self) -> NDArray[np.bool_]:
        """(N,) test faces that also stand in train."""
        if self._twins is None:
            drawn = self.base.data.source == "drawn"
            test = self.faces("test")
            self._twins = np.zeros(len(test), bool) if drawn else twins(test, self.faces("train"))
        return self._twins

    def make(self, variant: Variant, seed: int) -> int:
        """Train and read one row with one seed, unless that is done; returns the exit code."""
        if self._file(variant, seed, "test").is_file():
            return 0
        start = None
        if variant.start is not None:
            first = variant_by_name(variant.start)
            code = self.make(first, seed)
            if code:
                return code
            start = self._weights(first, seed)
        weights = self._weights(variant, seed)
        if not (weights / CONFIG_FILE).is_file():
            folder = weights.parent
            print(f"ablation: {variant.name}, seed {seed}", file=sys.stderr)
            resume = "latest" if latest_checkpoint(folder) is not None else None
            config = row_config(self.base, variant, seed, start)
            code = fit_encoder(config, folder, resume, go_on="run the same command again to go on")
            if code:
                return code
        self._read(variant, seed, weights)
        return 0

    def reading(self, variant: Variant, seed: int, split: str) -> HeadReading:
        """What the FER-2013 head of a finished row says of the labelled faces of ``split``."""
        with np.load(self._file(variant, seed, split), allow_pickle=False) as stored:
            return HeadReading(stored["labels"], stored["probabilities"], EMOTION_NAMES)

    def _weights(self, variant: Variant, seed: int) -> Path:
        trained = variant if variant.trains or variant.start is None else variant_by_name(variant.start)
        return self.out / "runs" / f"{trained.name}-{seed}" / "weights"

    def _file(self, variant: Variant, seed: int, split: str) -> Path:
        return self.out / "readings" / f"{variant.name}-{seed}-{split}.npz"

    def _read(self, variant: Variant, seed: int, weights: Path) -> None:
        encoder = EmotionEncoder.from_pretrained(weights)
        encoder.calibration = calibrate(encoder, self.faces("train"), self.faces("valid"), taus=(variant.tau,))
        for split in ("valid", "test"):
            reading = read_heads(encoder, self.faces(split))[HEAD]
            path = self._file(variant, seed, split)
            path.parent.mkdir(parents=True, exist_ok=True)
            with draft(path) as stream:
                np.savez(stream, labels=reading.labels, probabilities=reading.probabilities)
