"""How audio and video are encoded: presets and advanced options of a request, as livekit/egress reads them.

Facts: livekit/egress v1.14, `pkg/config/encoding.go`, `pkg/types/types.go`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from livekit.protocol import egress as proto
from livekit.protocol import models

from recorder.errors import invalid_field, not_supported
from recorder.requests.fields import listed, span, whole


class AudioCodec(StrEnum):
    """Audio codecs that can be written, by FFmpeg's names of their encoders."""

    AAC = "aac"
    OPUS = "libopus"
    MP3 = "libmp3lame"

    @property
    def media_type(self) -> str:
        """The name that the API's errors use."""
        return _MEDIA_TYPES[self]


_MEDIA_TYPES = {
    AudioCodec.AAC: "audio/aac",
    AudioCodec.OPUS: "audio/opus",
    AudioCodec.MP3: "audio/mpeg",
}


class Profile(StrEnum):
    """Profiles of H.264."""

    BASELINE = "baseline"
    MAIN = "main"
    HIGH = "high"


class Container(StrEnum):
    """What encoded media is written into, by its media type (S3's Content-Type)."""

    MP4 = "video/mp4"
    OGG = "audio/ogg"
    MP3 = "audio/mpeg"
    HLS = "application/x-mpegurl"
    RTMP = "rtmp"


@dataclass(frozen=True)
class AudioEncoding:
    """`bitrate` in kbit/s; `frequency` in Hz. `codec` is None while the outputs may choose it."""

    codec: AudioCodec | None = None
    bitrate: int = 128
    frequency: int = 44_100


@dataclass(frozen=True)
class VideoEncoding:
    """`bitrate` in kbit/s; `framerate` in Hz; `key_frame_interval` in seconds, None: the encoder's own."""

    width: int = 1280
    height: int = 720
    framerate: int = 30
    bitrate: int = 3000
    profile: Profile = Profile.MAIN
    key_frame_interval: float | None = None


@dataclass(frozen=True)
class Encoding:
    """How an egress is encoded."""

    audio: AudioEncoding = AudioEncoding()
    video: VideoEncoding = VideoEncoding()


_PRESETS = {
    proto.H264_720P_30: (1280, 720, 30, 3000),
    proto.EncodingOptionsPreset.H264_720P_60: (1280, 720, 60, 4500),
    proto.H264_1080P_30: (1920, 1080, 30, 4500),
    proto.H264_1080P_60: (1920, 1080, 60, 6000),
    proto.PORTRAIT_H264_720P_30: (720, 1280, 30, 3000),
    proto.PORTRAIT_H264_720P_60: (720, 1280, 60, 4500),
    proto.PORTRAIT_H264_1080P_30: (1080, 1920, 30, 4500),
    proto.PORTRAIT_H264_1080P_60: (1080, 1920, 60, 6000),
}
_AUDIO_CODECS = {
    models.AudioCodec.DEFAULT_AC: None,
    models.AudioCodec.OPUS: AudioCodec.OPUS,
    models.AudioCodec.AAC: AudioCodec.AAC,
    models.AudioCodec.AC_MP3: AudioCodec.MP3,
}
_PROFILES = {
    models.VideoCodec.DEFAULT_VC: Profile.MAIN,
    models.VideoCodec.H264_BASELINE: Profile.BASELINE,
    models.VideoCodec.H264_MAIN: Profile.MAIN,
    models.VideoCodec.H264_HIGH: Profile.HIGH,
}
# In Hz. Some codecs take fewer of them.
FREQUENCIES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
# In kbit/s. Some codecs take fewer of them.
AUDIO_BITRATES = range(6, 511)
_SIDE = range(16, 4097)
_FRAMERATE = range(1, 61)
_VIDEO_BITRATE = range(10, 50_001)
# A track egress names no encoding. Its bitrate follows from its number of pixels, as that of the presets.
_LONGEST_TRACK_SIDE = 1920
_LEAST_TRACK_BITRATE = 300
_MOST_TRACK_BITRATE = 4500
# Depths of livekit/egress' X server. Pictures here always have 24 bits.
_DEPTHS = (8, 16, 24)
# libx264 allows more, but players cannot seek then.
_LONGEST_KEY_FRAME_INTERVAL = 60.0


def of_preset(preset: proto.EncodingOptionsPreset) -> Encoding:
    """A preset's encoding. Raises EgressError."""
    found = _PRESETS.get(preset)
    if found is None:
        raise not_supported("passthrough preset" if preset == proto.PASSTHROUGH else f"preset {preset}")
    width, height, framerate, bitrate = found
    return Encoding(video=VideoEncoding(width=width, height=height, framerate=framerate, bitrate=bitrate))


def of_advanced(options: proto.EncodingOptions) -> Encoding:
    """The encoding that advanced options describe; 0 is the default of a field. Raises EgressError."""
    if options.depth not in {0, *_DEPTHS}:
        raise invalid_field("depth", options.depth, listed(_DEPTHS))
    if options.depth not in {0, 24}:
        raise not_supported(f"depth {options.depth}")
    for name in ("audio_quality", "video_quality"):
        if getattr(options, name):
            raise not_supported(name)
    if options.audio_codec not in _AUDIO_CODECS:
        raise not_supported(f"audio codec {options.audio_codec}")
    if options.video_codec not in _PROFILES:
        raise not_supported(f"video codec {options.video_codec}")
    default = Encoding()
    audio = AudioEncoding(
        codec=_AUDIO_CODECS[options.audio_codec],
        bitrate=whole("audio_bitrate", options.audio_bitrate, default.audio.bitrate, AUDIO_BITRATES),
        frequency=options.audio_frequency or default.audio.frequency,
    )
    if audio.frequency not in FREQUENCIES:
        raise invalid_field("audio_frequency", audio.frequency, listed(FREQUENCIES))
    video = VideoEncoding(
        width=_side("width", options.width, default.video.width),
        height=_side("height", options.height, default.video.height),
        framerate=whole("framerate", options.framerate, default.video.framerate, _FRAMERATE),
        bitrate=whole("video_bitrate", options.video_bitrate, default.video.bitrate, _VIDEO_BITRATE),
        profile=_PROFILES[options.video_codec],
    )
    interval = options.key_frame_interval
    if interval:
        if not 0 < interval <= _LONGEST_KEY_FRAME_INTERVAL:
            allowed = f"more than 0 and at most {_LONGEST_KEY_FRAME_INTERVAL:g} seconds"
            raise invalid_field("key_frame_interval", interval, allowed)
        video = replace(video, key_frame_interval=interval)
    return Encoding(audio, video)


def of_track(width: int, height: int) -> Encoding:
    """The encoding of one track of this size in pixels; the default one if the size is not known.

    A track larger than 1080p is scaled down: no request chose its size, and encoding it costs much CPU.
    """
    default = Encoding()
    if not width or not height:
        return default
    scale = min(1.0, _LONGEST_TRACK_SIDE / max(width, height))
    sides = [max(_SIDE.start, round(side * scale) // 2 * 2) for side in (width, height)]
    share = sides[0] * sides[1] / (default.video.width * default.video.height)
    bitrate = round(min(max(default.video.bitrate * share, _LEAST_TRACK_BITRATE), _MOST_TRACK_BITRATE))
    return replace(default, video=replace(default.video, width=sides[0], height=sides[1], bitrate=bitrate))


def _side(name: str, given: int, default: int) -> int:
    if given == 0:
        return default
    if given not in _SIDE or given % 2:
        raise invalid_field(name, given, f"an even number from {span(_SIDE)}")
    return given
