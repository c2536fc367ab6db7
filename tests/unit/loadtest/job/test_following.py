"""A pod's log that breaks off: it is read again, and nothing comes twice or is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from urllib3.exceptions import ProtocolError

from common.waiting import wait_until
from loadtest.job.following import Follower
from loadtest.job.framing import Encoder
from loadtest.job.manifests import Plan
from loadtest.job.messages import Acted, PodMessage, Ready
from tests.support.speed import scaled
from tests.unit.loadtest.job.test_manifests import PLAN


class Log:
    """A pod's log as its API server gives it: each following connection breaks off after so many lines."""

    def __init__(self, lines: list[str], *, breaks_after: int) -> None:
        self.lines = lines
        self.asked: list[bool] = []
        self._breaks_after = breaks_after

    def log(self, _plan: Plan, _pod: str, /, *, follow: bool) -> Iterator[str]:
        self.asked.append(follow)
        if not follow:
            yield from self.lines
            return
        yield from self.lines[: self._breaks_after]
        raise ProtocolError("connection broken")


def _said(*messages: PodMessage) -> list[list[str]]:
    encoder = Encoder()
    return [encoder.lines(message.model_dump_json().encode()) for message in messages]


def _follow(log: Log, tmp_path: Path) -> tuple[Follower, list[PodMessage]]:
    heard: list[PodMessage] = []
    follower = Follower(log, PLAN, "pod", on_message=heard.append, text=tmp_path / "pod.log")
    wait_until(lambda: len(log.asked) > 1, timeout=scaled(10), describe="a second reading", interval=0.05)
    follower.end()
    follower.join(timeout=scaled(10))
    return follower, heard


def test_each_message_comes_once_and_the_last_ones_come_when_the_pod_is_over(tmp_path: Path) -> None:
    first, second = Ready(), Acted(at_s=1, what="reconnect")
    frames = _said(first, second)
    log = Log(["starting", *frames[0], "a warning", *frames[1], "the end"], breaks_after=2)
    follower, heard = _follow(log, tmp_path)
    assert heard == [first, second]
    assert log.asked[-1] is False
    assert follower.said == "starting\na warning\nthe end"
    assert (tmp_path / "pod.log").read_text() == "starting\na warning\nthe end\n"


def test_what_is_missing_or_not_understood_is_said(tmp_path: Path) -> None:
    lost, last = _said(Ready(), Acted(at_s=1, what="reconnect"))
    other = Encoder()
    [*_, foreign] = [other.lines(b"{}"), other.lines(b"{}"), other.lines(b'{"kind": "new"}')]
    follower, heard = _follow(Log([*last, *foreign], breaks_after=0), tmp_path)
    assert len(lost) == 1
    assert [type(message) for message in heard] == [Acted]
    assert "messages 0 of its log are not whole" in follower.said
    assert "a message is not understood" in follower.said
