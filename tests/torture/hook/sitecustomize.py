"""Read by Python at its start where this folder is on PYTHONPATH: lets things go wrong as the variable says."""

import json
import os
import sys
from pathlib import Path

if "TORTURE_FAULT" in os.environ:
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    from tests.torture.faults import Faults

    sys.path.pop(0)
    Faults(json.loads(os.environ["TORTURE_FAULT"])).install()
