"""From what clients have told to the figures that a run is judged by. Pure functions."""

from loadtest.figures.audio import audio_results
from loadtest.figures.joining import join_times, worst_join
from loadtest.figures.recovery import recovery
from loadtest.figures.seconds import seconds
from loadtest.figures.spans import Span, Window, presence
from loadtest.figures.transport import TransportTotals, transport_totals
from loadtest.figures.video import Expected, video_results

__all__ = [
    "Expected",
    "Span",
    "TransportTotals",
    "Window",
    "audio_results",
    "join_times",
    "presence",
    "recovery",
    "seconds",
    "transport_totals",
    "video_results",
    "worst_join",
]
