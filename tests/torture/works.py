"""What is tormented: programs of the project on drawn faces, seconds each, and what must be true after they were ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.storage.atomic import clear_drafts
from engine.storage.checkpoint import latest_checkpoint, load_checkpoint
from generation.files import SHEET

_TINY = [
    "tokenizer.size=16",
    "tokenizer.widths=[8,16]",
    "tokenizer.codebook_size=8",
    "tokenizer.code_dim=4",
    "tokenizer.groups=2",
]
_TINY += ["prior.width=16", "prior.depth=1", "prior.heads=2", "loss.adversarial=0.1", "loss.adversarial_start=0.3"]
_TINY += ["faces.drawn_count=64", "device=cpu", "precision=no"]
_STAGE = ["max_minutes=null", "epochs=2", "batch_size=8", "checkpoint_every=2", "evaluate_every=99", "log_every=1"]
_STAGES = [f"{stage}_stage.{each}" for stage in ("tokenizer", "prior") for each in _STAGE]
_ENCODER = ["model.widths=[8,16]", "model.depths=[1,1]", "preprocessing.size=16", "data.drawn_count=64", "train.batch_size=16"]
_ENCODER += ["train.epochs=4", "train.checkpoint_every=2", "train.device=cpu", "train.precision=no"]


@dataclass(frozen=True)
class Work:
    """One program with its arguments.

    Attributes:
        module: of the program; ``script``: the same as a file, for launchers; None: started by its module.
        begun: arguments of the first start, given the folder of the bench and that of the run.
        again: further ones of every start after the first.
        results: names of the files that must be as in a run that nothing disturbed, given the run's folder.
        growing: names of files that after a kill must be a beginning of what the undisturbed run wrote.
        stages: folders of a run, each a training with checkpoints.
    """

    module: str
    begun: Callable[[Path, Path], list[str]]
    again: list[str]
    results: Callable[[Path], list[Path]]
    script: str | None = None
    growing: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    launched: bool = False

    def argv(self, bench: Path, folder: Path, *, again: bool) -> list[str]:
        """The command line without the program."""
        return [*self.begun(bench, folder), *(self.again if again else [])]

    def differences(self, folder: Path, whole: Path) -> list[str]:
        """What of a finished run is not, bit for bit, as it is in ``whole``."""
        names, expected = ({path.relative_to(place) for path in self.results(place)} for place in (folder, whole))
        differ = [f"{name} is {'missing' if name in expected else 'too much'}" for name in sorted(names ^ expected)]
        differ += [f"{name} differs" for name in sorted(names & expected) if not _same(folder / name, whole / name)]
        for stage in self.stages:
            one, other = _tensors(folder / stage), _tensors(whole / stage)
            differ += [
                f"{stage or 'run'}: {name} differs"
                for name in sorted(one.keys() | other.keys())
                if one.get(name) != other.get(name)
            ]
        return differ

    def broken(self, folder: Path, whole: Path) -> list[str]:
        """What in a run that was just ended is there under its final name and is not as it should be.

        A table may lack its end, as rows are kept when a program is asked to stop, but not half a row; sheets and manifests tell
        of the faces so far.
        """
        if self.stages:
            return []
        wrong = []
        for path in self.results(whole):
            name = path.relative_to(whole)
            there = folder / name
            if name.name in self.growing:
                for table in (there, there.with_name(f"{name.name}.partial")):
                    if table.is_file() and not path.read_bytes().startswith(table.read_bytes()):
                        wrong.append(f"{table.name}: not the beginning of the table")
            elif there.is_file() and name.name == "manifest.json":
                listed = (folder / each["file"] for each in json.loads(there.read_text()).get("faces", ()))
                wrong += [f"{each.name}: in the manifest, and not there" for each in listed if not each.is_file()]
            elif there.is_file() and name.name != SHEET and not _same(there, path):
                wrong.append(f"{name}: half a file")
        return wrong

    def leftovers(self, folder: Path) -> list[str]:
        """Drafts that nobody will ever take away."""
        before = {path for path in folder.rglob(".*") if path.is_file()}
        clear_drafts(folder)
        return sorted(path.name for path in before if not path.exists())


def _same(one: Path, other: Path) -> bool:
    if one.name == "manifest.json":  # says when it was made, and how long that took
        return json.loads(one.read_text())["request"] == json.loads(other.read_text())["request"]
    return one.read_bytes() == other.read_bytes()


def _tensors(run: Path) -> dict[str, bytes]:
    newest = latest_checkpoint(run)
    if newest is None:
        return {}
    groups = load_checkpoint(newest).tensors
    named = {f"{group}/{key}": tensor for group, members in groups.items() for key, tensor in members.items()}
    return {name: tensor.contiguous().numpy().tobytes() for name, tensor in named.items()}


def _files(*patterns: str) -> Callable[[Path], list[Path]]:
    return lambda folder: [path for pattern in patterns for path in folder.glob(pattern) if path.is_file()]


def _networks(bench: Path) -> list[str]:
    return ["--weights", str(bench / "whole" / "vqvae" / "weights"), "--encoder", str(bench / "whole" / "encoder" / "weights")]


def _pictures(bench: Path) -> list[str]:
    weights = str(bench / "whole" / "encoder" / "weights")
    return [str(bench / "pictures"), "--weights", weights, "--crops", "yes", "--device", "cpu", "--quiet", "--batch-size", "4"]


WORKS = {
    "encoder": Work(
        "encoder.train",
        lambda _bench, folder: [*_ENCODER, "--out", str(folder)],
        ["--resume", "latest"],
        _files("weights/model.safetensors"),
        script="encoder/train.py",
        stages=("",),
        launched=True,
    ),
    "vqvae": Work(
        "vqvae.train",
        lambda _bench, folder: [*_TINY, *_STAGES, "--out", str(folder)],
        ["--resume", "latest"],
        _files("weights/*/model.safetensors"),
        script="vqvae/train.py",
        stages=("tokenizer", "prior"),
        launched=True,
    ),
    "sample": Work(
        "generation.sample",
        lambda bench, folder: [
            *("--emotion", "happiness", "--count", "12", "--threshold", "0", "--batch-size", "2", "--quiet"),
            *(*_networks(bench), "--out", str(folder), "--overwrite"),
        ],
        [],
        _files("*.png", "manifest.json"),
    ),
    "dataset": Work(
        "generation.dataset",
        lambda bench, folder: [
            *("--counts", "happiness:12", "--threshold", "0", "--least-difference", "0", "--quiet", "--device", "cpu"),
            *(*_networks(bench), "--out", str(folder)),
        ],
        [],
        _files("*/*/*.png", "faces.csv", "manifest.json"),
        launched=True,
    ),
    "table": Work(
        "encoder.analyze",
        lambda bench, folder: [*_pictures(bench), "--out", str(folder / "faces.csv"), "--overwrite"],
        [],
        _files("faces.csv"),
        growing=("faces.csv",),
    ),
    "parts": Work(
        "encoder.analyze",
        lambda bench, folder: [*_pictures(bench), "--out", f"{folder}/"],
        [],
        _files("*.parquet"),
    ),
}  # fmt: skip


def write_pictures(folder: Path, count: int = 24) -> None:
    """Drawn faces for the analysis to read."""
    from PIL import Image

    from encoder.drawing.faces import drawn_set

    folder.mkdir(parents=True)
    for number, face in enumerate(drawn_set("valid", count, seed=0, size=48).images):
        Image.fromarray(face).save(folder / f"{number:02d}.png")
