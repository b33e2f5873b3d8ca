"""Cards and files of the page: nothing from outside becomes part of it, and every file says what it is."""

from __future__ import annotations

import io
import os
import stat
import time
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from configs.cli import UserError
from encoder.emotions import EMOTION_NAMES
from generation.service.orders import FacesResult, MadeFace
from generation.studio.cards import bars, empty, face_card, face_grid, note
from generation.studio.files import Files, faces_zip
from generation.studio.tabs.person import film_of
from generation.studio.texts import texts

EVIL = "<script>alert(1)</script>\"' onerror='x"


def face(seed: int = 3, colour: str = "red", **changes: object) -> MadeFace:
    out = io.BytesIO()
    Image.new("RGB", (16, 16), colour).save(out, "PNG")
    read = dict(zip(EMOTION_NAMES, (0.0, 0.0, 0.75, 0.0, 0.05, 0.2, 0.0), strict=True))
    own = {
        "png": out.getvalue(),
        "seed": seed,
        "tries": 2,
        "top": "fear",
        "match": 0.75,
        "accepted": True,
        "asked": {"fear": 1.0},
    }
    return MadeFace(**{**own, "asked": {"fear": 1.0}, "distribution": read, "realism": 0.4, **changes})


def result(*faces: MadeFace) -> FacesResult:
    counts = {"asked": len(faces), "tried": 9, "complete": True, "verified": True, "weights": {"prior": "abc"}}
    return FacesResult(command="mimique sample", python="import mimique", seconds=1.0, faces=faces, **counts)


@pytest.mark.parametrize("language", ["en", "fr"])
def test_a_card_says_all_that_is_known(language: str) -> None:
    t = texts(language)
    card = face_card(face(), t, 5)
    for words in (t.emotion("fear"), "75 %", t("card.realism"), "40 %", t("card.tries"), 'data-choose="5"', t("card.ok")):
        assert words in card
    assert card.count('class="bar') == 8
    assert t("card.first") in face_card(face(), t, 5, first=True)
    assert t("cause.realism") in face_card(face(accepted=False, refused="realism"), t)


def test_what_comes_from_outside_stays_text() -> None:
    t = texts("en")
    for html in (note(EVIL, "wrong"), empty(EVIL), face_grid([], EVIL), face_card(face(refused=EVIL, accepted=False), t, 0)):
        assert "<script" not in html
        assert "' onerror" not in html
    assert EVIL not in bars({EVIL: 1.0}, t)


def test_an_upload_leaves_no_copy(tmp_path: Path) -> None:
    files = Files(tmp_path / "page", 3600)
    assert stat.S_IMODE(files.folder.stat().st_mode) == 0o700
    given = files.folder / "abc" / "photo.png"
    given.parent.mkdir()
    given.write_bytes(b"12345")
    assert files.take(str(given), 5) == b"12345"
    assert not list(files.folder.iterdir())
    given.parent.mkdir()
    given.write_bytes(b"123456")
    with pytest.raises(UserError, match="more than"):
        files.take(str(given), 5)
    assert not list(files.folder.iterdir())


def test_no_other_file_is_opened(tmp_path: Path) -> None:
    files = Files(tmp_path / "page", 3600)
    other = tmp_path / "secret"
    other.write_text("x")
    (files.folder / "link").symlink_to(other)
    for path in (
        str(other),
        str(files.folder / "../secret"),
        str(files.folder / "link"),
        "",
        None,
        "/etc/passwd",
        str(files.folder),
    ):
        with pytest.raises(UserError, match="no such upload"):
            files.take(path, 100)
    assert other.read_text() == "x"


def test_old_files_are_swept_and_downloads_cannot_be_guessed(tmp_path: Path) -> None:
    files = Files(tmp_path / "page", 60)
    first, second = (Path(files.give("a.zip", b"x")) for _ in range(2))
    assert first.parent != second.parent
    old = time.time() - 61
    os.utime(first, (old, old))
    files.sweep()
    assert (first.exists(), second.exists()) == (False, True)
    left = files.folder / "0123" / "photo.png"
    left.parent.mkdir()
    left.write_bytes(b"x")
    os.utime(left, (old, old))
    files.sweep()
    assert not left.exists()
    files.close()
    assert not files.folder.exists()


def test_a_zip_says_how_its_faces_were_made() -> None:
    with zipfile.ZipFile(io.BytesIO(faces_zip(result(face(3), face(4)), {"morph.webp": b"x"}))) as archive:
        assert archive.namelist() == ["00-fear-000003.png", "01-fear-000004.png", "morph.webp", "manifest.json"]
        manifest = archive.read("manifest.json").decode()
    assert '"ai_generated": true' in manifest
    assert '"command": "mimique sample"' in manifest


def test_a_moving_picture_goes_there_and_back_and_says_what_it_is() -> None:
    film = Image.open(io.BytesIO(film_of(result(*(face(1, colour) for colour in ("red", "green", "blue", "white"))))))
    assert (film.n_frames, film.size) == (6, (256, 256))
    assert b"trainedAlgorithmicMedia" in film.info["xmp"]
