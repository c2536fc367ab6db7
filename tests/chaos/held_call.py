"""A call that goes on while a test breaks something. Measures how long its video stands still meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from common.waiting import NeverHappened, wait_until
from loadtest.client.process import ClientDied, ClientProcess, client_process
from loadtest.client.protocol import ClientConfig, FirstVideo, Joined
from loadtest.client.recording import Recording
from loadtest.figures import Span
from loadtest.figures.pictures import pictures_of, within
from loadtest.net.bridge import ClientNetwork
from loadtest.net.namespace import client_namespace
from loadtest.targets.outputs import StackOutputs
from loadtest.targets.tokens import Admission, make_admission
from tests.e2e.call import MARKED_MEDIA, CallResult, Network, hold_call, room_name
from tests.support.speed import scaled

# A viewer notices a standstill of this length.
FREEZE_MS = 1000.0
_JOIN_SECONDS = 40.0


@dataclass(frozen=True)
class HeldCall:
    """The two clients of a call that is going on."""

    publisher: ClientProcess
    subscriber: ClientProcess

    def run_for(self, seconds: float) -> None:
        """Let the call go on for this long.

        Raises:
            ClientDied: a client ended early.
        """
        self.subscriber.run_for(seconds)
        self.publisher.run_for(0)

    def finish(self) -> None:
        """End both clients, so that their recordings are complete."""
        self.subscriber.finish()
        self.publisher.finish()


def admissions(
    outputs: StackOutputs, urls: Sequence[str], *, room: str | None = None
) -> tuple[Admission, Admission]:
    """A publisher that enters a room at the first of `urls`, and a subscriber that enters it at the last.

    Args:
        room: its name; by default a room that does not exist yet.
    """
    name = room or room_name()
    return (
        make_admission(outputs, url=urls[0], room=name, identity="publisher"),
        make_admission(outputs, url=urls[-1], room=name, identity="subscriber"),
    )


@contextmanager
def held_call(
    outputs: StackOutputs,
    network: ClientNetwork,
    urls: Sequence[str],
    logs: Path,
    *,
    room: str | None = None,
) -> Iterator[HeldCall]:
    """Two clients in a room while the block runs. Video arrives before the block begins."""
    sends, watches = admissions(outputs, urls, room=room)

    def config(admission: Admission, **role: Any) -> ClientConfig:
        return ClientConfig(url=admission.url, token=admission.token, join_timeout=_JOIN_SECONDS, **role)

    with (
        client_namespace(network) as publisher_at,
        client_namespace(network) as subscriber_at,
        client_process(
            "publisher",
            config(sends, publish=MARKED_MEDIA),
            namespace=publisher_at,
            log=logs / "publisher.log",
        ) as publisher,
        client_process(
            "subscriber",
            config(watches, subscribe=True),
            namespace=subscriber_at,
            log=logs / "subscriber.log",
        ) as subscriber,
    ):
        publisher.wait_for(Joined, timeout=_JOIN_SECONDS)
        subscriber.wait_for(FirstVideo, timeout=_JOIN_SECONDS)
        yield HeldCall(publisher, subscriber)


def longest_standstill_ms(recording: Recording, since_ms: float, until_ms: float) -> float:
    """The longest time without a new frame between these two times, in ms."""
    [frames] = pictures_of(recording).values()
    during = within(frames, Span(since_ms, until_ms))
    moments = [since_ms, *(frame.received_ms for frame in during), until_ms]
    return max(later - earlier for earlier, later in pairwise(moments))


def call_through_the_edge(outputs: StackOutputs, network: ClientNetwork, logs: Path) -> CallResult:
    """A short call in a new room. Both clients enter through the edge, as users do."""
    sends, watches = admissions(outputs, [outputs.signal_url])
    return hold_call(network, publisher=sends, subscriber=watches, through=Network(), logs=logs)


def call_after_an_outage(
    outputs: StackOutputs, network: ClientNetwork, logs: Path, *, within_seconds: float
) -> CallResult:
    """The first call that succeeds. A client that fails tries again, as users do.

    Raises:
        NeverHappened: no call succeeded within this time, scaled by the machine's speed.
    """
    return wait_until(
        lambda: call_through_the_edge(outputs, network, logs),
        timeout=scaled(within_seconds),
        describe="a call after the outage",
        tolerate=(ClientDied, NeverHappened),
    )
