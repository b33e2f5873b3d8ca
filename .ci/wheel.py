"""Build the wheel and try it in an empty environment: reading and making faces with what the wheel asks for, and nothing else.

    python .ci/wheel.py

Nothing is downloaded: the packages that the wheel asks for, and those that they ask for, are linked from the environment that
runs this (`make` fills .venv). So it needs no network, and shows whether one that is not asked for is needed after all.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
# What only training and measuring may need.
NOT_ASKED_FOR = ("accelerate", "deepface", "lpips", "torchmetrics", "torchvision", "wandb")
TRY = """
import importlib.util, pathlib, sys
import numpy as np
import mimique

extras = [name for name in sys.argv[1].split(",") if importlib.util.find_spec(name)]
assert not extras, f"not an empty environment: {extras}"
home = pathlib.Path(mimique.__file__).resolve().parent.parent
assert home.name == "site-packages", home
pipe = mimique.FacePipeline.from_pretrained()
batch = pipe(mimique.Emotion.HAPPINESS, 2, 0)
assert len(batch) == 2 and batch[0].verdict["happiness"] > 0.5, batch
batch.save("faces")
drawn = mimique.draw_faces(2, seed=0, distribution="anger")
assert drawn.images.shape == (2, 64, 64)
read = mimique.EmotionEncoder.from_pretrained().predict(batch.images)
assert len(read.to_dataframe()) == 2
files = sorted(pathlib.Path("faces").glob("happiness*"))
found = mimique.FaceAnalyzer.from_pretrained().analyze(files)
assert [face.emotion for face in found] == ["happiness"] * 2, found.rows
print(f"mimique {mimique.__version__} from {home}: {batch}; {read}; {found}")
"""
COMMANDS = (
    ("--version",),
    ("sample", "--emotion", "fear", "--count", "1", "--seed", "3", "--out", "made", "--quiet"),
    ("read", "made", "--out", "read.csv", "--quiet"),
    ("dataset", "--counts", "happiness:2", "--out", "set", "--quiet"),
    ("train", "--help"),
)
# What needs an extra says which.
REFUSED = ("train",)


def needed(names: list[str]) -> dict[str, metadata.Distribution]:
    """The distributions of these requirements, and of theirs, as they are installed here."""
    found: dict[str, metadata.Distribution] = {}
    waiting = [(Requirement(name), "") for name in names]
    while waiting:
        wanted, extra = waiting.pop()
        if wanted.marker and not wanted.marker.evaluate({**default_environment(), "extra": extra}):
            continue
        name = canonicalize_name(wanted.name)
        if name in found:
            continue
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            sys.exit(f"error: {name} is not installed here, and nothing is downloaded: run make test first")
        for each in found[name].requires or ():
            waiting += [(Requirement(each), own) for own in wanted.extras or {""}]
    return found


def copy_tracked(place: Path) -> None:
    """The files that git knows, as they are here: a build in the checkout would also take up what earlier builds left there."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.split("\0"):
        if name and not name.startswith(("docs/", "tests/")) and (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)


def link(distribution: metadata.Distribution, site: Path) -> None:
    """Put an installed distribution into another environment, by links to its files and folders."""
    folder = Path(str(distribution.locate_file("")))
    tops = {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}
    for top in tops:
        if not (site / top).exists() and (folder / top).exists():
            (site / top).symlink_to(folder / top)


def run(*command: str, cwd: Path, expect: int = 0, say: str = "") -> str:
    """Run a command with nothing of this checkout on its path; ends the test where it does not end as it should."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=kept, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != expect or say not in done.stdout + done.stderr:
        sys.exit(f"error: {' '.join(command)}: ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout.strip()


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        copy_tracked(place / "source")
        build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
        run(*build, "--disable-pip-version-check", "--wheel-dir", name, "./source", cwd=place)
        (wheel,) = place.glob("mimique-*.whl")
        run(sys.executable, "-m", "venv", "env", cwd=place)
        python, script = (str(place / "env" / "bin" / program) for program in ("python", "mimique"))
        install = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
        run(python, *install, str(wheel), cwd=place)
        site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=place))
        (info,) = site.glob("mimique-*.dist-info")
        asked = [each for each in metadata.PathDistribution(info).requires or () if "extra ==" not in each]
        packages = needed(asked)
        for distribution in packages.values():
            link(distribution, site)
        work = place / "work"
        work.mkdir()
        print(f"{wheel.name}: {wheel.stat().st_size / 2**20:.0f} MiB; {len(packages)} packages beside it")
        print(run(python, "-c", TRY, ",".join(NOT_ASKED_FOR), cwd=work))
        for words in COMMANDS:
            run(script, *words, cwd=work)
            print("mimique " + " ".join(words))
        for word in REFUSED:
            run(script, word, cwd=work, expect=2, say="mimique[train]")
            print(f"mimique {word}: says which extra it needs")


if __name__ == "__main__":
    main()
