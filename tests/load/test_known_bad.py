"""Known-bad servers, clients, links and machines: each gets the right verdict, exit code and reason.

Each case is run as a user runs it. The servers are the tests' own and the clients use this machine's
network, so that nothing but the fault is between them; where a link is a part of the case, it is emulated.
Runs whose figures are not evaluated share one server and go side by side.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple

import pytest
from pydantic import SecretStr

from loadtest.result import Outcome
from tests.load.command import Ended, at_once, run_to_its_end, started_run, valid
from tests.load.faults import all_processors_busy, longer_way
from tests.load.livekit_server import LiveKitServer, livekit_server
from tests.load.namespaces import namespaces_of, uplinks_of
from tests.load.processor_share import processor_share
from tests.support.speed import scaled

_MEASURED_S = 5  # the least that a valid run measures
_IDEAL = ("livestream", "--profile", "ideal")
_DOUBLED_MS = 60.0


def _short() -> dict[str, object]:
    """Settings for the shortest possible run. If all clients use the profile `ideal`, there are no links."""
    return {"duration_s": _MEASURED_S, "settle_s": 1, "first_media_s": scaled(8)}


def _quick() -> dict[str, object]:
    """A livestream with small pictures, so that only the fault of the case shows."""
    return {
        "creator.publish.camera": "{width: 320, height: 180, fps: 15}",
        "viewers.count": 2,
        "viewers.arrival": "{after_s: 0}",
        **_short(),
    }


def _no_links() -> dict[str, object]:
    return {**_quick(), "creator.profile": "ideal"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveKitServer]:
    with livekit_server(tmp_path_factory.mktemp("server") / "server.log") as made:
        yield made


class _WithoutMedia(NamedTuple):
    """Runs in which signalling works and media does not."""

    wrong_address: Ended
    no_turn: Ended


@pytest.fixture(scope="module")
def without_media(server: LiveKitServer, tmp_path_factory: pytest.TempPathFactory) -> _WithoutMedia:
    path = tmp_path_factory.mktemp("without-media")
    # Clients behind address translation, like most clients. Without it the server could reach the clients
    # itself, and the wrong address would not matter.
    wifi = ("livestream", "--profile", "wifi")
    relay = {**_no_links(), "viewers.transport": "relay"}
    with livekit_server(path / "server.log", tells_wrong_address=True) as wrong:
        wrong_address, no_turn = at_once(
            lambda: run_to_its_end(path / "wrong-address", wrong, *wifi, settings=_quick()),
            lambda: run_to_its_end(path / "no-turn", server, *_IDEAL, settings=relay),
        )
    return _WithoutMedia(wrong_address, no_turn)


class _Unstarted(NamedTuple):
    """Runs that do not start."""

    wrong_secret: Ended
    no_server: Ended
    no_scenario: Ended


@pytest.fixture(scope="module")
def unstarted(server: LiveKitServer, tmp_path_factory: pytest.TempPathFactory) -> _Unstarted:
    path = tmp_path_factory.mktemp("unstarted")
    refused = replace(server, secret=SecretStr("s" * 40))
    gone = replace(server, address=IPv4Address("127.0.0.1"))
    return _Unstarted(
        *at_once(
            lambda: run_to_its_end(path / "wrong-secret", refused, *_IDEAL, settings=_no_links()),
            lambda: run_to_its_end(path / "no-server", gone, *_IDEAL),
            lambda: run_to_its_end(path / "no-scenario", server, "livestraem"),
        )
    )


class _BadPublishers(NamedTuple):
    """Runs in which the publisher's process has a problem during the measured time."""

    killed: Ended
    starved: Ended


@pytest.fixture(scope="module")
def bad_publishers(server: LiveKitServer, tmp_path_factory: pytest.TempPathFactory) -> _BadPublishers:
    path = tmp_path_factory.mktemp("bad-publishers")
    return _BadPublishers(
        *at_once(
            lambda: _run_with_a_killed_creator(path / "killed", server),
            lambda: _run_with_a_slow_creator(path / "starved", server, _no_links(), share_of_a_core=0.02),
        )
    )


def test_a_good_stack_is_called_good(server: LiveKitServer, tmp_path: Path) -> None:
    """Or else the cases below prove nothing."""
    ended = run_to_its_end(tmp_path / "out", server, *_IDEAL, settings=_no_links())
    assert ended.code_on_a_quiet_machine == 0, ended.shown
    assert server.room_names() == ()


def test_a_server_that_tells_a_wrong_address(without_media: _WithoutMedia) -> None:
    ended = without_media.wrong_address
    assert ended.code_on_a_quiet_machine == 1, ended.shown
    assert "ICE gave it no media connection" in ended.missed["creator-1 runs to its end"].reason
    assert ended.missed["viewers: pictures ≥ 1"].value == 0
    assert ended.shows("viewers-1 got no picture of creator-1's camera")
    assert ended.shows("look at the address that the SFU announces (node IP)")


def test_turn_that_is_off(without_media: _WithoutMedia) -> None:
    ended = without_media.no_turn
    assert ended.code_on_a_quiet_machine == 1, ended.shown
    for viewer in ("viewers-1", "viewers-2"):
        reason = ended.missed[f"{viewer} runs to its end"].reason
        assert "no TURN server gave it a media connection, and it may take no other way" in reason
        assert ended.shows(reason)
    assert ended.client("creator-1").outcome is Outcome.FINISHED
    assert ended.shows("and at TURN")


@pytest.mark.long
def test_a_server_that_is_held_at_a_twentieth_of_a_processor(tmp_path: Path) -> None:
    """It is the server that does not keep up, so the run is valid, and failed.

    Small pictures of many: a server is busy with packets, clients are with pixels.
    """
    meeting: dict[str, object] = {
        "people.count": 5,
        "people.publish.camera": "{width: 320, height: 180, fps: 15}",
        **_short(),
    }
    with processor_share() as share, livekit_server(tmp_path / "server.log") as held:
        share.hold([held.pid], 0.05)
        ended = run_to_its_end(tmp_path / "out", held, "meeting", "--profile", "ideal", settings=meeting)
    assert ended.code_on_a_quiet_machine == 1, ended.shown
    assert ended.invalid == ()
    assert any(threshold.startswith("people: ") for threshold in ended.missed), ended.shown


def test_a_viewer_that_freezes(server: LiveKitServer, tmp_path: Path) -> None:
    ended = valid(lambda out: _run_with_a_frozen_viewer(out, server, since="measuring"), tmp_path / "out")
    assert ended.code_on_a_quiet_machine == 1, ended.shown
    freeze = ended.missed["viewers: longest_freeze_ms ≤ 3000"]
    assert freeze.worst == "viewers-1"
    assert freeze.value is not None
    assert freeze.value > 4000
    assert "(1 of 2 clients missed it)" in freeze.reason
    assert ended.shows(freeze.reason)


@pytest.mark.long
def test_a_viewer_that_freezes_before_the_measured_time(server: LiveKitServer, tmp_path: Path) -> None:
    """It had pictures, and has none to measure: it stood still for all of the time."""
    ended = valid(lambda out: _run_with_a_frozen_viewer(out, server, since="settling"), tmp_path / "out")
    assert ended.code_on_a_quiet_machine == 1, ended.shown
    freeze = ended.missed["viewers: longest_freeze_ms ≤ 3000"]
    assert freeze.worst == "viewers-1"
    assert freeze.value == pytest.approx(1000 * _MEASURED_S, rel=0.1)
    assert ended.missed["viewers: pictures ≥ 1"].value == 0


def _run_with_a_frozen_viewer(out: Path, server: LiveKitServer, *, since: str) -> Ended:
    """From a phase of the run on, until all else is measured."""
    with started_run(out, server, *_IDEAL, settings=_no_links()) as started:
        started.reach(since)
        frozen = started.client_pid("viewers-1")
        os.kill(frozen, signal.SIGSTOP)
        started.reach("collecting")
        os.kill(frozen, signal.SIGCONT)
        return started.end()


@pytest.mark.long
def test_a_viewer_that_freezes_for_good(server: LiveKitServer, tmp_path: Path) -> None:
    with started_run(tmp_path / "out", server, *_IDEAL, settings=_no_links()) as started:
        started.reach("measuring")
        os.kill(started.client_pid("viewers-1"), signal.SIGSTOP)
        ended = started.end()
    assert ended.code_on_a_quiet_machine == 1, ended.shown
    assert "client viewers-1 died" in ended.missed["viewers-1 runs to its end"].reason
    assert ended.shows("client viewers-1 died")
    assert started.processes() == []


def _run_with_a_killed_creator(out: Path, server: LiveKitServer) -> Ended:
    with started_run(out, server, *_IDEAL, settings=_no_links()) as started:
        started.reach("measuring")
        os.kill(started.client_pid("creator-1"), signal.SIGKILL)
        return started.end()


def test_a_publisher_that_dies(bad_publishers: _BadPublishers) -> None:
    ended = bad_publishers.killed
    assert ended.code_on_a_quiet_machine == 1, ended.shown
    reason = ended.missed["creator-1 runs to its end"].reason
    assert reason == "client creator-1 died: ended by SIGKILL"
    assert ended.shows(reason)
    assert "viewers: longest_freeze_ms ≤ 3000" in ended.missed, "nobody saw anything any more"


@pytest.mark.long
def test_a_link_with_twice_the_delay_that_it_claims(server: LiveKitServer, tmp_path: Path) -> None:
    """The additional way is of the test's own: a second emulator in the calibrated links' router."""
    settings = {**_no_links(), "viewers.count": 1}
    out = tmp_path / "out"
    with (
        started_run(out, server, "livestream", "--profile", "4g", settings=settings) as started,
        longer_way(started, delay_ms=_DOUBLED_MS, log=tmp_path / "longer.log"),
    ):
        started.reach("calibrated 4g down")
        ended = started.end()
    assert ended.code == 2, ended.shown
    [link] = [link for link in ended.result.links if link.group == "viewers"]
    assert link.calibration is not None
    delays = {row.direction: row for row in link.calibration.rows if row.quantity == "delay_ms"}
    for row in delays.values():
        assert row.achieved == pytest.approx(_DOUBLED_MS, abs=5)
        assert row.requested == 30
        assert not row.ok
    told = " ".join(ended.result.invalid)
    for way, row in delays.items():
        assert f"delay_ms {way} is {row.achieved:.3g}; claimed is 30" in told
        assert f"delay_ms {way} is {row.achieved:.3g}; claimed is 30" in ended.shown


def _run_with_a_slow_creator(
    out: Path, server: LiveKitServer, settings: dict[str, object], *, share_of_a_core: float
) -> Ended:
    """A run whose publisher is held back for the measured time."""
    with processor_share() as share, started_run(out, server, *_IDEAL, settings=settings) as started:
        started.reach("measuring")
        share.hold([started.client_pid("creator-1")], share_of_a_core)
        started.reach("collecting")
        share.lift()
        return started.end()


def test_a_generator_that_gets_no_processor(bad_publishers: _BadPublishers) -> None:
    """The starved client reports once after the measured time on a slow machine, else each second."""
    ended = bad_publishers.starved
    assert ended.code == 2, ended.shown
    [reason] = [reason for reason in ended.result.invalid if reason.startswith("creator-1 made ")]
    assert "its process did not get the processor time that it needs" in reason
    assert reason in ended.shown


@pytest.mark.long
def test_an_encoder_that_gets_too_little_of_a_processor(server: LiveKitServer, tmp_path: Path) -> None:
    """Pictures are captured in time, and few are sent: that is not the server's fault."""
    settings = {**_no_links(), "creator.publish.camera": "{width: 1280, height: 720, fps: 15}"}
    ended = _run_with_a_slow_creator(tmp_path / "out", server, settings, share_of_a_core=0.15)
    assert ended.code == 2, ended.shown
    [reason] = [reason for reason in ended.result.invalid if reason.startswith("creator-1 took ")]
    assert "ms to encode a picture, of 15 each second" in reason
    assert reason in ended.shown


@pytest.mark.long
def test_a_machine_that_is_busy_with_something_else(server: LiveKitServer, tmp_path: Path) -> None:
    with (
        started_run(tmp_path / "out", server, *_IDEAL, settings=_no_links()) as started,
        ExitStack() as others,
    ):
        started.reach("measuring")
        others.enter_context(all_processors_busy())
        started.reach("collecting")
        others.close()
        ended = started.end()
    assert ended.code == 2, ended.shown
    [reason] = [r for r in ended.result.invalid if r.startswith("The machine that makes the load had all")]
    assert "end what else runs on it" in reason
    assert reason in ended.shown


@pytest.mark.long
def test_an_emulator_that_dies(server: LiveKitServer, tmp_path: Path) -> None:
    """Its links pass no more packets. The media that viewers miss then is not the server's fault."""
    out = tmp_path / "out"
    with started_run(out, server, "livestream", "--profile", "wifi", settings=_no_links()) as started:
        started.reach("measuring")
        os.kill(started.emulator_pid(), signal.SIGKILL)
        ended = started.end()
    assert ended.code == 2, ended.shown
    [reason] = [r for r in ended.result.invalid if r.startswith("The links of viewers failed during the run")]
    assert "the link's emulator ended, exit code -9" in reason
    assert reason in ended.shown


def test_a_secret_that_the_server_refuses(unstarted: _Unstarted, server: LiveKitServer) -> None:
    ended = unstarted.wrong_secret
    assert ended.code == 3, ended.shown
    assert f"{server.url} refuses API key" in ended.result.problem
    assert ended.result.problem in ended.shown
    assert "s" * 40 not in ended.shown


def test_a_server_that_is_not_there(unstarted: _Unstarted) -> None:
    ended = unstarted.no_server
    assert ended.code == 3, ended.shown
    assert "ws://127.0.0.1:7880 cannot be reached" in ended.result.problem


def test_a_scenario_that_is_not_there(unstarted: _Unstarted) -> None:
    ended = unstarted.no_scenario
    assert ended.code == 3, ended.shown
    assert "livestraem" in ended.shown
    assert "livestream" in ended.shown, "the name that was meant"
    assert "Traceback" not in ended.shown


def test_a_run_that_is_interrupted(server: LiveKitServer, tmp_path: Path) -> None:
    """On emulated links, so that there is something to leave behind."""
    with started_run(
        tmp_path / "out", server, "livestream", "--profile", "wifi", settings=_quick()
    ) as started:
        started.reach("measuring")
        assert len(namespaces_of(started.process.pid)) > 3
        assert server.room_names()
        started.interrupt()
        ended = started.end()
        assert namespaces_of(started.process.pid) == []
        assert started.processes() == []
        assert uplinks_of(started.process.pid) == []
    assert ended.code == 2, ended.shown
    assert server.room_names() == ()
    [reason] = [reason for reason in ended.result.invalid if reason.startswith("It was interrupted after")]
    assert reason in ended.shown
    assert (ended.out / "report.html").is_file()
