"""The example for Ray Data, as it stands on its page, gives the rows of the command."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from skimage import data

from encoder import analyze
from encoder.pictures.face_images import png_bytes

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "how_to" / "reading" / "read_many_photographs.md"


def example() -> str:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return code


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason='Ray is not installed: pip install "ray[data]"')
def test_the_example_for_ray_gives_the_rows_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    images = [png_bytes(np.roll(data.astronaut(), shift, axis=1)) for shift in (0, 3, 6, 9)]
    for shard in range(2):
        values = [{"bytes": image, "path": None} for image in (*images[2 * shard : 2 * shard + 2], b"broken")]
        ids = range(10 * shard, 10 * shard + 3)
        pq.write_table(pa.table({"id": ids, "image": values}), tmp_path / "photos" / f"{shard}.parquet")
    places = f"SOURCE, RESULT = {str(tmp_path / 'photos')!r}, {str(tmp_path / 'ray')!r}"
    code, changed = re.subn(r"^SOURCE, RESULT = .*$", places, example(), flags=re.MULTILINE)
    assert changed == 1
    start = "import ray\nray.init(num_cpus=3, include_dashboard=False, object_store_memory=2**28)\n"
    (tmp_path / "example.py").write_text(start + code)
    # As the page says of Ray 2.60.
    ray = {"RAY_DATA_USE_DATASOURCE_V2": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    environment = {**os.environ, **ray, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=1700
    )
    assert done.returncode == 0, done.stderr[-3000:]
    command = [str(tmp_path / "photos"), "--keep", "id", "--out", str(tmp_path / "command.parquet"), "--device", "cpu", "--quiet"]
    assert analyze.main(command) == 1
    theirs, ours = (pd.read_parquet(tmp_path / name).sort_values("id", ignore_index=True) for name in ("ray", "command.parquet"))
    assert list(theirs["id"]) == [0, 1, 2, 10, 11, 12]
    assert list(theirs.columns) == list(ours.columns)
    assert theirs["emotion"].tolist() == ours["emotion"].tolist()
    assert theirs["emotion"][0] == "happiness"
    assert theirs["problem"].tolist() == ours["problem"].tolist()
    assert np.allclose(theirs["happiness"].dropna(), ours["happiness"].dropna(), atol=1e-4)
    assert (theirs[["x", "y", "width", "height"]].fillna(-1) == ours[["x", "y", "width", "height"]].fillna(-1)).all(axis=None)
