"""Everything the report on generated faces measures, as one dictionary for JSON and for the page."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.cli import UserError
from encoder.data.duplicates import twins
from encoder.data.face_set import FaceSet
from encoder.emotions import EMOTION_NAMES, NUM_EMOTIONS
from encoder.evaluation.metrics import wilson_interval
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.people.gender import create_gender
from eval.faces.generated import FirstDraws, GeneratedSet
from eval.measures import borrowed as borrowed_networks
from eval.measures.accuracy import reading, relative, summary
from eval.measures.memorisation import Nearest, compare_nearest, nearest, pixels
from eval.measures.set_distances import NEIGHBOURS, as_dicts, compare_sets, diversity, same_mix
from generation.pipeline import FacePipeline
from vqvae.tokenizer import reconstruct_pairs

JUDGE, ENCODER = "second judge", "encoder"
REAL_SIZE = 48
SECTIONS = ("counts", "accuracy", "acceptance", "distances", "diversity", "memorisation", "gender", "not_measured")


@dataclass(frozen=True)
class RealFaces:
    """Real faces at 48 pixels: ``train`` (what the generator learned from), ``valid`` and ``test`` (what it never saw)."""

    train: FaceSet
    valid: FaceSet
    test: FaceSet

    def limited(self, count: int) -> RealFaces:
        """At most ``count`` faces of valid and test and eight times as many of train, spread evenly over each split."""

        def thin(faces: FaceSet, most: int) -> FaceSet:
            return faces.subset(np.unique(np.linspace(0, len(faces) - 1, min(most, len(faces))).astype(int)))

        return RealFaces(thin(self.train, 8 * count), thin(self.valid, count), thin(self.test, count))


@dataclass(frozen=True)
class Settings:
    """``rounds`` bootstrap resamples, all seeded with ``seed``."""

    rounds: int = 200
    seed: int = 0


class Measurement:
    """One evaluation: networks and faces are given once, each method is one section of the report.

    Args:
        pipe: the generator; its encoder took part in training and selection.
        judge: a classifier that took part in neither.
        made: verified faces. first: first draws.
    """

    def __init__(
        self,
        pipe: FacePipeline,
        judge: EmotionEncoder,
        made: GeneratedSet,
        first: FirstDraws,
        real: RealFaces,
        settings: Settings,
    ) -> None:
        self.pipe, self.made, self.first, self.real, self.settings = pipe, made, first, real, settings
        self.readers = {JUDGE: judge, ENCODER: pipe.encoder}
        self._twin_in_train = twins(real.test, real.train)
        self._valid_twin = twins(real.valid, real.train)
        self._control = self._through_tokenizer(real.valid.images)
        self._read: dict[tuple[str, str], tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]] = {}

    def _through_tokenizer(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Real faces as the tokenizer gives them back: what the best possible prior could make."""
        parts = [reconstruct_pairs(self.pipe.tokenizer, images[start : start + 256])[1] for start in range(0, len(images), 256)]
        made = [(part.clamp(0, 1) * 255).round().byte().squeeze(1).cpu().numpy() for part in parts]
        return np.concatenate(made)

    def _reading(self, reader: str, which: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """(N,) likeliest emotions and (N, D) features of one set by one reader, computed once."""
        if (reader, which) not in self._read:
            found = self.readers[reader].predict(self._images(which))
            self._read[reader, which] = found.distributions.argmax(dim=1).numpy(), found.embeddings.float().numpy()
        return self._read[reader, which]

    def _images(self, which: str) -> npt.NDArray[np.uint8]:
        sets = {"made": self.made.images, "first": self.first.images, "control": self._control}
        return sets[which] if which in sets else getattr(self.real, which).images

    def all(self) -> dict[str, Any]:
        """Every section. Each is named on stderr as it begins: some take minutes, and a log shows how far a run got."""
        found = {}
        for number, name in enumerate(SECTIONS, 1):
            print(f"report: {name.replace('_', ' ')} ({number} of {len(SECTIONS)})", file=sys.stderr, flush=True)
            found[name] = getattr(self, name)()
        return found

    def counts(self) -> dict[str, Any]:
        """How many faces every figure rests on."""
        return {
            "generated": len(self.made.labels),
            "first_draws": len(self.first.labels),
            "train": len(self.real.train),
            "valid": len(self.real.valid),
            "test": len(self.real.test),
            "test_twins_in_train": int(self._twin_in_train.sum()),
            "bootstrap": {"rounds": self.settings.rounds, "seed": self.settings.seed},
        }

    def accuracy(self) -> dict[str, Any]:
        """By both readers: generated faces before and after selection, real ones by each label scheme, and their ratio."""
        majority = self.real.test.majority().astype(np.int64)
        schemes = {
            "FER-2013 labels": self.real.test.labels.astype(np.int64),
            "FER+ majority": np.where(majority < NUM_EMOTIONS, majority, -1),
        }
        result: dict[str, Any] = {}
        for reader in self.readers:
            seed = self.settings.seed
            accepted = reading(self.made.labels, self._reading(reader, "made")[0])
            firsts = reading(self.first.labels, self._reading(reader, "first")[0])
            real = {
                name: reading(labels, self._reading(reader, "test")[0]) for name, labels in schemes.items() if (labels >= 0).any()
            }
            result[reader] = {
                "first_draws": summary(firsts, seed=seed),
                "accepted": summary(accepted, seed=seed),
                "real": {name: summary(table, seed=seed) for name, table in real.items()},
                "relative": {name: relative(accepted, table, seed=seed) for name, table in real.items()},
                "relative_first_draws": {name: relative(firsts, table, seed=seed) for name, table in real.items()},
            }
        return result

    def acceptance(self) -> dict[str, Any]:
        """By emotion: share of first draws that the encoder accepts, and what the set took."""
        rows = {}
        for emotion, name in enumerate(EMOTION_NAMES):
            here = self.first.labels == emotion
            passed = int(self.first.accepted[here].sum())
            made = self.made.manifest["emotions"].get(name, {})
            rows[name] = {
                "first_draws": int(here.sum()),
                "accepted": round(passed / int(here.sum()), 4),
                "interval": [round(x, 4) for x in wilson_interval(passed, int(here.sum()))],
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
        if borrowed_networks.inception_missing() is None:
            device = self.pipe.encoder.device
            spaces["Inception"] = {which: borrowed_networks.inception_features(self._images(which), device) for which in _SETS}
        return {space: self._distances(features) for space, features in spaces.items()}

    def _distances(self, features: dict[str, npt.NDArray[np.float32]]) -> dict[str, Any]:
        rounds, seed = self.settings.rounds, self.settings.seed
        floor_labels = np.where(twins(self.real.train, self.real.test), -1, self.real.train.labels.astype(np.int64))
        control_labels, real_labels = (faces.labels.astype(np.int64) for faces in (self.real.valid, self.real.test))
        present = set.intersection(*({*each.tolist()} for each in (self.made.labels, control_labels, floor_labels, real_labels)))
        if present <= {-1}:
            raise UserError("no emotion has faces in the generated set and in train, valid and test: nothing can be compared")
        real_labels = np.where(np.isin(real_labels, list(present)), real_labels, -1)
        real = features["test"][real_labels >= 0]
        made = features["made"][same_mix(self.made.labels, real_labels, seed=seed)]
        control = features["control"][same_mix(control_labels, real_labels, seed=seed)]
        floor = features["train"][same_mix(floor_labels, real_labels, seed=seed)]
        count = min(len(made), len(control), len(floor))
        made, control, floor = (_some(part, count, seed) for part in (made, control, floor))
        # Fewer faces than dimensions say nothing of a covariance.
        enough = min(count, len(real)) > made.shape[1]
        whole = compare_sets(real, made, floor, rounds=rounds, seed=seed, frechet=enough)
        through = compare_sets(real, control, floor, rounds=rounds, seed=seed, frechet=enough)
        emotions: dict[str, Any] = {}
        for emotion, name in enumerate(EMOTION_NAMES):
            mine, theirs, base = (
                features[which][labels == emotion]
                for which, labels in (("made", self.made.labels), ("test", real_labels), ("train", floor_labels))
            )
            number = min(len(mine), len(base))
            if number < 2 or len(theirs) <= NEIGHBOURS:
                emotions[name] = None
                continue
            mine, base = _some(mine, number, seed), _some(base, number, seed)
            found = compare_sets(theirs, mine, base, rounds=rounds, seed=seed, frechet=False)
            emotions[name] = {"faces": number, "real_faces": len(theirs), **as_dicts(found)}
        return {
            "dimensions": made.shape[1],
            "faces": count,
            "real_faces": len(real),
            "frechet_measured": enough,
            "left_out": [name for emotion, name in enumerate(EMOTION_NAMES) if emotion not in present],
            "generated": as_dicts(whole),
            "through_tokenizer": as_dicts(through),
            "emotions": emotions,
        }

    def diversity(self) -> dict[str, Any]:
        """By emotion: mean distance between two faces, generated and real, in the second judge's features."""
        rows: dict[str, Any] = {}
        perceptual = borrowed_networks.lpips_missing() is None
        for emotion, name in enumerate(EMOTION_NAMES):
            here = {"generated": ("made", self.made.labels == emotion), "real": ("test", self.real.test.labels == emotion)}
            row: dict[str, Any] = {}
            for title, (which, mask) in here.items():
                features = self._reading(JUDGE, which)[1][mask]
                if len(features) < 2:
                    continue
                found = diversity(features, rounds=self.settings.rounds, seed=self.settings.seed)
                row[title] = {"faces": len(features), **found.as_dict()}
                if perceptual:
                    images = pixels(self._images(which)[mask], REAL_SIZE).reshape(-1, REAL_SIZE, REAL_SIZE).astype(np.uint8)
                    apart = borrowed_networks.lpips_diversity(images, self.pipe.encoder.device, seed=self.settings.seed)
                    row[title]["lpips"] = round(apart, 4)
            if len(row) == 2:
                row["ratio"] = round(row["generated"]["value"] / row["real"]["value"], 4)
            rows[name] = row
        return rows

    def neighbours(self, which: str, space: str) -> Nearest:
        """Nearest training faces of one set, in ``pixels`` (both mirror images) or in the second judge's features."""
        keep = {"test": ~self._twin_in_train, "control": ~self._valid_twin}.get(which, slice(None))
        if space != "pixels":
            query, base = self._reading(JUDGE, which)[1][keep], self._reading(JUDGE, "train")[1]
            return nearest(query, base, label=f"{which}, {space}")
        train = self.real.train.images
        query = pixels(self._images(which)[keep], REAL_SIZE)
        plain = nearest(query, pixels(train, REAL_SIZE), label=f"{which}, {space}")
        mirrored = nearest(query, pixels(train[..., ::-1], REAL_SIZE), label=f"{which}, {space}, mirrored")
        closer = mirrored.distance < plain.distance
        return Nearest(np.where(closer, mirrored.distance, plain.distance), np.where(closer, mirrored.row, plain.row))

    def memorisation(self) -> dict[str, Any]:
        """Distance to the nearest training face, against that of test faces without a twin in train."""
        result: dict[str, Any] = {}
        for space in ("pixels", JUDGE):
            real = self.neighbours("test", space)
            result[space] = {
                title: compare_nearest(self.neighbours(which, space), real, rounds=self.settings.rounds, seed=self.settings.seed)
                for title, which in (("generated", "made"), ("through_tokenizer", "control"))
            }
        return result

    def gender(self) -> dict[str, Any]:
        """Share of faces that the shipped classifier reads as female, generated and real, by emotion."""
        classifier = create_gender(device=str(self.pipe.encoder.device))
        result: dict[str, Any] = {}
        for title, images, labels in (
            ("generated", self.made.images, self.made.labels),
            ("real", self.real.test.images, self.real.test.labels),
        ):
            female = classifier.predict(images)[:, 0] > 0.5
            groups = {"all": labels >= 0, **{name: labels == k for k, name in enumerate(EMOTION_NAMES)}}
            result[title] = {name: _share(female[mask]) for name, mask in groups.items()}
        return result

    @staticmethod
    def not_measured() -> dict[str, str]:
        """What is missing from the report, and why."""
        reasons = {"Inception FID": borrowed_networks.inception_missing(), "LPIPS": borrowed_networks.lpips_missing()}
        return {name: reason for name, reason in reasons.items() if reason is not None}


_SETS = ("made", "control", "train", "test")


def _some(features: npt.NDArray[np.float32], count: int, seed: int) -> npt.NDArray[np.float32]:
    """``count`` rows taken by chance."""
    return features[np.sort(np.random.default_rng(seed).permutation(len(features))[:count])]


def _share(hits: npt.NDArray[np.bool_]) -> dict[str, Any] | None:
    if not len(hits):
        return None
    low, high = wilson_interval(int(hits.sum()), len(hits))
    return {"faces": len(hits), "value": round(float(hits.mean()), 4), "interval": [round(low, 4), round(high, 4)]}
