"""Tables of faces appear when they are complete."""

from __future__ import annotations

from pathlib import Path

from encoder.analysis.rows import FaceRow
from encoder.analysis.tables import create_table


def test_a_table_that_is_not_closed_leaves_its_former_content(tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    path.write_text("former")
    table = create_table(path)
    table.write(FaceRow("a.jpg", problem="no such file"))
    assert path.read_text() == "former"
    table.close()
    table.close()
    assert path.read_text().splitlines()[1].startswith("a.jpg,")
