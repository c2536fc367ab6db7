"""The outputs that a request names, in one form for all kinds of requests.

Facts: livekit/egress v1.14, `pkg/config/output.go`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from livekit.protocol import egress as proto

from recorder.errors import invalid_field, not_supported
from recorder.requests.kinds import EgressRequest, EncodedRequest
from recorder.requests.storage import StorageMessage

OutputMessage: TypeAlias = (
    proto.EncodedFileOutput
    | proto.DirectFileOutput
    | proto.FileOutput
    | proto.SegmentedFileOutput
    | proto.ImageOutput
    | proto.StreamOutput
)
_AT_MOST_ONE: dict[str, tuple[type[OutputMessage], ...]] = {
    "file": (proto.EncodedFileOutput, proto.FileOutput),
    "stream": (proto.StreamOutput,),
    "segments": (proto.SegmentedFileOutput,),
}
_NO_STORAGE = (proto.StreamOutput, proto.FileOutput)


@dataclass(frozen=True)
class WantedOutput:
    """An output as a request describes it. `storage` may name its bucket; None: the configured one."""

    message: OutputMessage
    storage: StorageMessage | None = None


def wanted_outputs(message: EgressRequest) -> tuple[WantedOutput, ...]:
    """The outputs of a request. Raises EgressError if there is none, or too many of a kind."""
    match message:
        case proto.StartEgressRequest():
            found = tuple(_unified(message))
        case proto.TrackEgressRequest():
            found = tuple(_track(message))
        case _:
            found = tuple(_encoded(message))
    if not found:
        raise invalid_field("output", "", "at least one output")
    for name, kinds in _AT_MOST_ONE.items():
        count = sum(isinstance(each.message, kinds) for each in found)
        if count > 1:
            raise invalid_field(f"multiple {name} outputs", f"{count} outputs", "at most one")
    return found


def _encoded(message: EncodedRequest) -> Iterator[WantedOutput]:
    """The outputs of the first API. A deprecated single output counts where there is no list of its kind."""
    deprecated = _deprecated(message)
    for kind, listed in (
        (proto.EncodedFileOutput, message.file_outputs),
        (proto.StreamOutput, message.stream_outputs),
        (proto.SegmentedFileOutput, message.segment_outputs),
        (proto.ImageOutput, message.image_outputs),
    ):
        outputs: Sequence[OutputMessage] = listed
        if not outputs and isinstance(deprecated, kind):
            outputs = [deprecated]
        for output in outputs:
            # Outputs of the first API name their buckets themselves.
            yield WantedOutput(output, None if isinstance(output, _NO_STORAGE) else output)


def _deprecated(
    message: EncodedRequest,
) -> proto.EncodedFileOutput | proto.StreamOutput | proto.SegmentedFileOutput | None:
    if isinstance(message, proto.ParticipantEgressRequest):
        return None
    match message.WhichOneof("output"):
        case "file":
            return message.file
        case "stream":
            return message.stream
        case "segments":
            return message.segments
        case _:
            return None


def _track(message: proto.TrackEgressRequest) -> Iterator[WantedOutput]:
    match message.WhichOneof("output"):
        case "file":
            yield WantedOutput(message.file, message.file)
        case "websocket_url":
            raise not_supported("websocket output")


def _unified(message: proto.StartEgressRequest) -> Iterator[WantedOutput]:
    """The outputs of the unified API. An output's own storage replaces the request's."""
    default = message.storage if message.HasField("storage") else None
    for each in message.outputs:
        storage = each.storage if each.HasField("storage") else default
        match each.WhichOneof("config"):
            case "file":
                yield WantedOutput(each.file, storage)
            case "stream":
                yield WantedOutput(each.stream)
            case "segments":
                yield WantedOutput(each.segments, storage)
            case "images":
                yield WantedOutput(each.images, storage)
            case _:
                raise invalid_field("outputs.config", "", "file, stream, segments, images")
