"""The outputs of an egress, with their keys in the bucket.

Facts: livekit/egress v1.14, `pkg/config/{output_file,output_segment,output_image,output_stream,urls}.go`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TypeAlias

from livekit.protocol import egress as proto
from livekit.protocol import models

from recorder.errors import EgressError, invalid_field, not_supported
from recorder.requests.encoding import Container
from recorder.requests.fields import listed, span, whole
from recorder.requests.names import ImageNames, Naming, SegmentNames, image_names, segment_names

_DEFAULT_SEGMENT_SECONDS = 4
_SEGMENT_SECONDS = range(1, 61)
_DEFAULT_IMAGE_SECONDS = 10
_IMAGE_SECONDS = range(1, 86_401)
_IMAGE_SIDE = range(16, 4097)
_RTMP_FORM = "rtmp(s)://{host}(/{path})/{app}/{stream_key}"
_RTMP = re.compile(
    r"""
    (?P<scheme> rtmps?:// )
    (?P<user> [^/@\s]* @ )?
    (?P<place> [^/@?\s]+ / (?: [^?\s]* / )? [^/?\s]+ / )  # host, path and app
    (?P<key> [^/?\s]* (?: [?] \S* )? )  # slashes in a query belong to the key
    """,
    re.VERBOSE,
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?=:)")
_OTHER_SCHEMES = frozenset({"mux", "twitch", "srt", "ws", "wss"})
_CONTAINERS = {
    proto.DEFAULT_FILETYPE: None,
    proto.MP4: Container.MP4,
    proto.OGG: Container.OGG,
    proto.EncodedFileType.MP3: Container.MP3,
}
_IMAGE_SUFFIXES = (
    proto.IMAGE_SUFFIX_INDEX,
    proto.IMAGE_SUFFIX_TIMESTAMP,
    proto.IMAGE_SUFFIX_NONE_OVERWRITE,
)


@dataclass(frozen=True)
class FileOutput:
    """One recording in one file. The key of a track egress is empty until the room says what the track is."""

    key: str
    container: Container
    manifest: bool = True


@dataclass(frozen=True)
class SegmentOutput:
    """HLS: MPEG-TS segments of about `seconds`, an EVENT playlist and, if named, a live playlist."""

    names: SegmentNames
    seconds: int = _DEFAULT_SEGMENT_SECONDS
    timestamps: bool = False
    manifest: bool = True


@dataclass(frozen=True)
class ImageOutput:
    """A JPEG every `seconds`. `width` and `height` in pixels; 0: the video's."""

    names: ImageNames
    seconds: int = _DEFAULT_IMAGE_SECONDS
    width: int = 0
    height: int = 0
    suffix: proto.ImageFileSuffix = proto.IMAGE_SUFFIX_INDEX
    manifest: bool = True


@dataclass(frozen=True)
class StreamTarget:
    """An RTMP server's address. It ends with the stream key, a secret. `id` is the user's name for it."""

    url: str = field(repr=False)
    id: str = ""

    @property
    def redacted(self) -> str:
        """The address without its secrets, as LiveKit shows it: `rtmp://host/app/{abc...xyz}`.

        Credentials in the address are left out too. Of what is no RTMP address only the scheme remains.
        """
        found = _RTMP.fullmatch(self.url)
        if found is None:
            scheme = _SCHEME.match(self.url)
            return f"{scheme[0] if scheme else ''}:{{...}}"
        user = "{credentials}@" if found["user"] else ""
        return f"{found['scheme']}{user}{found['place']}{_shortened(found['key'])}"


@dataclass(frozen=True)
class StreamOutput:
    """RTMP servers that get the same stream. Servers can be added and removed while it runs."""

    targets: tuple[StreamTarget, ...]


Output: TypeAlias = FileOutput | SegmentOutput | ImageOutput | StreamOutput


def container_of(output: Output) -> Container | None:
    """What an output's encoded media is written into; None for images."""
    match output:
        case FileOutput():
            return output.container
        case SegmentOutput():
            return Container.HLS
        case StreamOutput():
            return Container.RTMP
        case ImageOutput():
            return None


def container_of_type(file_type: proto.EncodedFileType) -> Container | None:
    """The container that a request names; None: to be chosen by codecs. Raises EgressError."""
    if file_type not in _CONTAINERS:
        raise not_supported(f"file type {file_type}")
    return _CONTAINERS[file_type]


def segment_output(output: proto.SegmentedFileOutput, naming: Naming) -> SegmentOutput:
    """An HLS output of a request. Raises EgressError."""
    if output.protocol not in {proto.DEFAULT_SEGMENTED_FILE_PROTOCOL, proto.HLS_PROTOCOL}:
        raise not_supported(f"segment protocol {output.protocol}")
    if output.filename_suffix not in {proto.INDEX, proto.TIMESTAMP}:
        allowed = listed(proto.SegmentedFileSuffix.keys())
        raise invalid_field("filename_suffix", output.filename_suffix, allowed)
    return SegmentOutput(
        names=segment_names(output.filename_prefix, output.playlist_name, output.live_playlist_name, naming),
        seconds=whole(
            "segment_duration", output.segment_duration, _DEFAULT_SEGMENT_SECONDS, _SEGMENT_SECONDS
        ),
        timestamps=output.filename_suffix == proto.TIMESTAMP,
        manifest=not output.disable_manifest,
    )


def image_output(output: proto.ImageOutput, naming: Naming) -> ImageOutput:
    """An image output of a request. Raises EgressError."""
    if output.filename_suffix not in _IMAGE_SUFFIXES:
        allowed = listed(proto.ImageFileSuffix.keys())
        raise invalid_field("filename_suffix", output.filename_suffix, allowed)
    if output.image_codec not in {models.IC_DEFAULT, models.IC_JPEG}:
        raise not_supported(f"image codec {output.image_codec}")
    for name, given in (("width", output.width), ("height", output.height)):
        if given and given not in _IMAGE_SIDE:
            raise invalid_field(name, given, span(_IMAGE_SIDE))
    return ImageOutput(
        names=image_names(output.filename_prefix, naming),
        seconds=whole("capture_interval", output.capture_interval, _DEFAULT_IMAGE_SECONDS, _IMAGE_SECONDS),
        width=output.width,
        height=output.height,
        suffix=output.filename_suffix,
        manifest=not output.disable_manifest,
    )


def stream_output(output: proto.StreamOutput, *, alone: bool) -> StreamOutput:
    """A stream output of a request. Raises EgressError.

    Addresses can be added later, so it may have none, unless it is the only output (`alone`).
    """
    if output.protocol not in {proto.DEFAULT_PROTOCOL, proto.RTMP}:
        raise not_supported(f"stream protocol {output.protocol}")
    targets = [stream_target(url) for url in output.urls]
    targets += [stream_target(each.url, each.id) for each in output.destinations]
    if not targets and (alone or output.protocol == proto.DEFAULT_PROTOCOL):
        raise invalid_field("stream url", "", _RTMP_FORM)
    if len({target.url for target in targets}) != len(targets):
        raise invalid_field("stream url", "the same address twice", "different addresses")
    return StreamOutput(tuple(targets))


def stream_target(url: str, destination_id: str = "") -> StreamTarget:
    """A server to stream to. Raises EgressError, which does not show the stream key."""
    target = StreamTarget(url, destination_id)
    if _RTMP.fullmatch(url):
        return target
    raise _no_rtmp(target)


def _no_rtmp(target: StreamTarget) -> EgressError:
    scheme = _SCHEME.match(target.url)
    if scheme and scheme[0] in _OTHER_SCHEMES:
        return not_supported(f"{scheme[0]} output")
    return invalid_field("stream url", target.redacted, _RTMP_FORM)


def _shortened(secret: str) -> str:
    """Up to three characters of each end of a secret. Facts: livekit/protocol, `utils/redact.go`."""
    shown = min(3, len(secret) // 3)
    return f"{{{secret[:shown]}...{secret[len(secret) - shown :]}}}"
