"""What a scenario's named limits are for one client, by its link and by what is sent to it. Pure."""

from __future__ import annotations

from typing import Final

from loadtest.client.bitrates import usual_kbps
from loadtest.definition.scenario import NamedLimit
from loadtest.judging.facts import ClientFacts, Picture

# Beside the links' delays: encoding, the SFU, the jitter buffer, decoding. On a quiet machine of two cores
# all of it took 125 to 175 ms on `wifi` and `4g`.
PROCESSING_MS: Final = 250.0


def resolve(limit: NamedLimit, facts: ClientFacts) -> float:
    """The limit as a number, in the unit of the metric that it is for.

    Where several tracks come, it is the loosest of theirs: which of them a metric is of is not known here.
    Where none does, it is 0, and the metric has no value.
    """
    each = {
        NamedLimit.LATENCY_OBJECTIVE: _latency_objective_ms,
        NamedLimit.LINK_HEIGHT: _link_height,
        NamedLimit.TOP_HEIGHT: _top_height,
    }[limit]
    return max((each(picture, facts) for picture in facts.pictures), default=0.0)


def _latency_objective_ms(picture: Picture, facts: ClientFacts) -> float:
    """Links keep packets in order, so what jitter delays most delays the others too: it counts in full.

    Where a link loses packets, the jitter buffer comes to wait for what is asked for and sent again: once
    more there and back, taken as twice this way.
    """
    ways = (picture.up, facts.down)
    passes = (3 if way.loss.ratio else 1 for way in ways)
    return (
        sum((way.delay_ms + way.jitter_ms) * n for way, n in zip(ways, passes, strict=True)) + PROCESSING_MS
    )


def _link_height(picture: Picture, facts: ClientFacts) -> float:
    """The smallest layer is allowed on any link: there is nothing smaller to send."""
    capacity = facts.down.rate_kbps
    heights = picture.layer_heights
    fitting = [
        height for height in heights if capacity is None or usual_kbps(height, picture.source) <= capacity
    ]
    return max(fitting, default=min(heights))


def _top_height(picture: Picture, _: ClientFacts) -> float:
    return picture.camera.height
