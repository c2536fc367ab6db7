"""Presets, advanced options, and the codecs that suit an egress' outputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol import egress as proto
from livekit.protocol import models

from recorder.errors import Code, EgressError
from recorder.requests.codecs import check_video, choose_audio, choose_container
from recorder.requests.encoding import (
    FREQUENCIES,
    AudioCodec,
    AudioEncoding,
    Container,
    Encoding,
    Profile,
    VideoEncoding,
    of_advanced,
    of_preset,
)

AAC, OPUS, MP3 = AudioCodec
MP4, OGG, MP3_FILE, HLS, RTMP = Container


@pytest.mark.parametrize(
    ("preset", "width", "height", "framerate", "bitrate"),
    [
        (proto.H264_720P_30, 1280, 720, 30, 3000),
        (proto.EncodingOptionsPreset.H264_720P_60, 1280, 720, 60, 4500),
        (proto.H264_1080P_30, 1920, 1080, 30, 4500),
        (proto.H264_1080P_60, 1920, 1080, 60, 6000),
        (proto.PORTRAIT_H264_720P_30, 720, 1280, 30, 3000),
        (proto.PORTRAIT_H264_720P_60, 720, 1280, 60, 4500),
        (proto.PORTRAIT_H264_1080P_30, 1080, 1920, 30, 4500),
        (proto.PORTRAIT_H264_1080P_60, 1080, 1920, 60, 6000),
    ],
)
def test_presets_are_those_of_the_protocol(
    preset: proto.EncodingOptionsPreset, width: int, height: int, framerate: int, bitrate: int
) -> None:
    found = of_preset(preset)
    video = found.video
    assert (video.width, video.height, video.framerate, video.bitrate) == (width, height, framerate, bitrate)
    assert (video.profile, found.audio.bitrate, found.audio.frequency) == (Profile.MAIN, 128, 44100)


@pytest.mark.parametrize(("preset", "text"), [(proto.PASSTHROUGH, "passthrough preset"), (99, "preset 99")])
def test_other_presets_are_refused(preset: Any, text: str) -> None:
    with pytest.raises(EgressError, match=f"^{text} is not yet supported$"):
        of_preset(preset)


def test_advanced_options_are_honoured() -> None:
    options = proto.EncodingOptions(
        width=640,
        height=360,
        depth=24,
        framerate=15,
        audio_codec=models.AC_MP3,
        audio_bitrate=64,
        audio_frequency=48000,
        video_codec=models.H264_HIGH,
        video_bitrate=900,
        key_frame_interval=2.5,
    )
    video = VideoEncoding(640, 360, 15, 900, Profile.HIGH, 2.5)
    assert of_advanced(options) == Encoding(AudioEncoding(MP3, 64, 48000), video)


def test_options_that_are_left_out_have_defaults() -> None:
    assert of_advanced(proto.EncodingOptions()) == Encoding()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"width": 641}, "width is 641, allowed is an even number from 16 to 4096"),
        ({"width": -2}, "width is -2"),
        ({"height": 8192}, "height is 8192"),
        ({"framerate": 120}, "framerate is 120, allowed is 1 to 60"),
        ({"video_bitrate": 5}, "video_bitrate is 5, allowed is 10 to 50000"),
        ({"audio_bitrate": 1000}, "audio_bitrate is 1000, allowed is 6 to 510"),
        ({"audio_frequency": 44000}, "audio_frequency is 44000, allowed is 8000, 11025"),
        ({"key_frame_interval": -1.0}, "key_frame_interval is -1.0, allowed is more than 0"),
        ({"key_frame_interval": float("nan")}, "key_frame_interval is nan"),
        ({"key_frame_interval": 61}, "key_frame_interval is 61.0"),
        ({"depth": 7}, "depth is 7, allowed is 8, 16, 24"),
        ({"depth": 16}, "depth 16 is not yet supported"),
        ({"audio_quality": 1}, "audio_quality is not yet supported"),
        ({"video_quality": 1}, "video_quality is not yet supported"),
        ({"video_codec": models.VideoCodec.VP8}, "video codec 4 is not yet supported"),
        ({"audio_codec": 9}, "audio codec 9 is not yet supported"),
    ],
)
def test_options_that_cannot_be_honoured_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(EgressError) as refused:
        of_advanced(proto.EncodingOptions(**options))
    assert text in str(refused.value)
    assert refused.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("audio", "others", "with_audio", "with_video", "container"),
    [
        (None, [], True, True, MP4),
        (OPUS, [], True, True, MP4),
        (None, [], False, True, MP4),
        (None, [], True, False, OGG),
        (AAC, [], True, False, MP4),
        (MP3, [], True, False, MP3_FILE),
        # The other outputs take AAC only.
        (None, [HLS], True, False, MP4),
        (None, [RTMP], True, False, MP4),
    ],
)
def test_the_container_of_a_file_suits_its_codecs(
    audio: AudioCodec | None,
    others: list[Container],
    with_audio: bool,
    with_video: bool,
    container: Container,
) -> None:
    assert choose_container(audio, others, with_audio=with_audio, with_video=with_video) is container


def test_no_container_takes_mp3_with_video() -> None:
    with pytest.raises(EgressError, match="no supported file output type is compatible"):
        choose_container(MP3, [], with_audio=True, with_video=True)


def test_a_named_codec_that_another_output_does_not_take_is_named() -> None:
    with pytest.raises(EgressError) as refused:
        choose_container(MP3, [HLS], with_audio=True, with_video=False)
    assert str(refused.value) == "format application/x-mpegurl incompatible with codec audio/mpeg"


@pytest.mark.parametrize(
    ("containers", "named", "codec"),
    [
        ([MP4], None, AAC),
        ([MP4], OPUS, OPUS),
        ([OGG], None, OPUS),
        ([MP3_FILE], None, MP3),
        ([MP4, HLS, RTMP], None, AAC),
        ([OGG, MP4], None, OPUS),
        ([MP4, OGG], None, OPUS),
    ],
)
def test_the_audio_codec_suits_all_outputs(
    containers: list[Container], named: AudioCodec | None, codec: AudioCodec
) -> None:
    assert choose_audio(AudioEncoding(named), containers).codec is codec


@pytest.mark.parametrize(
    ("containers", "named", "text"),
    [
        ([OGG, HLS], None, "no supported codec is compatible with all outputs"),
        ([HLS], OPUS, "format application/x-mpegurl incompatible with codec audio/opus"),
        ([OGG], AAC, "format audio/ogg incompatible with codec audio/aac"),
    ],
)
def test_outputs_without_a_common_codec_are_refused(
    containers: list[Container], named: AudioCodec | None, text: str
) -> None:
    with pytest.raises(EgressError) as refused:
        choose_audio(AudioEncoding(named), containers)
    assert str(refused.value) == text


def test_opus_is_always_48_kilohertz() -> None:
    assert choose_audio(AudioEncoding(frequency=44100), [OGG]).frequency == 48000


# The limits were found by encoding with PyAV: beyond them FFmpeg writes less than it is asked for.
@pytest.mark.parametrize(
    ("container", "frequency", "bitrate", "allowed"),
    [
        (MP4, 8000, 97, "6 to 96 for audio/aac at 8000 Hz"),
        (MP3_FILE, 44100, 321, "32 to 320 for audio/mpeg at 44100 Hz"),
        (MP3_FILE, 44100, 31, "32 to 320 for audio/mpeg at 44100 Hz"),
        (MP3_FILE, 16000, 161, "8 to 160 for audio/mpeg at 16000 Hz"),
        (MP3_FILE, 8000, 65, "8 to 64 for audio/mpeg at 8000 Hz"),
        (MP3_FILE, 64000, 128, "8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000"),
    ],
)
def test_rates_that_a_codec_does_not_have_are_refused(
    container: Container, frequency: int, bitrate: int, allowed: str
) -> None:
    with pytest.raises(EgressError) as refused:
        choose_audio(AudioEncoding(None, bitrate, frequency), [container])
    assert f"allowed is {allowed}" in str(refused.value)


@given(
    container=st.sampled_from(Container),
    frequency=st.sampled_from(FREQUENCIES),
    bitrate=st.integers(6, 510),
)
def test_what_is_chosen_is_what_was_asked_for(container: Container, frequency: int, bitrate: int) -> None:
    asked = AudioEncoding(None, bitrate, frequency)
    try:
        chosen = choose_audio(asked, [container])
    except EgressError:
        return
    resampled = chosen.frequency == 48_000 and chosen.codec is OPUS
    assert replace(chosen, codec=None, frequency=frequency if resampled else chosen.frequency) == asked


@pytest.mark.parametrize("container", [OGG, MP3_FILE])
def test_video_does_not_go_into_audio_files(container: Container) -> None:
    with pytest.raises(EgressError, match=f"^format {container} incompatible with codec video/h264$"):
        check_video([MP4, container])
