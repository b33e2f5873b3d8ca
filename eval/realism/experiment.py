"""Whether people would believe the faces: distances, emotion, hands, eyes in place, told apart, critic, people, in one table."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from configs.cli import UserError
from encoder.emotions import EMOTION_NAMES, NUM_EMOTIONS
from engine.storage.atomic import atomic_write_text, write_json
from eval.experiments import options
from eval.experiments.experiment import DrawingExperiment, Figures
from eval.faces.real import data_name, load_real
from eval.realism.tables import PARTS, as_markdown
from generation.request import make_request

if TYPE_CHECKING:
    from encoder.attributes.probe import FaceAttributes
    from encoder.inference.emotion_encoder import Prediction
    from eval.measures.floors import RealFeatures
    from eval.realism.faces import Drawn, RealLook


class Realism(DrawingExperiment[str]):
    """The points are the parts of the table; faces are drawn once, where a part is missing."""

    name = "realism"
    examples = """examples:
  python -m eval.realism --data ALIGNED --photographs DATA --out out/realism
  python -m eval.realism --data ALIGNED --weights runs/colour/weights --photographs DATA --out out/colour
  python -m eval.realism --data ALIGNED --only emotion,attributes --per-emotion 40
  python -m eval.realism --data ALIGNED --look fer2013

ALIGNED is FER-2013 as the generator learned from it: aligned by python -m encoder.prepare --align for weights that say so.
DATA is colour128: photographs, of which the valid split is real for weights that paint colour.

Measured are --per-emotion first draws, none refused, and as many verified faces of each emotion, each of a seed of its own.

  drawing      how many draws a verified face took, and who refused the others
  distances    Fréchet distance and coverage in the second judge's features, as multiples of what real train faces get
  emotion      how often judge and encoder see what was asked, beside how often they are right about real faces
  attributes   how often a hand or object is before the face, and eyes are closed, by the probe of encoder.attributes, which may
               have selected the faces, and by one that selects nothing (--attributes-judge)
  placement    how often a detector finds the face, and with its eyes and mouth in place
  told-apart   whether a classifier trained on half of the faces tells the other half from real ones: AUC, 0.5 is perfect.
               Real faces once as the generator paints their own tokens, and once as they are; as many of each emotion, as
               the encoder reads it, on both sides
  critic       realism by the second critic, which selects nothing (critic_judge in WEIGHTS, where it is there)
  told         whom the faces were to show where nothing was asked: gender, age, group

ALIGNED are small web pictures. Distances of colour faces hold this difference of looks, too: --look fer2013 compares like
with like.

Written to OUT: realism.json and realism.md. Intervals are 95 %: Wilson for shares, else bootstrap. Parts that are done are
kept in OUT/points: the same command goes on."""

    @classmethod
    def options(cls, parser: argparse.ArgumentParser) -> None:
        options.add_data(parser, ("valid", "test"))
        parser.add_argument("--photographs", metavar="DATA", help="folder with colour128, for weights that paint colour")
        parser.add_argument("--per-emotion", type=int, default=150, help=f"faces of each kind and emotion ({options.DEFAULT})")
        parser.add_argument("--seed", type=int, default=0, help=f"of the first face ({options.DEFAULT})")
        parser.add_argument("--only", type=options.words, default=PARTS, metavar="PART,PART", help="default: all, see below")
        parser.add_argument("--bootstrap", type=int, default=200, help=f"rounds ({options.DEFAULT})")
        parser.add_argument("--epochs", type=int, default=12, help=f"of the classifier that tells apart ({options.DEFAULT})")
        options.add_settings(parser, "guidance", "autoguidance", "steps", "temperature", "threshold", "look")
        options.add_networks(parser)
        parser.add_argument("--attributes", default="pretrained/attributes", help=f"probe for hands and eyes ({options.DEFAULT})")
        parser.add_argument(
            "--attributes-judge",
            metavar="FOLDER",
            help="a second probe, that selects nothing: python -m encoder.attributes --weights pretrained/judge --out FOLDER",
        )
        options.add_out(parser, cls.name)

    def plan(self) -> dict[str, str]:
        asked = self.arguments
        options.at_least(asked, per_emotion=2, seed=0, bootstrap=2, epochs=1)
        if unknown := [name for name in asked.only if name not in PARTS]:
            raise UserError(f"--only: no part {unknown[0]!r}; known are {', '.join(PARTS)}")
        make_request(EMOTION_NAMES[0], asked.per_emotion, asked.seed, **options.given_settings(asked))
        return {name: name for name in PARTS if name in asked.only}

    def load(self) -> None:
        """Networks, and real faces at the generator's side; what cannot be compared is refused before anything is drawn."""
        super().load()
        from encoder.attributes.probe import FaceAttributes
        from encoder.data.duplicates import twins
        from engine.storage.weights import WEIGHTS_FILE, file_sha256, resolve_folder
        from generation.weights import require_fit
        from vqvae.colour.photographs import Photographs
        from vqvae.critics.critic import RealismCritic
        from vqvae.tokens.cache import array_sha256

        asked, config, weights = self.arguments, self.pipe.tokenizer.config, resolve_folder(self.arguments.weights)
        self.settings = options.given_settings(asked)
        usual = self.pipe.settled(make_request(EMOTION_NAMES[0], asked.per_emotion, asked.seed, **self.settings))
        self.colour = config.paints_photographs and usual.look == "photo"
        self.train = load_real(asked.data, "train", self.side, drawn=NUM_EMOTIONS * 10 * asked.per_emotion)
        self.held_out = load_real(asked.data, asked.split, self.side, drawn=50 * NUM_EMOTIONS)
        self.unseen = self.held_out.subset(~twins(self.held_out, self.train))
        photographs = None
        if asked.photographs is not None:
            if not self.colour:
                raise UserError(f"--photographs: faces of look {usual.look} by these weights are grey; leave the option out")
            photographs = Photographs.open(asked.photographs, "valid", config.painted)
        self.photographs = photographs
        self.probes = {"attributes": FaceAttributes.from_pretrained(asked.attributes)}
        if asked.attributes_judge is not None:
            self.probes["attributes_judge"] = FaceAttributes.from_pretrained(asked.attributes_judge, asked.judge)
        for each in self.probes.values():
            each.to(self.pipe.encoder.device)
        self.second_critic, place = None, weights / "critic_judge"
        if place.is_dir():
            self.second_critic = RealismCritic.from_pretrained(place).to(self.pipe.encoder.device)
            require_fit(self.second_critic, place, self.pipe.tokenizer, self.pipe.weights)
        judge = file_sha256(resolve_folder(asked.judge) / WEIGHTS_FILE)
        self.made_from = {
            "data": data_name(asked.data),
            "faces_sha256": array_sha256(self.train.images, self.held_out.images),
            **{name: getattr(asked, name) for name in ("split", "seed", "per_emotion", "bootstrap")},
            "settings": self.settings,
            "weights": {**self.pipe.weights, "judge": judge},
        }
        probes = {
            name: folder and file_sha256(resolve_folder(folder) / WEIGHTS_FILE)
            for name, folder in (("probe", asked.attributes), ("probe_judge", asked.attributes_judge))
        }
        compared = {"photographs": photographs and photographs.digest()}
        self.bases: dict[str, Figures] = {
            "attributes": probes,
            "placement": compared,
            "told-apart": {"epochs": asked.epochs, **compared},
            "critic": {"critic_judge": file_sha256(place / WEIGHTS_FILE) if place.is_dir() else None},
        }

    def place(self, name: str) -> Path:
        return Path(self.arguments.out) / "points" / f"{name}.json"

    def basis(self, name: str) -> Figures:
        return {**self.made_from, **self.bases.get(name, {})}

    @cached_property
    def drawn(self) -> Drawn:
        from eval.realism.faces import draw_faces

        return draw_faces(self.pipe, self.arguments.per_emotion, self.arguments.seed, self.settings)

    @cached_property
    def read_as(self) -> Mapping[str, Mapping[str, list[Prediction]]]:
        """By reader and kind, what is seen in the faces of each emotion."""
        kinds = self.drawn.kinds()
        return {name: {kind: faces.read(reader) for kind, faces in kinds.items()} for name, reader in self.readers.items()}

    @cached_property
    def real(self) -> Mapping[str, RealFeatures]:
        from eval.measures.floors import read_real_faces

        return read_real_faces(self.readers, self.train, self.held_out, self.arguments.per_emotion)

    @cached_property
    def look(self) -> RealLook:
        """Photographs where there are some, else the grey faces of ``--data``."""
        from eval.realism.faces import RealLook

        if self.photographs is None:
            return RealLook(self.unseen.images)
        return RealLook(self.photographs.web_pictures(np.arange(len(self.photographs)), self.side), self.photographs)

    def measure(self, point: str) -> Figures:
        measures: Mapping[str, Callable[[], Figures]] = {
            "drawing": self._drawing,
            "distances": self._distances,
            "emotion": self._emotion,
            "attributes": self._attributes,
            "placement": self._placement,
            "told-apart": self._told_apart,
            "critic": self._critic,
            "told": self._told,
        }
        return measures[point]()

    def _drawing(self) -> Figures:
        from eval.realism.parts import took

        request = self.drawn.request.as_record()
        own = ("emotion", "count", "seed")
        return {"request": {key: value for key, value in request.items() if key not in own}, **took(self.drawn)}

    def _distances(self) -> Figures:
        from eval.measures.floors import fidelity

        real, rounds = self.real["judge"], self.arguments.bootstrap
        made = {kind: [each.embeddings.numpy() for each in found] for kind, found in self.read_as["judge"].items()}
        counts = {"held_out": len(real.reference[0]), "draws": len(real.floors)}
        return {"real": counts, **{kind: fidelity(features, real, rounds=rounds) for kind, features in made.items()}}

    def _emotion(self) -> Figures:
        from eval.measures.floors import accuracies

        return {
            reader: {kind: accuracies(found, self.real[reader].recall) for kind, found in kinds.items()}
            for reader, kinds in self.read_as.items()
        }

    def _attributes(self) -> Figures:
        from eval.realism.parts import shown

        faces = {kind: made.grey for kind, made in self.drawn.kinds().items()}
        faces["real"] = tuple(self.held_out.images[self.held_out.labels == emotion] for emotion in range(NUM_EMOTIONS))
        total = len(faces) * NUM_EMOTIONS * len(self.probes)
        with tqdm(total=total, desc="hands and eyes", unit="emotion", leave=False, disable=None) as bar:

            def probed(probe: FaceAttributes, images: NDArray[np.uint8]) -> NDArray[np.float32]:
                bar.update()
                return probe.predict(images)

            return {
                name: {kind: shown([probed(probe, each) for each in of]) for kind, of in faces.items()}
                for name, probe in self.probes.items()
            }

    def _placement(self) -> Figures:
        from encoder.detection.centerface import CenterFaceDetector
        from eval.realism.parts import placed

        detector = CenterFaceDetector()
        found = {kind: placed(detector, made.planes()) if len(made) else None for kind, made in self.drawn.kinds().items()}
        look = self.look
        most = NUM_EMOTIONS * self.arguments.per_emotion
        rows = np.unique(np.linspace(0, len(look.seen) - 1, min(len(look.seen), most)).astype(np.intp))
        return {**found, "real": placed(detector, look.as_they_are(rows)), "real_are": self._real_are()}

    def _told_apart(self) -> Figures:
        import torch

        from eval.measures.told_apart import FEWEST_PAIRS, matched, told_apart

        look, asked, encoder = self.look, self.arguments, self.pipe.encoder
        read = encoder.predict(look.seen).distributions.argmax(dim=1).numpy()
        found: Figures = {"real_are": self._real_are()}
        for kind, made in self.drawn.kinds().items():
            tops = torch.cat([each.distributions.argmax(dim=1) for each in self.read_as["encoder"][kind]]).numpy()
            rows, mine = matched(read, tops, asked.seed)
            found[kind] = {"pairs": len(rows), "painted": None, "as_they_are": None}
            if len(rows) < FEWEST_PAIRS:
                continue
            # Beside real faces that are grey and small, generated ones are so, too.
            small = np.concatenate(made.grey)[mine, None]
            delivered = made.planes()[mine]
            sides = {
                "painted": (look.painted(rows, self.pipe, self.drawn.request), delivered),
                "as_they_are": (look.as_they_are(rows), delivered if look.photographs is not None else small),
            }
            for name, (real, faces) in sides.items():
                found[kind][name] = told_apart(
                    real, faces, seed=asked.seed, epochs=asked.epochs, rounds=asked.bootstrap, device=encoder.device
                )
        return found

    def _critic(self) -> Figures:
        import torch

        from eval.realism.parts import mean

        critic = self.second_critic
        if critic is None:
            return {"absent": "these weights hold no second critic (critic_judge)"}
        if self.pipe.tokenizer.config.paints_photographs and not self.colour:
            return {"absent": f"the second critic judges photographs, and the look is {self.drawn.request.look}"}
        found: Figures = dict.fromkeys(self.drawn.kinds())
        for kind, made in self.drawn.kinds().items():
            if len(made):
                parts = torch.from_numpy(made.planes()).split(64)
                scores = [critic.realism(part.to(self.pipe.encoder.device).float() / 255.0) for part in parts]
                found[kind] = mean(np.concatenate(scores), self.arguments.bootstrap)
        return found

    def _told(self) -> Figures:
        from eval.realism.parts import told

        if not self.pipe.attributes:
            return {"absent": "these weights cannot be told whom a face shows"}
        return told([face.told for face in self.drawn.verified.all], self.pipe.attributes)

    def _real_are(self) -> str:
        if self.photographs is not None:
            return "photographs of colour128, valid"
        return f"grey faces of {data_name(self.arguments.data)}, {self.arguments.split}"

    def write(self, done: Mapping[str, Figures]) -> str:
        out, text = self.arguments.out, as_markdown(done, self._notes())
        write_json(out / "realism.json", {"command": self.command, **self.made_from, "parts": done})
        atomic_write_text(out / "realism.md", text)
        return text

    def _notes(self) -> list[str]:
        made_from, count = self.made_from, self.arguments.per_emotion
        last = self.arguments.seed + NUM_EMOTIONS * count - 1
        return [
            f"{count} first draws and as many verified faces were asked of each emotion, seeds {made_from['seed']} to {last}. "
            f"Real faces: {made_from['data']}, {made_from['split']}.",
            f"`{self.command}`",
        ]
