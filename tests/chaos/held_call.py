"""A call that is held while something is broken, and how long its picture stood still meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from loadtest.client.process import ClientProcess, client_process
from loadtest.client.protocol import ClientConfig, FirstVideo, Joined
from loadtest.client.recording import Recording
from loadtest.figures import Span
from loadtest.figures.pictures import pictures_of, within
from loadtest.net.bridge import ClientNetwork
from loadtest.net.namespace import client_namespace
from loadtest.targets.outputs import StackOutputs
from loadtest.targets.tokens import Admission, make_admission
from tests.deployment.kubectl import Kubectl
from tests.e2e.call import MARKED_MEDIA, room_name

# What a viewer takes for a standstill.
FREEZE_MS = 1000.0
_JOIN_SECONDS = 40.0
_SFU = "app.kubernetes.io/name=livekit-server"


def admissions(outputs: StackOutputs, urls: Sequence[str]) -> tuple[Admission, Admission]:
    """A publisher and a subscriber of one room, who enter at the first and at the last of `urls`."""
    room = room_name()
    return (
        make_admission(outputs, url=urls[0], room=room, identity="publisher"),
        make_admission(outputs, url=urls[-1], room=room, identity="subscriber"),
    )


@contextmanager
def held_call(
    outputs: StackOutputs, network: ClientNetwork, urls: Sequence[str], logs: Path
) -> Iterator[ClientProcess]:
    """Two clients in a room for as long as the block runs; gives the one that watches, and sees."""
    sends, watches = admissions(outputs, urls)

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
        yield subscriber


def longest_standstill_ms(recording: Recording, since_ms: float, until_ms: float) -> float:
    """The longest time without a new picture between the two, in ms."""
    [frames] = pictures_of(recording).values()
    during = within(frames, Span(since_ms, until_ms))
    moments = [since_ms, *(frame.received_ms for frame in during), until_ms]
    return max(later - earlier for earlier, later in pairwise(moments))


def sfus_ready(kubectl: Kubectl, namespace: str) -> list[bool]:
    """Of each SFU pod, whether it is ready."""
    pods = kubectl.get("pods", "-n", namespace, "-l", _SFU)
    return [status["ready"] for pod in pods for status in pod["status"]["containerStatuses"]]


def sfu_restarts(kubectl: Kubectl, namespace: str) -> dict[str, int]:
    """How often each SFU pod's containers were restarted, by the pod's uid."""
    pods = kubectl.get("pods", "-n", namespace, "-l", _SFU)
    return {
        pod["metadata"]["uid"]: sum(status["restartCount"] for status in pod["status"]["containerStatuses"])
        for pod in pods
    }
