"""What the evaluating process is given on stdin, and what it prints."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from loadtest.result import RecordedMedia
from loadtest.targets.bucket import Bucket


class Order(BaseModel):
    """The file to evaluate, and the objects to delete afterwards.

    Attributes:
        key: of the recording in the bucket.
        delete: keys. An object that does not exist is no error.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bucket: Bucket
    key: str
    delete: tuple[str, ...] = ()


class Report(BaseModel):
    """What the process prints.

    Attributes:
        media: None if the file could not be fetched or read.
        problem: why, in a sentence; else empty.
        not_deleted: why objects could not be deleted, in a sentence; else empty.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    media: RecordedMedia | None = None
    problem: str = ""
    not_deleted: str = ""
