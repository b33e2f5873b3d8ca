"""What an operator may set of an engine: which networks, how much of one client, how long."""

from __future__ import annotations

from pydantic import Field

from configs.loader import StrictModel
from encoder.detection.registry import DEFAULT_DETECTOR

MIB = 2**20


class EngineSettings(StrictModel):
    """Networks and limits of a :class:`generation.service.engine.Engine`."""

    weights: str = Field("pretrained", description="folder with encoder, tokenizer, prior")
    encoder: str | None = Field(None, description="another encoder")
    judge: str | None = Field("pretrained/judge", description="second judge of edits")
    embedder: str | None = Field(None, description="measures identity in edits: dlib or deepface:Facenet512")
    detector: str = Field(DEFAULT_DETECTOR, description="finds faces")
    device: str = Field("auto", description="auto, cpu, cuda")
    batching: bool = Field(True, description="draw faces of several clients together")
    batch_size: int = Field(16, ge=1, le=1024, description="faces drawn together")
    most_faces: int = Field(64, ge=1, description="faces of one order")
    most_tries: int = Field(64, ge=1, description="draws of one face")
    most_proposals: int = Field(16, ge=1, description="proposals of one edit")
    most_waiting: int = Field(8, ge=1, description="orders of one client that wait")
    most_waiting_address: int = Field(64, ge=1, description="orders that wait of all clients of one address")
    most_waiting_all: int = Field(256, ge=1, description="orders of all clients that wait")
    seconds: float = Field(120, gt=0, description="after which an order ends with what it has")
    kept_seconds: float = Field(3600, gt=0, description="after which a data set is deleted")
    most_set: int = Field(10_000, ge=1, description="faces of a data set")
    most_jobs: int = Field(4, ge=1, description="data sets of one client that are kept")
    picture_bytes: int = Field(16 * MIB, ge=1, description="of an uploaded picture")
    picture_pixels: int = Field(48_000_000, ge=1, description="of an uploaded picture")
    video_bytes: int = Field(64 * MIB, ge=1, description="of an uploaded video")
    video_seconds: float = Field(60, gt=0, description="of an uploaded video")
    memory_mib: int = Field(0, ge=0, description="memory above which orders are turned away; 0 is no limit")
    mark_edits: bool = Field(True, description="draw a visible mark on edited photographs")
