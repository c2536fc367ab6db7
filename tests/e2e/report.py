"""The table of measured calls that stands at the end of a test run."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from loadtest.client.protocol import Finished
from tests.e2e.call import MAX_LATENCY_MS, CallResult

_WIDTH = 150


@dataclass(frozen=True)
class MeasuredCall:
    """A call with the name of what it was to show."""

    name: str
    result: CallResult


def properties(call: MeasuredCall) -> dict[str, float | str]:
    """The figures of one call, as properties of its test in the JUnit report."""
    video, audio = call.result.video, call.result.audio
    latency_ms, age_ms = call.result.latency_ms, call.result.age_ms
    return {
        "join_ms": round(call.result.join_ms, 1),
        "first_video_ms": round(call.result.first_video_ms, 1),
        "capture_to_decoded_ms_p50": round(latency_ms.p50, 1),
        "capture_to_decoded_ms_p95": round(latency_ms.p95, 1),
        "capture_to_decoded_ms_max": round(latency_ms.maximum, 1),
        "newest_frame_age_ms_p95": round(age_ms.p95, 1),
        "frames_delivered": video.delivered,
        "frames_sent": video.sent,
        "audio_steps_in_order": audio.steps_in_order,
        **{f"{end}_path": _path(finished) for end, finished in call.result.ends},
    }


def table(calls: Sequence[MeasuredCall]) -> str:
    """The figures of all calls, two lines each: figures, then the two ends' paths."""
    rendered = Table(
        title=f"Calls: capture-to-decoded latency, cap {MAX_LATENCY_MS} ms at p95", title_justify="left"
    )
    rendered.add_column("path", no_wrap=True)
    for heading in (
        "join ms",
        "first video ms",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "max ms",
        "age p95 ms",
        "frames",
        "tones",
    ):
        rendered.add_column(heading, justify="right", no_wrap=True)
    for call in calls:
        video, audio, latency_ms = call.result.video, call.result.audio, call.result.latency_ms
        rendered.add_row(
            call.name,
            f"{call.result.join_ms:.0f}",
            f"{call.result.first_video_ms:.0f}",
            *(
                f"{value:.1f}"
                for value in (
                    latency_ms.p50,
                    latency_ms.p95,
                    latency_ms.p99,
                    latency_ms.maximum,
                    call.result.age_ms.p95,
                )
            ),
            f"{video.delivered}/{video.sent}",
            f"{audio.steps_in_order}/{audio.steps_in_order + audio.steps_out_of_order}",
        )
    text = io.StringIO()
    console = Console(file=text, width=_WIDTH)
    console.print(rendered)
    for call in calls:
        for end, finished in call.result.ends:
            console.print(
                f"{call.name}, {end}: {_path(finished)}", highlight=False, soft_wrap=True, markup=False
            )
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _path(finished: Finished) -> str:
    return "; ".join(str(path) for path in finished.paths)
