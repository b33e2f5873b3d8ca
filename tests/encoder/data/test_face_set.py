"""One split of faces in memory: subsets, distributions, labels as data sets write them, twins."""

import numpy as np
import pytest

from configs.cli import UserError
from encoder.data.duplicates import count_duplicates, twins
from encoder.data.face_set import FaceCollector, FaceSet, parse_label
from encoder.emotions import CONTEMPT, EMOTION_NAMES, Emotion


def faces_of(images: np.ndarray, labels: list[int], votes: list[list[int] | None] | None = None) -> FaceSet:
    collector = FaceCollector("made", size=images.shape[1], on_error="refuse")
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        collector.add(
            image,
            f"face{index}",
            place=f"made {index}",
            label=None if label < 0 else label,
            votes=None if votes is None else votes[index],
            identity=f"person{index}",
        )
    return collector.finish()


def random_images(rng: np.random.Generator, count: int, size: int = 8) -> np.ndarray:
    return rng.integers(0, 256, (count, size, size), dtype=np.uint8)


def test_a_subset_keeps_every_column_with_its_face(rng: np.random.Generator) -> None:
    images = random_images(rng, 6)
    faces = faces_of(images, [0, 1, 2, 3, 4, 5], [[0, 10] + [0] * 8] * 6)
    order = np.array([4, 0, 5])
    part = faces.subset(order)
    assert np.array_equal(part.images, images[order])
    assert part.labels.tolist() == [4, 0, 5]
    assert part.ids == ("face4", "face0", "face5")
    assert part.identities.tolist() == ["person4", "person0", "person5"]
    assert part.vote_counts.shape == (3, 10)
    assert faces.subset(faces.labels == 2).ids == ("face2",)
    assert len(faces.subset([])) == 0


def test_distributions_take_votes_then_the_label_then_nothing(rng: np.random.Generator) -> None:
    fear_and_contempt = [0, 0, 0, 0, 0, 0, 4, 4, 2, 0]
    only_contempt = [0, 0, 0, 0, 0, 0, 0, 9, 0, 1]
    faces = faces_of(random_images(rng, 4), [0, 1, 2, -1], [fear_and_contempt, only_contempt, None, None])
    assert faces.votes[0, CONTEMPT] == pytest.approx(0.5)
    seven = faces.distributions()
    assert seven.dtype == np.float32
    assert seven[0].tolist() == np.eye(7)[Emotion.FEAR].tolist()
    assert seven[1].tolist() == np.eye(7)[Emotion.DISGUST].tolist()
    assert seven[2].tolist() == np.eye(7)[Emotion.FEAR].tolist()
    assert not seven[3].any()
    assert faces.majority().tolist() == [-1, CONTEMPT, -1, -1]


def test_without_votes_there_is_no_majority(rng: np.random.Generator) -> None:
    assert faces_of(random_images(rng, 2), [0, 1]).majority().tolist() == [-1, -1]


@pytest.mark.parametrize("bad", [[0, 1, 2], [0]])
def test_columns_of_other_lengths_are_refused(rng: np.random.Generator, bad: list[int]) -> None:
    faces = faces_of(random_images(rng, 2), [0, 1])
    with pytest.raises(ValueError, match="2 ids"):
        FaceSet(faces.images, np.array(bad, np.int8), faces.votes, faces.ids, "made")


@pytest.mark.parametrize("emotion", Emotion)
def test_labels_are_read_in_all_their_spellings(emotion: Emotion) -> None:
    name = EMOTION_NAMES[emotion]
    for text in (str(int(emotion)), name, name.upper(), f" {name} ", f"{int(emotion)}_{name}", f"0{int(emotion)} - {name}"):
        assert parse_label(text) == emotion


@pytest.mark.parametrize("text", ["7", "-1", "10", "00", "", "joy2", "3.0", "9" * 10_000, "²"])
def test_other_labels_are_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse_label(text)


def test_twins_are_pixel_identical_faces_only(rng: np.random.Generator) -> None:
    images = random_images(rng, 5)
    other = images[[1, 3]].copy()
    other[1, 0, 0] ^= 1
    found = twins(faces_of(images, [0] * 5), faces_of(other, [1, 1]))
    assert found.dtype == bool
    assert found.tolist() == [False, True, False, False, False]
    assert twins(faces_of(images[:0], []), faces_of(other, [1, 1])).shape == (0,)


def test_duplicates_are_counted_within_and_across_splits_with_their_labels(rng: np.random.Generator) -> None:
    a, b, c, d = random_images(rng, 4)
    train = faces_of(np.stack([a, a, b, c, c]), [0, 0, 1, 2, 3])
    test = faces_of(np.stack([a, b, c, d]), [0, 4, 2, 5])
    found = {(n.split, n.other): (n.faces, n.agreeing, n.differing) for n in count_duplicates({"train": train, "test": test})}
    assert found == {
        ("train", "train"): (4, 2, 2),
        ("train", "test"): (5, 3, 2),
        ("test", "train"): (3, 1, 2),
        ("test", "test"): (0, 0, 0),
    }


@pytest.mark.parametrize("size", [0, -1, 100_000])
def test_an_absurd_size_is_refused(size: int) -> None:
    with pytest.raises(UserError, match="size of faces"):
        FaceCollector("made", size=size, on_error="refuse")
