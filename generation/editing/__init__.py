"""A given face under another emotion: the face, the seam, the files."""

from typing import Any

# Less temperature, fewer caricatures. Who is in the picture is seen in the tokens that stay, and they hold the face together.
DEFAULTS: dict[str, Any] = {
    "guidance": 1.0,
    "temperature": 0.5,
    "autoguidance": 0.0,
    "gender": "any",
    "age": "any",
    "group": "any",
}
# Of those that know no photographs, the sharper look fits them better and puts no hands before the mouth.
LOOKS = ("photo", "faces128")
NOT_FOR_EDITS = ("identity", "max_tries", "best_of", "realism", "landmarks", "as_told")
