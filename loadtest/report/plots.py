"""Which plots a report has, in their order."""

from __future__ import annotations

from loadtest.report import plot_media, plot_servers
from loadtest.report.plot_frame import Picture, frame_of
from loadtest.result import RunResult


def pictures(result: RunResult) -> tuple[Picture, ...]:
    """Every plot that this run has data for."""
    frame = frame_of(result)
    drawn = [
        plot_media.latency(frame),
        plot_media.age(frame),
        plot_media.cdf(result),
        *plot_media.bitrates(frame),
        plot_media.height(frame),
        plot_servers.joins(result),
        plot_servers.api_over_time(frame),
        plot_servers.api_by_percentile(result),
        plot_servers.cores(frame),
        plot_servers.packets(frame),
    ]
    return tuple(picture for picture in drawn if picture is not None)
