"""The load suite's own proof: what is known to be bad is called so, with the right exit code and reason.

Each case is run as a person runs it. The servers are the tests' own and the clients use this machine's
network, so that nothing but the fault is between them; where a link is a part of the case, it is emulated.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from pydantic import SecretStr

from common.commands import run
from common.waiting import wait_until
from loadtest.definition.profile import Direction
from loadtest.net.bridge import ClientName, RouterName
from loadtest.net.emulation.messages import EmulatorConfig, LaneConfig
from loadtest.net.emulation.process import emulator
from loadtest.net.uplink_name import UplinkName
from loadtest.result import Outcome
from tests.load.command import Ended, Started, run_to_its_end, started_run, valid
from tests.load.livekit_server import LiveKitServer, livekit_server
from tests.load.processor_share import processor_share

# As little time as a run may take, and a picture that costs next to nothing: the fault is to be seen, and
# no other. With all on profile `ideal` there are no links.
_SHORT: dict[str, object] = {"duration_s": 6, "settle_s": 1, "first_media_s": 8}
_QUICK: dict[str, object] = {
    "creator.publish.camera": "{width: 320, height: 180, fps: 15}",
    "viewers.count": 2,
    **_SHORT,
}
_NO_LINKS = {**_QUICK, "creator.profile": "ideal"}
_IDEAL = ("livestream", "--profile", "ideal")
_SMALL_MEETING: dict[str, object] = {
    "people.count": 5,
    "people.publish.camera": "{width: 320, height: 180, fps: 15}",
    **_SHORT,
}
_EXTRA_QUEUE = 1  # that of links is 0
_DOUBLED_MS = 60.0
_CALIBRATED_CLIENTS = 6
_BUSY_SECONDS = 15  # at most


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveKitServer]:
    with livekit_server(tmp_path / "server.log") as made:
        yield made


def test_a_good_stack_is_called_good(server: LiveKitServer, tmp_path: Path) -> None:
    """Or else the cases below prove nothing."""
    ended = run_to_its_end(tmp_path / "out", server, *_IDEAL, settings=_NO_LINKS)
    assert ended.code == 0, ended.shown
    assert server.room_names() == ()


def test_a_server_that_tells_a_wrong_address(tmp_path: Path) -> None:
    """Clients behind address translation, as most are: a server that could reach them would be found so."""
    with livekit_server(tmp_path / "server.log", tells_wrong_address=True) as server:
        ended = run_to_its_end(tmp_path / "out", server, "livestream", "--profile", "wifi", settings=_QUICK)
    assert ended.code == 1, ended.shown
    assert "ICE gave it no media connection" in ended.missed["creator-1 runs to its end"].reason
    assert ended.missed["viewers: pictures ≥ 1"].value == 0
    assert "viewers-1 got no picture of creator-1's camera" in ended.shown
    assert "look at the address that the SFU announces (node IP)" in ended.shown


def test_turn_that_is_off(server: LiveKitServer, tmp_path: Path) -> None:
    ended = run_to_its_end(
        tmp_path / "out",
        server,
        *_IDEAL,
        settings={**_NO_LINKS, "viewers.transport": "relay"},
    )
    assert ended.code == 1, ended.shown
    for viewer in ("viewers-1", "viewers-2"):
        reason = ended.missed[f"{viewer} runs to its end"].reason
        assert "no TURN server gave it a media connection, and it may take no other way" in reason
        assert reason in ended.shown
    assert ended.client("creator-1").outcome is Outcome.FINISHED
    assert "and at TURN" in ended.shown


def test_a_server_that_is_held_at_a_twentieth_of_a_processor(tmp_path: Path) -> None:
    """It is the server that does not keep up, so the run is valid, and failed.

    Small pictures of many: a server is busy with packets, clients are with pixels.
    """
    with processor_share() as share, livekit_server(tmp_path / "server.log") as server:
        share.hold([server.pid], 0.05)
        ended = run_to_its_end(
            tmp_path / "out", server, "meeting", "--profile", "ideal", settings=_SMALL_MEETING
        )
    assert ended.code == 1, ended.shown
    assert ended.result.invalid == ()
    assert any(threshold.startswith("people: ") for threshold in ended.missed), ended.shown


def test_a_viewer_that_freezes(server: LiveKitServer, tmp_path: Path) -> None:
    ended = valid(lambda out: _run_with_a_frozen_viewer(out, server, since="measuring"), tmp_path / "out")
    assert ended.code == 1, ended.shown
    freeze = ended.missed["viewers: longest_freeze_ms ≤ 3000"]
    assert freeze.worst == "viewers-1"
    assert freeze.value is not None
    assert freeze.value > 4000
    assert "(1 of 2 clients missed it)" in freeze.reason
    assert freeze.reason in ended.shown


@pytest.mark.long
def test_a_viewer_that_freezes_before_the_measured_time(server: LiveKitServer, tmp_path: Path) -> None:
    """It had pictures, and has none to measure: it stood still for all of the time."""
    ended = valid(lambda out: _run_with_a_frozen_viewer(out, server, since="settling"), tmp_path / "out")
    assert ended.code == 1, ended.shown
    freeze = ended.missed["viewers: longest_freeze_ms ≤ 3000"]
    assert freeze.worst == "viewers-1"
    assert freeze.value == pytest.approx(6000, abs=500)
    assert ended.missed["viewers: pictures ≥ 1"].value == 0


def _run_with_a_frozen_viewer(out: Path, server: LiveKitServer, *, since: str) -> Ended:
    """From a phase of the run on, until all else is measured."""
    with started_run(out, server, *_IDEAL, settings=_NO_LINKS) as started:
        started.reach(since)
        frozen = started.client_pid("viewers-1")
        os.kill(frozen, signal.SIGSTOP)
        started.reach("collecting")
        os.kill(frozen, signal.SIGCONT)
        return started.end()


@pytest.mark.long
def test_a_viewer_that_freezes_for_good(server: LiveKitServer, tmp_path: Path) -> None:
    with started_run(tmp_path / "out", server, *_IDEAL, settings=_NO_LINKS) as started:
        started.reach("measuring")
        os.kill(started.client_pid("viewers-1"), signal.SIGSTOP)
        ended = started.end()
    assert ended.code == 1, ended.shown
    assert "client viewers-1 died" in ended.missed["viewers-1 runs to its end"].reason
    assert "client viewers-1 died" in ended.shown
    assert started.processes() == []


def test_a_publisher_that_dies(server: LiveKitServer, tmp_path: Path) -> None:
    with started_run(tmp_path / "out", server, *_IDEAL, settings=_NO_LINKS) as started:
        started.reach("measuring")
        os.kill(started.client_pid("creator-1"), signal.SIGKILL)
        ended = started.end()
    assert ended.code == 1, ended.shown
    reason = ended.missed["creator-1 runs to its end"].reason
    assert reason == "client creator-1 died: ended by SIGKILL"
    assert reason in ended.shown
    assert "viewers: longest_freeze_ms ≤ 3000" in ended.missed, "nobody saw anything any more"


def test_a_link_with_twice_the_delay_that_it_claims(server: LiveKitServer, tmp_path: Path) -> None:
    """The additional way is of the test's own: a second emulator in the calibrated links' router."""
    settings = {**_NO_LINKS, "viewers.count": 1}
    out = tmp_path / "out"
    with (
        started_run(out, server, "livestream", "--profile", "4g", settings=settings) as started,
        _a_longer_way(started, tmp_path / "longer.log"),
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


def test_a_generator_that_gets_no_processor(server: LiveKitServer, tmp_path: Path) -> None:
    ended = _run_with_a_slow_creator(tmp_path / "out", server, _NO_LINKS, share_of_a_core=0.02)
    assert ended.code == 2, ended.shown
    [reason] = [reason for reason in ended.result.invalid if reason.startswith("creator-1 made ")]
    assert "its process did not get the processor time that it needs" in reason
    assert reason in ended.shown


@pytest.mark.long
def test_an_encoder_that_gets_too_little_of_a_processor(server: LiveKitServer, tmp_path: Path) -> None:
    """Pictures are captured in time, and few are sent: that is not the server's fault."""
    settings = {**_NO_LINKS, "creator.publish.camera": "{width: 1280, height: 720, fps: 15}"}
    ended = _run_with_a_slow_creator(tmp_path / "out", server, settings, share_of_a_core=0.15)
    assert ended.code == 2, ended.shown
    [reason] = [reason for reason in ended.result.invalid if reason.startswith("creator-1 took ")]
    assert "ms to encode a picture, of 15 each second" in reason
    assert reason in ended.shown


@pytest.mark.long
def test_a_machine_that_is_busy_with_something_else(server: LiveKitServer, tmp_path: Path) -> None:
    with (
        started_run(tmp_path / "out", server, *_IDEAL, settings=_NO_LINKS) as started,
        ExitStack() as others,
    ):
        started.reach("measuring")
        others.enter_context(_all_processors_busy())
        started.reach("collecting")
        others.close()
        ended = started.end()
    assert ended.code == 2, ended.shown
    [reason] = [r for r in ended.result.invalid if r.startswith("The machine that makes the load had all")]
    assert "end what else runs on it" in reason
    assert reason in ended.shown


def test_a_secret_that_the_server_refuses(server: LiveKitServer, tmp_path: Path) -> None:
    wrong = replace(server, secret=SecretStr("s" * 40))
    ended = run_to_its_end(tmp_path / "out", wrong, *_IDEAL, settings=_NO_LINKS)
    assert ended.code == 3, ended.shown
    assert f"{server.url} refuses API key" in ended.result.problem
    assert ended.result.problem in ended.shown
    assert "s" * 40 not in ended.shown


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with livekit_server(tmp_path / "server.log") as gone:
        pass
    ended = run_to_its_end(tmp_path / "out", replace(gone, address=IPv4Address("127.0.0.1")), *_IDEAL)
    assert ended.code == 3, ended.shown
    assert "ws://127.0.0.1:7880 cannot be reached" in ended.result.problem


def test_a_scenario_that_is_not_there(server: LiveKitServer, tmp_path: Path) -> None:
    ended = run_to_its_end(tmp_path / "out", server, "livestraem")
    assert ended.code == 3, ended.shown
    assert "livestraem" in ended.shown
    assert "livestream" in ended.shown, "what it may have been meant to be"
    assert "Traceback" not in ended.shown


def test_a_run_that_is_interrupted(server: LiveKitServer, tmp_path: Path) -> None:
    """On emulated links, so that there is something to leave behind."""
    with started_run(tmp_path / "out", server, "livestream", "--profile", "wifi", settings=_QUICK) as started:
        started.reach("measuring")
        assert len(_namespaces_of(started.process.pid)) > 3
        assert server.room_names()
        started.interrupt()
        ended = started.end()
        assert _namespaces_of(started.process.pid) == []
        assert started.processes() == []
        assert _uplinks_of(started.process.pid) == []
    assert ended.code == 2, ended.shown
    assert server.room_names() == ()
    [reason] = [reason for reason in ended.result.invalid if reason.startswith("It was interrupted after")]
    assert reason in ended.shown
    assert (ended.out / "report.html").is_file()


@contextmanager
def _a_longer_way(run_of: Started, log: Path) -> Iterator[None]:
    """No packet leaves the router that the run makes first before 60 ms are over, and 4g claims 30.

    Emulators go by the time at which a packet came to the router, whatever it waited for since.
    """
    found = wait_until(
        lambda: _links_being_calibrated(run_of.process.pid),
        timeout=60,
        describe="the run to make links for calibration",
        interval=0.02,
    )
    assert found
    router, clients = found
    longer = Direction(rate_kbps=None, delay_ms=_DOUBLED_MS)
    lanes = tuple(
        LaneConfig(device=device, direction=longer, reorder=False, seed=device)
        for client in clients
        for device in (client.up_device, client.down_device)
    )
    run_of.pause()  # so that nothing is measured before
    with emulator(router, EmulatorConfig(queue=_EXTRA_QUEUE, lanes=lanes), log=log):
        # Behind the links' own rule, which stands in the table `filter`.
        rule = ["iptables", "-t", "security", "-A", "FORWARD", "-j", "NFQUEUE", "--queue-num"]
        run(["nsenter", f"--net=/run/netns/{router}", "--", *rule, str(_EXTRA_QUEUE)], timeout=10)
        run_of.go_on()
        yield


def _links_being_calibrated(pid: int) -> tuple[RouterName, list[ClientName]] | None:
    """The router and its six clients, once all their devices are there."""
    names = _namespaces_of(pid)
    routers = [name for name in names if isinstance(name, RouterName)]
    if len(routers) != 1:
        return None
    devices = run(["ip", "-n", str(routers[0]), "-br", "link"], timeout=10, check=False).stdout
    # The one whom they measure against is at the bridge.
    behind = [name for name in names if isinstance(name, ClientName) and name.up_device in devices]
    return (routers[0], behind) if len(behind) == _CALIBRATED_CLIENTS else None


def _namespaces_of(pid: int) -> list[RouterName | ClientName]:
    parsed = [
        RouterName.parse(path.name) or ClientName.parse(path.name) for path in Path("/run/netns").iterdir()
    ]
    return [name for name in parsed if name is not None and name.owner.pid == pid]


def _uplinks_of(pid: int) -> list[UplinkName]:
    parsed = [UplinkName.parse(path.name) for path in Path("/run/netns").iterdir()]
    return [name for name in parsed if name is not None and name.owner.pid == pid]


@contextmanager
def _all_processors_busy() -> Iterator[None]:
    """With nothing, for as long as the block runs and not for long."""
    loop = ["timeout", str(_BUSY_SECONDS), "sh", "-c", "while :; do :; done"]
    loops = [subprocess.Popen(loop) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for each in loops:
            each.terminate()  # `timeout` hands it on
            each.wait(timeout=10)
