"""Frames of videos with their times; damaged files and things that are no video."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from configs.cli import UserError
from encoder.pictures.sources import find_files, view_files
from encoder.pictures.videos import BadVideo, Video, looks_like_video

CODECS = {"clip.avi": "MJPG", "clip.mp4": "mp4v", "clip.mkv": "mp4v"}


def write_video(path: Path, frames: int = 30, rate: float = 10.0) -> Path:
    """Frame k is grey of level 5 + 8k in its left half and red in its right."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*CODECS[path.name]), rate, (64, 48))
    for number in range(frames):
        frame = np.full((48, 64, 3), 5 + 8 * number, np.uint8)
        frame[:, 32:] = (0, 0, 200)  # blue, green, red
        writer.write(frame)
    writer.release()
    return path


@pytest.mark.parametrize("name", CODECS)
def test_frames_come_in_order_with_number_time_and_colours(name: str, tmp_path: Path) -> None:
    video = Video(write_video(tmp_path / name))
    frames = list(video)
    assert [frame.index for frame in frames] == list(range(30))
    assert np.allclose([frame.time for frame in frames], np.arange(30) / 10, atol=0.01)
    assert all(abs(float(frame.pixels[:, :28].mean()) - (5 + 8 * frame.index)) < 6 for frame in frames)
    red = frames[0].pixels[:, 40:].reshape(-1, 3).mean(axis=0)
    assert red[0] > 150 > 60 > red[2]
    assert video.problem is None
    assert video.rate == pytest.approx(10)


def test_one_in_n_frames_by_step_or_by_rate(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi")
    assert [frame.index for frame in Video(path, every=7)] == [0, 7, 14, 21, 28]
    by_rate = Video(path, rate=2.5)
    assert len(by_rate) == 8
    assert [frame.index for frame in by_rate] == [0, 4, 8, 12, 16, 20, 24, 28]
    assert by_rate.rate == pytest.approx(2.5)
    assert [frame.index for frame in Video(path, rate=1000)] == list(range(30))


def test_a_truncated_video_gives_its_frames_and_then_says_so(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    views = list(view_files([path]))
    frames = [view for view in views if view.picture is not None]
    assert 0 < len(frames) < 28
    assert [view.frame for view in frames] == list(range(len(frames)))
    assert views[-1].problem == f"truncated or damaged: {len(frames)} of 30 frames can be read"
    assert [view.problem for view in frames] == [None] * len(frames)


def test_a_video_cut_before_its_index_cannot_be_opened(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(BadVideo, match="cannot be opened as a video"):
        Video(path)
    assert "cannot be opened" in (next(iter(view_files([path]))).problem or "")


def test_a_playlist_is_never_opened_as_a_video(tmp_path: Path) -> None:
    for number, content in enumerate((b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", b"ffconcat version 1.0\n", b"G" * 10)):
        path = tmp_path / f"list{number}.mp4"
        path.write_bytes(content)
        assert not looks_like_video(content)
        assert next(iter(view_files([path]))).problem == "neither a picture nor a video in a known format"


def test_huge_frames_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("encoder.pictures.videos.MAX_FRAME_PIXELS", 1000)
    with pytest.raises(BadVideo, match="frames of 64x48 pixels"):
        Video(write_video(tmp_path / "clip.avi"))


def test_a_camera_that_is_not_there_is_one_line() -> None:
    with pytest.raises(UserError, match="camera 97 cannot be opened"):
        Video(97)


def test_folders_give_pictures_and_videos_at_any_depth_and_patterns_their_matches(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.PNG", "notes.txt", ".hidden.jpg", "deep/er/c.mp4", ".git/d.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_files([tmp_path, tmp_path / "b.jpg", tmp_path / "absent.jpg"])
    names = [Path(name).relative_to(tmp_path).as_posix() for name in found.files]
    assert names == ["a.PNG", "b.jpg", "deep/er/c.mp4", "absent.jpg"]
    assert found.ignored == 1
    assert find_files([f"{tmp_path}/**/*.mp4"]).files == (str(tmp_path / "deep/er/c.mp4"),)
    with pytest.raises(UserError, match="no file matches"):
        find_files([f"{tmp_path}/*.webp"])
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="holds no picture and no video"):
        find_files([tmp_path / "none"])


def test_a_file_whose_name_holds_pattern_characters_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "img%03d [1].jpg").touch()
    assert find_files([tmp_path / "img%03d [1].jpg"]).files == (str(tmp_path / "img%03d [1].jpg"),)
