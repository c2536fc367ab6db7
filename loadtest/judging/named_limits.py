"""What a scenario's named limits are for one client: by its link, what is sent to it, what it took. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from loadtest.client.bitrates import usual_kbps
from loadtest.definition.scenario import NamedLimit
from loadtest.judging.facts import ClientFacts, Picture

# Encoding, pacing, the SFU and every hand-over. On two cores that had nothing left, 24 to 54 ms of a 720p
# picture's way. On a machine where viewers are slow, so is this: it may take a quarter of what they take.
_BETWEEN_MS: Final = 100.0
_BETWEEN_SHARE: Final = 0.25


@dataclass(frozen=True)
class Resolved:
    """A named limit as a number, in the unit of the metric that it is for.

    Attributes:
        parts: what it is the sum of, in words; empty for one that is none.
    """

    value: float
    parts: str = ""


def resolve(limit: NamedLimit, facts: ClientFacts) -> Resolved:
    """The limit for this client.

    Where several tracks come, it is the loosest of theirs: which of them a metric is of is not known here.
    Where none does, it is 0, and the metric has no value.
    """
    if not facts.pictures:
        return Resolved(0.0)
    match limit:
        case NamedLimit.LATENCY_OBJECTIVE:
            return _latency_objective(facts)
        case NamedLimit.LINK_HEIGHT:
            return Resolved(max(_link_height(picture, facts) for picture in facts.pictures))
        case NamedLimit.TOP_HEIGHT:
            return Resolved(max(picture.camera.height for picture in facts.pictures))


def links_share_ms(facts: ClientFacts) -> float:
    """What the links may add to the latency of the track that has the longest way to this client.

    Links keep packets in order, so what jitter delays most delays the others too: it counts in full.
    Where a link loses packets, a picture has to wait for what is asked for and sent again: once more there
    and back, taken as twice this way.
    """
    ways = ((picture.up, facts.down) for picture in facts.pictures)
    return max(
        (
            sum((link.delay_ms + link.jitter_ms) * (3 if link.loss.ratio else 1) for link in way)
            for way in ways
        ),
        default=0.0,
    )


def _latency_objective(facts: ClientFacts) -> Resolved:
    """What the viewer itself takes is taken as it is: it depends on the machine, and no figure holds for all.

    WebRTC's jitter buffer waits for as long as pictures have come late before. On a machine that runs the
    processes of clients and SFU in turns, that is some hundred ms, and without any link.
    """
    links_ms = links_share_ms(facts)
    viewer_ms = (facts.own.jitter_buffer_ms or 0.0) + (facts.own.decode_ms or 0.0)
    between_ms = max(_BETWEEN_MS, _BETWEEN_SHARE * viewer_ms)
    return Resolved(
        links_ms + viewer_ms + between_ms,
        f"{links_ms:.0f} ms of links, {viewer_ms:.0f} of its own jitter buffer and decoder, "
        f"{between_ms:.0f} for all between",
    )


def _link_height(picture: Picture, facts: ClientFacts) -> float:
    """The smallest layer is allowed on any link: there is nothing smaller to send."""
    capacity = facts.down.rate_kbps
    heights = picture.layer_heights
    fitting = [
        height for height in heights if capacity is None or usual_kbps(height, picture.source) <= capacity
    ]
    return max(fitting, default=min(heights))
