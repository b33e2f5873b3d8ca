"""Everything the report on generated faces measures, as one dictionary for JSON and for the page."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.cli import UserError
from encoder.data.duplicates import twins
from encoder.data.face_set import FaceSet, Split
from encoder.emotions import EMOTION_NAMES
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.people.gender import create_gender
from eval.faces.generated import FirstDraws, GeneratedSet
from eval.faces.look import decoded_again
from eval.faces.mixing import SCHEMES, same_mix, scheme_labels
from eval.measures import borrowed
from eval.measures.accuracy import reading, relative, summary, wilson
from eval.measures.distances import NEIGHBOURS
from eval.measures.memorisation import Nearest, compare_nearest, nearest, pixels
from eval.measures.set_distances import as_dicts, compare_sets, diversity
from generation.pipeline import FacePipeline

JUDGE, ENCODER = "second judge", "encoder"
SECTIONS = ("counts", "accuracy", "acceptance", "distances", "diversity", "memorisation", "gender", "not_measured")
Features = npt.NDArray[np.float32]
Labels = npt.NDArray[np.integer]


class Measurement:
    """One evaluation: networks and faces are given once, each method is one section of the report.

    Args:
        pipe: the generator; its encoder took part in training and selection.
        judge: a classifier that took part in neither.
        made: verified faces. first: first draws.
        real: train (what the generator learned from), valid and test (what it never saw), at the generated faces' size.
        rounds: bootstrap resamples, all seeded with ``seed``.

    Raises:
        UserError: real faces of another size than generated ones.
    """

    def __init__(
        self,
        pipe: FacePipeline,
        judge: EmotionEncoder,
        made: GeneratedSet,
        first: FirstDraws,
        real: Mapping[Split, FaceSet],
        *,
        rounds: int = 200,
        seed: int = 0,
    ) -> None:
        self.pipe, self.made, self.first, self.real, self.rounds, self.seed = pipe, made, first, real, rounds, seed
        self.readers = {JUDGE: judge, ENCODER: pipe.encoder}
        self._twins = {split: twins(real[split], real["train"]) for split in ("test", "valid")}
        # Real faces as the tokenizer gives them back: what the best possible prior could make.
        control = decoded_again(real["valid"].images, pipe.tokenizer)
        self._images = {"made": made.images, "first": first.images, "control": control}
        self._images |= {split: faces.images for split, faces in real.items()}
        if len(sizes := {images.shape[-1] for images in self._images.values()}) > 1:
            raise UserError(f"faces of {' and '.join(map(str, sorted(sizes)))} pixels cannot be compared: give them one size")
        self._read: dict[tuple[str, str], tuple[npt.NDArray[np.int64], Features]] = {}

    def _reading(self, reader: str, which: str) -> tuple[npt.NDArray[np.int64], Features]:
        """(N,) likeliest emotions and (N, D) features of one set by one reader, computed once."""
        if (reader, which) not in self._read:
            found = self.readers[reader].predict(self._images[which])
            self._read[reader, which] = found.distributions.argmax(dim=1).numpy(), found.embeddings.float().numpy()
        return self._read[reader, which]

    def all(self) -> dict[str, Any]:
        """Every section. Each is named on stderr as it begins: some take minutes, and a log shows how far a run got."""
        found = {}
        for number, name in enumerate(SECTIONS, 1):
            print(f"report: {name.replace('_', ' ')} ({number} of {len(SECTIONS)})", file=sys.stderr, flush=True)
            found[name] = getattr(self, name)()
        return found

    def counts(self) -> dict[str, Any]:
        """How many faces every figure rests on, and their size."""
        return {
            "generated": len(self.made.labels),
            "first_draws": len(self.first.labels),
            **{split: len(faces) for split, faces in self.real.items()},
            "size": self.made.images.shape[-1],
            "test_twins_in_train": int(self._twins["test"].sum()),
            "bootstrap": {"rounds": self.rounds, "seed": self.seed},
        }

    def accuracy(self) -> dict[str, Any]:
        """By both readers: generated faces before and after selection, real ones by each label scheme, and their ratio."""
        schemes = {title: scheme_labels(self.real["test"], scheme) for scheme, title in SCHEMES.items()}
        result: dict[str, Any] = {}
        for reader in self.readers:
            accepted = reading(self.made.labels, self._reading(reader, "made")[0])
            firsts = reading(self.first.labels, self._reading(reader, "first")[0])
            tops = self._reading(reader, "test")[0]
            real = {name: reading(labels, tops) for name, labels in schemes.items() if (labels >= 0).any()}
            result[reader] = {
                "first_draws": summary(firsts, seed=self.seed),
                "accepted": summary(accepted, seed=self.seed),
                "real": {name: summary(table, seed=self.seed) for name, table in real.items()},
                "relative": {name: relative(accepted, table, seed=self.seed) for name, table in real.items()},
                "relative_first_draws": {name: relative(firsts, table, seed=self.seed) for name, table in real.items()},
            }
        return result

    def acceptance(self) -> dict[str, Any]:
        """By emotion: share of first draws that the encoder accepts, and what the set took."""
        rows = {}
        for emotion, name in enumerate(EMOTION_NAMES):
            here = self.first.labels == emotion
            drawn, passed = int(here.sum()), int(self.first.accepted[here].sum())
            made = self.made.manifest["emotions"].get(name, {})
            rows[name] = {
                "first_draws": drawn,
                "accepted": round(passed / drawn, 4),
                "interval": wilson(passed, drawn),
                **{key: made.get(key) for key in ("candidates", "draws_per_candidate", "refused", "near_duplicates_left_out")},
            }
        draws = [row["draws_per_candidate"] for row in rows.values() if row["draws_per_candidate"]]
        per_second = self.first.per_second
        verified = per_second / float(np.mean(draws)) if draws else None
        return {
            "emotions": rows,
            "draws_per_second": round(per_second, 2),
            "verified_per_second": verified and round(verified, 2),
        }

    def distances(self) -> dict[str, Any]:
        """In each feature space: generated faces and the tokenizer's copies of real ones, against test, beside the floor."""
        spaces = {reader: {which: self._reading(reader, which)[1] for which in _SETS} for reader in self.readers}
        if borrowed.inception_missing() is None:
            device = self.pipe.encoder.device
            spaces["Inception"] = {which: borrowed.inception_features(self._images[which], device) for which in _SETS}
        return {space: self._distances(features) for space, features in spaces.items()}

    def _distances(self, features: Mapping[str, Features]) -> dict[str, Any]:
        train, valid, test = (self.real[split] for split in ("train", "valid", "test"))
        labels: dict[str, Labels] = {"made": self.made.labels, "control": valid.labels, "test": test.labels}
        labels["train"] = np.where(twins(train, test), -1, train.labels)
        present = set.intersection(*({*each.tolist()} for each in labels.values())) - {-1}
        if not present:
            raise UserError("no emotion has faces in the generated set and in train, valid and test: nothing can be compared")
        labels["test"] = np.where(np.isin(test.labels, list(present)), test.labels, -1)
        real = features["test"][labels["test"] >= 0]
        mixed = [
            features[which][same_mix(labels[which], labels["test"], seed=self.seed)] for which in ("made", "control", "train")
        ]
        count = min(map(len, mixed))
        made, control, floor = (_some(part, count, self.seed) for part in mixed)
        # Fewer faces than dimensions say nothing of a covariance.
        enough = min(count, len(real)) > made.shape[1]
        how: dict[str, Any] = {"rounds": self.rounds, "seed": self.seed}
        return {
            "dimensions": made.shape[1],
            "faces": count,
            "real_faces": len(real),
            "frechet_measured": enough,
            "left_out": [name for emotion, name in enumerate(EMOTION_NAMES) if emotion not in present],
            "generated": as_dicts(compare_sets(real, made, floor, frechet=enough, **how)),
            "through_tokenizer": as_dicts(compare_sets(real, control, floor, frechet=enough, **how)),
            "emotions": {
                name: self._of_emotion(*(features[which][labels[which] == emotion] for which in ("test", "made", "train")), **how)
                for emotion, name in enumerate(EMOTION_NAMES)
            },
        }

    def _of_emotion(self, real: Features, made: Features, floor: Features, **how: Any) -> dict[str, Any] | None:
        """Distances of the faces of one emotion; None of too few."""
        count = min(len(made), len(floor))
        if count < 2 or len(real) <= NEIGHBOURS:
            return None
        made, floor = _some(made, count, self.seed), _some(floor, count, self.seed)
        return {"faces": count, "real_faces": len(real), **as_dicts(compare_sets(real, made, floor, frechet=False, **how))}

    def diversity(self) -> dict[str, Any]:
        """By emotion: mean distance between two faces, generated and real, in the second judge's features."""
        rows: dict[str, Any] = {}
        perceptual = borrowed.lpips_missing() is None
        sets: dict[str, tuple[str, Labels]] = {
            "generated": ("made", self.made.labels),
            "real": ("test", self.real["test"].labels),
        }
        for emotion, name in enumerate(EMOTION_NAMES):
            row: dict[str, Any] = {}
            for title, (which, labels) in sets.items():
                here = labels == emotion
                if here.sum() < 2:
                    continue
                found = diversity(self._reading(JUDGE, which)[1][here], rounds=self.rounds, seed=self.seed)
                row[title] = {"faces": int(here.sum()), **found.as_dict()}
                if perceptual:
                    apart = borrowed.lpips_diversity(self._images[which][here], self.pipe.encoder.device, seed=self.seed)
                    row[title]["lpips"] = round(apart, 4)
            if len(row) == 2:
                row["ratio"] = round(row["generated"]["value"] / row["real"]["value"], 4)
            rows[name] = row
        return rows

    def neighbours(self, which: str, space: str) -> Nearest:
        """Nearest training faces of one set, in ``pixels`` (both mirror images) or in the second judge's features."""
        keep = {"test": ~self._twins["test"], "control": ~self._twins["valid"]}.get(which, slice(None))
        if space != "pixels":
            query, base = self._reading(JUDGE, which)[1][keep], self._reading(JUDGE, "train")[1]
            return nearest(query, base, label=f"{which}, {space}")
        train, asked = pixels(self._images["train"]), self._images[which][keep]
        plain = nearest(pixels(asked), train, label=f"{which}, {space}")
        mirrored = nearest(pixels(asked[..., ::-1]), train, label=f"{which}, {space}, mirrored")
        closer = mirrored.distance < plain.distance
        return Nearest(np.where(closer, mirrored.distance, plain.distance), np.where(closer, mirrored.row, plain.row))

    def memorisation(self) -> dict[str, Any]:
        """Distance to the nearest training face, against that of test faces without a twin in train."""
        result: dict[str, Any] = {}
        for space in ("pixels", JUDGE):
            real = self.neighbours("test", space)
            result[space] = {
                title: compare_nearest(self.neighbours(which, space), real, rounds=self.rounds, seed=self.seed)
                for title, which in (("generated", "made"), ("through_tokenizer", "control"))
            }
        return result

    def gender(self) -> dict[str, Any]:
        """Share of faces that the shipped classifier reads as female, generated and real, by emotion."""
        classifier = create_gender(device=str(self.pipe.encoder.device))
        result: dict[str, Any] = {}
        for title, which, labels in (("generated", "made", self.made.labels), ("real", "test", self.real["test"].labels)):
            female = classifier.predict(self._images[which])[:, 0] > 0.5
            groups = {"all": labels >= 0, **{name: labels == k for k, name in enumerate(EMOTION_NAMES)}}
            result[title] = {name: _share(female[mask]) for name, mask in groups.items()}
        return result

    @staticmethod
    def not_measured() -> dict[str, str]:
        """What is missing from the report, and why."""
        reasons = {"Inception FID": borrowed.inception_missing(), "LPIPS": borrowed.lpips_missing()}
        return {name: reason for name, reason in reasons.items() if reason is not None}


_SETS = ("made", "control", "train", "test")


def _some(features: npt.NDArray[np.float32], count: int, seed: int) -> npt.NDArray[np.float32]:
    return features[np.sort(np.random.default_rng(seed).permutation(len(features))[:count])]


def _share(hits: npt.NDArray[np.bool_]) -> dict[str, Any] | None:
    if not len(hits):
        return None
    return {"faces": len(hits), "value": round(float(hits.mean()), 4), "interval": wilson(int(hits.sum()), len(hits))}
