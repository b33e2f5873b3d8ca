"""What to type where a program is started without what it needs: two commands, not the traceback of an import."""

from __future__ import annotations

import importlib.util
import os
import sys

OLDEST = (3, 11)
# What no program can do without. A Python that has these was set up for the project; what it lacks else, `lacking` explains.
NEEDED = ("pydantic", "yaml", "numpy", "PIL", "torch")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Names of packages where they differ from what is imported.
_PACKAGES = {"PIL": "pillow", "yaml": "pyyaml", "cv2": "opencv-python", "sklearn": "scikit-learn", "feat": "py-feat"}


def require_installed() -> None:
    """End a program, before its imports fail, with one line where this Python is too old or lacks `NEEDED`.

    Importing `configs` calls it, and every package with programs imports that. For who imports the project from a program of
    their own it does nothing.
    """
    if not _is_program():
        return
    missing = [] if sys.version_info < OLDEST else [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing or sys.version_info < OLDEST:
        print("error: " + lacking(*missing), file=sys.stderr)
        raise SystemExit(2)


def _is_program() -> bool:
    """Whether this process is `python -m PROGRAM` just before the program's first line, or `python vqvae/train.py`."""
    started = sys.argv[0] if sys.argv else ""
    return started == "-m" or (
        started.endswith("train.py") and os.path.dirname(os.path.dirname(os.path.abspath(started))) == ROOT
    )


def lacking(*names: str) -> str:
    """One line that says which modules this Python lacks (none: that it is too old), and what to type."""
    python = os.path.normpath(sys.executable)
    has = f"has no {', '.join(names)}" if names else f"is {sys.version_info[0]}.{sys.version_info[1]}, older than 3.11"
    return f"this Python ({python}) {has}; {_what_to_type(names)}"


def _what_to_type(names: tuple[str, ...]) -> str:
    venv = os.path.join(ROOT, ".venv")
    if not os.path.isfile(os.path.join(ROOT, "Makefile")):
        return _pip(names)
    if os.path.normcase(os.path.abspath(sys.prefix)) == os.path.normcase(venv):
        return f"type: make -C {_shown(ROOT)} install"
    ready = os.path.isfile(os.path.join(venv, "installed-runtime"))
    activate = f"source {_shown(os.path.join(venv, 'bin', 'activate'))}"
    make = "make install" if os.getcwd() == ROOT else f"make -C {_shown(ROOT)} install"
    return f"type: {activate}" if ready else f"type these two: {make} && {activate}"


def _shown(path: str) -> str:
    return os.path.relpath(path) if path.startswith(os.getcwd()) else path


def _pip(names: tuple[str, ...]) -> str:
    """For an installed package: the extra that brings the first of `names`, where it is in one."""
    import re
    from importlib.metadata import PackageNotFoundError, requires

    package = _PACKAGES.get(names[0], names[0].replace("_", "-")) if names else "python"
    try:
        wanted = requires("mimique") or []
    except PackageNotFoundError:
        wanted = []
    for text in wanted:
        found = re.fullmatch(rf"{re.escape(package)}\b[^;]*;.*extra == ['\"]([\w-]+)['\"].*", text, re.IGNORECASE)
        if found:
            return f"type: python -m pip install 'mimique[{found[1]}]'"
    return "install mimique again, with all that it needs, in a Python 3.11 or newer"
