"""Where the time of joining went."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.client.protocol import Failed, FirstAudio, FirstVideo, Joined
from loadtest.client.recording import Recording
from loadtest.result import JoinTimes


def join_times(recording: Recording) -> tuple[JoinTimes, ...]:
    """One per session, in their order, also one that failed after the server's answer.

    `token_ms` is for whoever asked for the token to fill in.
    """
    found: list[JoinTimes] = []
    for event in recording.events:
        match event:
            case Joined():
                found.append(JoinTimes(signalling_ms=event.signalling_ms, ice_ms=event.ice_ms))
            case Failed(signalling_ms=float()):  # the server answered, and no media connection came
                found.append(JoinTimes(signalling_ms=event.signalling_ms))
            # Of several tracks, the first.
            case FirstVideo() if found and found[-1].first_video_ms is None:
                found[-1] = found[-1].model_copy(update={"first_video_ms": event.since_start_ms})
            case FirstAudio() if found and found[-1].first_audio_ms is None:
                found[-1] = found[-1].model_copy(update={"first_audio_ms": event.since_start_ms})
            case _:
                pass
    return tuple(found)


def worst_join(times: Sequence[JoinTimes]) -> JoinTimes:
    """The longest of each part, over all sessions."""
    return JoinTimes(
        **{
            part: max((getattr(one, part) for one in times if getattr(one, part) is not None), default=None)
            for part in JoinTimes.model_fields
        }
    )
