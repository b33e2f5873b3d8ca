"""What a client asks for and gets, under the names of the command line: the same for Python, HTTP and the page."""

from __future__ import annotations

import io
from base64 import b64decode, b64encode
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from configs.loader import StrictModel
from encoder.emotions import EMOTION_NAMES
from generation.dataset.counts import MAX_CELLS
from generation.dataset.order import DatasetRequest
from generation.editing import DEFAULTS
from generation.request import MAX_SEED, Age, FaceRequest, Group, Look
from vqvae.attributes import ATTRIBUTE_NAMES, AttributeName

# PNG bytes; base64 in JSON.
Png = Annotated[
    bytes,
    BeforeValidator(lambda value: b64decode(value, validate=True) if isinstance(value, str) else value),
    PlainSerializer(lambda value: b64encode(value).decode(), return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png"}),
]
# A name, a compound, a mixture as text or by name, or seven probabilities.
Feeling = str | dict[str, float] | tuple[float, ...]
OnePerFace = Annotated[tuple[Feeling, ...], Field(max_length=1024)]
Hands = Literal["no", "yes", "any"]
Eyes = Literal["open", "closed", "any"]
Gender = Literal["female", "male", "any", "even"]
Share = tuple[float, float]
Distribution = dict[str, float]


def _as(name: str, model: type[StrictModel] = FaceRequest, **changes: Any) -> Any:
    """The limits, the words and, unless it is changed, the default of a field of the command line."""
    field = model.model_fields[name]
    made: Any = Field(**{"default": field.default, "description": field.description, **changes})
    made.metadata = [*field.metadata]
    return made


class FacesOrder(StrictModel):
    """Faces to make. Emotion, seed and intensity are for all, or in a list one a face. Omitted: as tuned for the weights."""

    emotion: Feeling | OnePerFace = Field("neutral", examples=["fear", "fear:0.7,surprise:0.3", {"fear": 0.7, "surprise": 0.3}])
    count: int | None = _as("count", default=None, examples=[4])
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | tuple[int, ...] = Field(0, description="face i uses seed + i")
    intensity: float | tuple[float, ...] = Field(1.0, description="0 neutral to 1 full")
    avoid: Feeling | None = Field(None, description="--not: guide away from this emotion, and refuse faces with it")
    avoidance: float = _as("avoidance")
    look: Look | None = _as("look")
    hands: Hands | None = _as("hands")
    eyes: Eyes | None = _as("eyes")
    gender: Gender | None = _as("gender")
    age: Age | None = _as("age")
    group: Group | None = _as("group")
    guidance: float | None = _as("guidance")
    guided: Share | None = _as("guided")
    autoguidance: float | None = _as("autoguidance")
    encoder_guidance: float = _as("encoder_guidance")
    candidates: int = _as("candidates")
    steps: int | None = _as("steps")
    temperature: float | None = _as("temperature")
    cooled: float | None = _as("cooled")
    threshold: float = _as("threshold")
    realism: float | None = _as("realism")
    landmarks: Literal["on", "off"] | None = _as("landmarks")
    as_told: Literal["on", "off"] | None = _as("as_told")
    max_tries: int = _as("max_tries")
    best_of: int = _as("best_of")
    identity: bool = _as("identity")
    mark: bool = Field(False, description="draw a visible mark, AI-generated")


class EditOrder(StrictModel):
    """Another expression for a face in a picture."""

    emotion: Feeling = Field(examples=["happiness"])
    intensity: float = Field(1.0, ge=0, le=1, description="0 neutral to 1 full")
    region: str = Field("brows,eyes,mouth", max_length=100, description="of brows, eyes, nose, mouth, all; or x,y,w,h in pixels")
    face: int = Field(1, ge=1, le=1000, description="which face, 1 is the largest")
    count: int = Field(8, ge=1, le=64, description="proposals")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="proposal i uses seed + i")
    keep: float = Field(2.0, ge=0, le=100, description="how much old shapes are preferred")
    avoid: Feeling | None = Field(None, description="--not: guide away from this emotion")
    avoidance: float = _as("avoidance")
    look: Look | None = _as("look")
    hands: Hands | None = _as("hands")
    eyes: Eyes | None = _as("eyes")
    gender: Gender | None = _as("gender", default=DEFAULTS["gender"])
    age: Age | None = _as("age", default=DEFAULTS["age"])
    group: Group | None = _as("group", default=DEFAULTS["group"])
    guidance: float | None = _as("guidance", default=DEFAULTS["guidance"])
    autoguidance: float | None = _as("autoguidance", default=DEFAULTS["autoguidance"])
    steps: int | None = _as("steps")
    temperature: float | None = _as("temperature", default=DEFAULTS["temperature"])
    threshold: float = _as("threshold")
    whole: Literal["best", "all"] = Field("best", description="which proposals come as whole pictures, besides close up")


class ReadOrder(StrictModel):
    """Faces to read in a picture or a video."""

    min_size: int = Field(24, ge=1, le=10_000, description="leave out smaller faces, in pixels")
    largest: bool = Field(False, description="only the largest face")
    crops: Literal["auto", "yes", "no"] = Field("auto", description="whether the picture is a cropped face, to be read whole")
    explain: bool = Field(False, description="add pictures of what spoke for the emotion, by Grad-CAM; not of videos")
    every: int = Field(1, ge=1, le=10_000, description="one in N frames of a video")


class DatasetOrder(StrictModel):
    """A balanced, verified, labelled set to make."""

    per_emotion: int | None = Field(None, ge=1, description="faces of each of the seven emotions")
    counts: dict[str, int] | None = Field(
        None,
        max_length=MAX_CELLS,
        description="faces of some emotions, or of some people: fear, or fear/white/female",
        examples=[{"disgust": 20, "fear": 10}],
    )
    each: tuple[AttributeName, ...] = Field(
        (),
        max_length=len(ATTRIBUTE_NAMES),
        description="these counts of every class of an attribute, or of several; age from 3-9 up",
    )
    seed: int = _as("seed", DatasetRequest)
    valid: float = _as("valid_share", DatasetRequest)
    format: Literal["folders", "parquet"] = _as("form", DatasetRequest)
    least_difference: float = _as("least_difference", DatasetRequest)
    mark: bool = _as("mark", DatasetRequest)
    look: Look | None = _as("look")
    hands: Hands | None = _as("hands")
    eyes: Eyes | None = _as("eyes")
    gender: Gender | None = _as("gender")
    age: Age | None = _as("age")
    group: Group | None = _as("group")
    guidance: float | None = _as("guidance")
    steps: int | None = _as("steps")
    temperature: float | None = _as("temperature")
    threshold: float = _as("threshold")
    realism: float | None = _as("realism")

    @property
    def wanted(self) -> dict[str, int]:
        """Faces by emotion, before ``each``; empty where the order names none."""
        return dict(self.counts) if self.counts else dict.fromkeys(EMOTION_NAMES, self.per_emotion) if self.per_emotion else {}


class Result(StrictModel):
    """What every result says.

    Attributes:
        command, python: that make it again; of an upload, with ``photo.jpg`` for its name.
    """

    model_config = ConfigDict(protected_namespaces=())
    command: str
    python: str
    seconds: float


def opened(png: bytes) -> Any:
    """A PNG of a result as a PIL image; ``info`` holds what the file says of itself."""
    from PIL import Image

    image = Image.open(io.BytesIO(png))
    image.load()
    return image


class MadeFace(StrictModel):
    """One face and what is known of it.

    Attributes:
        distribution: the encoder's seven probabilities. ``match``: with what was asked. ``accepted``: by all who were asked.
        realism: share of real faces that look less real; None where the critic was not asked. ``seen``: probabilities of
            hands before the face and of closed eyes; None where the probe was not asked.
    """

    png: Png
    seed: int
    tries: int
    top: str
    match: float
    distribution: Distribution
    accepted: bool
    refused: str | None = None
    realism: float | None = None
    seen: dict[str, float] | None = None
    told: dict[str, str | None] = Field(default_factory=dict)
    asked: Distribution

    @property
    def picture(self) -> Any:
        """The face as a PIL image."""
        return opened(self.png)


class FacesResult(Result):
    """The faces that were accepted, fewer than asked where tries or time ran out; of a coarse view all that were drawn."""

    faces: tuple[MadeFace, ...]
    asked: int
    tried: int
    complete: bool
    verified: bool
    refused: dict[str, int] = Field(default_factory=dict)
    weights: dict[str, str]


class Proposal(StrictModel):
    """An edited picture.

    Attributes:
        close_up: the head around the face, level. ``png``: the whole picture; None where the order wants only the best one.
        judge: the second judge's probabilities. ``similarity``: of the second judge's features, before and after.
        same_person, identity_distance: by the embedder, where there is one.
        change: mean change of luma inside the region, as a share of the full range.
    """

    close_up: Png
    png: Png | None = None
    seed: int
    intensity: float
    top: str
    match: float
    accepted: bool
    distribution: Distribution
    judge: Distribution | None = None
    similarity: float | None = None
    same_person: bool | None = None
    identity_distance: float | None = None
    change: float

    @property
    def picture(self) -> Any:
        """The whole picture as a PIL image, or None; :func:`opened` shows a close-up."""
        return None if self.png is None else opened(self.png)


class EditResult(Result):
    """Proposals, the best first; ``before`` is the face as it was. ``box``: left, top, width, height in the picture.

    ``asked``: the distribution that the face was to show.
    """

    asked: Distribution
    before: Proposal
    proposals: tuple[Proposal, ...]
    box: tuple[int, int, int, int]
    weights: dict[str, str]


class ReadFace(StrictModel):
    """One face that was read, or, where ``problem`` is set, a picture or frame without one."""

    frame: int | None = None
    time: float | None = None
    face: int | None = None
    box: tuple[int, int, int, int] | None = None
    score: float | None = None
    emotion: str | None = None
    distribution: Distribution | None = None
    whole_picture: bool | None = None
    explained: Png | None = None
    problem: str | None = None


class ReadResult(Result):
    """The faces of a picture, the largest first, or of a video frame by frame. ``rate``: frames a second of those read."""

    faces: tuple[ReadFace, ...]
    width: int | None = None
    height: int | None = None
    rate: float | None = None


class JobState(StrictModel):
    """How far a data set is; ``seconds_left`` where that can be said."""

    id: str
    state: Literal["waiting", "running", "done", "cancelled", "failed"]
    done: int
    asked: int
    seconds: float
    seconds_left: float | None = None
    problem: str | None = None
    complete: bool | None = None
    command: str
    python: str
