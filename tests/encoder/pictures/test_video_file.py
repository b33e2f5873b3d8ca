"""Videos that are written: what a browser needs, and nothing half done."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from configs.cli import UserError
from encoder.pictures.video_file import VideoFile


def frames(count: int, height: int, width: int) -> list[np.ndarray]:
    ramp = np.linspace(0, 255, width).astype(np.uint8)
    return [np.stack([np.tile(np.roll(ramp, 5 * n), (height, 1))] * 3, axis=-1) for n in range(count)]


@pytest.mark.parametrize(("rate", "size"), [(25.0, (90, 160)), (30000 / 1001, (91, 161)), (2.5, (240, 320))])
def test_it_is_h264_that_browsers_play(tmp_path: Path, rate: float, size: tuple[int, int]) -> None:
    path = tmp_path / "clip.mp4"
    video = VideoFile(path, rate, texts={"title": "Mimique", "comment": "added by AI"})
    shown = frames(12, *size)
    for frame in shown:
        video.write(frame)
    assert not path.exists()
    video.finish()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.codec_context.height, stream.codec_context.width) == (size[0] // 2 * 2, size[1] // 2 * 2)
        assert float(stream.average_rate) == pytest.approx(rate, rel=1e-6)
        assert container.metadata["comment"] == "added by AI"
        read = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(read) == 12
    height, width = read[0].shape[:2]
    assert np.abs(read[5].astype(int) - shown[5][:height, :width]).mean() < 6
    data = path.read_bytes()
    assert data.find(b"moov") < data.find(b"mdat")  # plays before all of it is there
    assert list(tmp_path.iterdir()) == [path]


def test_frames_of_another_size_are_fitted_to_the_first(tmp_path: Path) -> None:
    video = VideoFile(tmp_path / "clip.mp4", 10)
    for frame in (*frames(2, 60, 80), *frames(2, 30, 40)):
        video.write(frame)
    video.finish()
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert {(frame.height, frame.width) for frame in container.decode(video=0)} == {(60, 80)}


def test_a_video_without_a_frame_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"clip\.mp4: no frame was written"):
        VideoFile(tmp_path / "clip.mp4", 10).finish()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"clip\.mp4: cannot be written"):
        VideoFile(tmp_path / "no" / "clip.mp4", 10)
