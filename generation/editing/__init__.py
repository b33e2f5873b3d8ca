"""A given face under another emotion: the face, the seam, the files."""

from typing import Any

# The sharper look fits photographs better and puts no hands before the mouth; less temperature, fewer caricatures.
DEFAULTS: dict[str, Any] = {"source": "faces128", "temperature": 0.5}
NOT_FOR_EDITS = ("identity", "max_tries", "best_of")
