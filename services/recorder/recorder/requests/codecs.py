"""Which codecs and containers fit together, and what is chosen where a request leaves it open. Pure.

Facts: livekit/egress v1.14, `pkg/config/pipeline.go`, `pkg/types/types.go`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from recorder.errors import Code, EgressError, invalid_field
from recorder.requests.encoding import AUDIO_BITRATES, FREQUENCIES, AudioCodec, AudioEncoding, Container
from recorder.requests.fields import listed, span

# The first codec of each container is its default.
_CODECS: dict[Container, tuple[AudioCodec, ...]] = {
    Container.MP4: (AudioCodec.AAC, AudioCodec.OPUS),
    Container.OGG: (AudioCodec.OPUS,),
    Container.MP3: (AudioCodec.MP3,),
    Container.HLS: (AudioCodec.AAC,),
    Container.RTMP: (AudioCodec.AAC,),
}
_WITHOUT_VIDEO = frozenset({Container.OGG, Container.MP3})
_FREQUENCIES: dict[AudioCodec, tuple[int, ...]] = {
    AudioCodec.AAC: FREQUENCIES,
    AudioCodec.MP3: (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
    # Opus always works at 48 kHz; livekit/egress resamples to it as well.
    AudioCodec.OPUS: (),
}
# In kbit/s, from a frequency on: libmp3lame takes the nearest of MP3's own rates.
_MP3_BITRATES = ((32_000, range(32, 321)), (16_000, range(8, 161)), (0, range(8, 65)))


def choose_container(
    audio: AudioCodec | None, others: Collection[Container], *, with_audio: bool, with_video: bool
) -> Container:
    """The container of a file whose request names none: MP4, or without video the first of OGG, MP4 and MP3.

    Args:
        audio: the codec that the request names, if it does.
        others: the containers of the egress' other outputs, which get the same audio.

    Raises:
        EgressError: no container fits.
    """
    if with_audio and audio is not None:
        _check_audio(audio, others)
    candidates = (Container.MP4,) if with_video else (Container.OGG, Container.MP4, Container.MP3)
    for container in candidates:
        if not with_audio or _common_codecs(audio, (container, *others)):
            return container
    text = "no supported file output type is compatible with the selected codecs"
    raise EgressError(Code.INVALID_ARGUMENT, text)


def choose_audio(encoding: AudioEncoding, containers: Collection[Container]) -> AudioEncoding:
    """The encoding with a codec that all containers take. Raises EgressError."""
    if encoding.codec is not None:
        _check_audio(encoding.codec, containers)
    common = _common_codecs(encoding.codec, containers)
    if not common:
        raise EgressError(Code.INVALID_ARGUMENT, "no supported codec is compatible with all outputs")
    defaults = [_CODECS[container][0] for container in containers]
    codec = next((codec for codec in defaults if codec in common), common[0])
    frequency = encoding.frequency
    if allowed := _FREQUENCIES[codec]:
        if frequency not in allowed:
            raise invalid_field("audio_frequency", frequency, f"{listed(allowed)} for {codec.media_type}")
    else:
        frequency = 48_000
    bitrates = _bitrates(codec, frequency)
    if encoding.bitrate not in bitrates:
        allowed_bitrates = f"{span(bitrates)} for {codec.media_type} at {frequency} Hz"
        raise invalid_field("audio_bitrate", encoding.bitrate, allowed_bitrates)
    return replace(encoding, codec=codec, frequency=frequency)


def _common_codecs(audio: AudioCodec | None, containers: Collection[Container]) -> list[AudioCodec]:
    """The codecs that all containers take; of these only `audio` if it is given."""
    return [
        codec
        for codec in AudioCodec
        if audio in {None, codec} and all(codec in _CODECS[container] for container in containers)
    ]


def _check_audio(codec: AudioCodec, containers: Collection[Container]) -> None:
    for container in containers:
        if codec not in _CODECS[container]:
            raise _incompatible(container, codec.media_type)


def _bitrates(codec: AudioCodec, frequency: int) -> range:
    """What the encoder writes in stereo, in kbit/s. Asked for more, it writes as much as it can."""
    match codec:
        case AudioCodec.MP3:
            return next(bitrates for least, bitrates in _MP3_BITRATES if frequency >= least)
        case AudioCodec.AAC:
            # 6144 bits per channel in a frame of 1024 samples (ISO/IEC 14496-3).
            most = 2 * 6144 * frequency // 1024 // 1000
            return range(AUDIO_BITRATES.start, min(most + 1, AUDIO_BITRATES.stop))
        case AudioCodec.OPUS:
            return AUDIO_BITRATES


def check_video(containers: Collection[Container]) -> None:
    """Refuse containers that carry no H.264. Raises EgressError."""
    for container in containers:
        if container in _WITHOUT_VIDEO:
            raise _incompatible(container, "video/h264")


def _incompatible(container: Container, codec: str) -> EgressError:
    return EgressError(Code.INVALID_ARGUMENT, f"format {container} incompatible with codec {codec}")
