"""Whole runs on the running stack: what they find, who dies in them, and that nothing of them is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from common.waiting import wait_until
from loadtest.definition.profile import load_profile
from loadtest.definition.scenario import Metric, Scenario
from loadtest.report.json_report import load_result
from loadtest.result import Outcome, RunResult, Verdict
from loadtest.run.engine import run_scenario
from loadtest.run.observer import ClientEnded
from loadtest.targets.target import Target
from tests.load.conftest import SMALL, Notes, namespaces_of, own_namespaces
from tests.running import CHECKOUT
from tests.support.speed import scaled

_PHASE_SECONDS = 120.0
_RUN_SECONDS = 180.0


@pytest.fixture
def run_while(
    stack_target: Target, small_livestream: Scenario, tmp_path: Path
) -> Callable[[Notes, Callable[[threading.Event], None]], RunResult]:
    """Run the small livestream, and do something to it when it has come to the noted phase."""

    def run(notes: Notes, do: Callable[[threading.Event], None]) -> RunResult:
        stop = threading.Event()
        with ThreadPoolExecutor(1) as threads:
            future: Future[RunResult] = threads.submit(
                run_scenario,
                small_livestream,
                load_profile("ideal"),
                stack_target,
                seed=1,
                logs=tmp_path,
                observer=notes,
                stop=stop,
            )
            try:
                assert notes.in_phase.wait(scaled(_PHASE_SECONDS)), f"the run came only to {notes.phases}"
                do(stop)
                return future.result(timeout=scaled(_RUN_SECONDS))
            finally:
                stop.set()

    return run


def rooms_of_runs(target: Target, result: RunResult) -> list[str]:
    """Rooms of this run that the server still has."""
    rooms = {client.room for client in result.clients}
    return [name for name in target.rooms.list_names() if name in rooms]


def test_a_run_measures_its_clients_and_leaves_nothing(
    run_while: Callable[[Notes, Callable[[threading.Event], None]], RunResult], stack_target: Target
) -> None:
    notes = Notes(phase="measuring")
    result = run_while(notes, lambda _: None)
    assert not result.problem
    assert not result.interrupted
    phases = ["looking at the target", "starting clients", "joining", "settling", "measuring", "collecting"]
    assert notes.phases == phases
    creator, viewer = result.clients
    assert (creator.name, viewer.name) == ("creator-1", "viewers-1")
    assert {creator.outcome, viewer.outcome} == {Outcome.FINISHED}
    # A third of what was sent: 15 per second for 5 s.
    assert viewer.metrics[Metric.PICTURES] >= 25, viewer.video
    assert viewer.join.token_ms is not None, "the stack has a token API"
    assert viewer.join.first_video_ms is not None
    assert viewer.paths
    assert result.environment.server.startswith("livekit-server ")
    assert [check for check in result.checks if check.threshold == "every client runs to its end"]
    assert {sample.node for sample in result.sfu} == {str(node) for node in stack_target.sfu_nodes}
    assert own_namespaces() == []
    assert rooms_of_runs(stack_target, result) == []


def test_a_killed_client_is_told_of_at_once_and_fails_the_run(
    run_while: Callable[[Notes, Callable[[threading.Event], None]], RunResult],
) -> None:
    notes = Notes(phase="measuring")

    def kill_a_client(_: threading.Event) -> None:
        [client] = clients_in(own_namespaces()[-1])
        os.kill(client, signal.SIGKILL)
        wait_until(
            lambda: [event for event in notes.events if isinstance(event, ClientEnded)],
            timeout=scaled(10),
            describe="the observer to hear of the death",
        )
        assert "collecting" not in notes.phases, "it was told of at the end only"

    result = run_while(notes, kill_a_client)
    [lost] = [client for client in result.clients if client.outcome is not Outcome.FINISHED]
    assert lost.outcome is Outcome.DIED
    assert "SIGKILL" in lost.reason
    assert lost.seconds, "what it had told before is kept"
    failed = [check.reason for check in result.checks if not check.passed]
    assert any(f"client {lost.name} died" in reason for reason in failed), failed
    assert result.verdict is not Verdict.PASSED


def test_a_run_that_is_told_to_stop_reports_what_it_has_and_leaves_nothing(
    run_while: Callable[[Notes, Callable[[threading.Event], None]], RunResult], stack_target: Target
) -> None:
    result = run_while(Notes(phase="measuring"), threading.Event.set)
    assert result.interrupted
    assert result.verdict is Verdict.INVALID
    assert any("interrupted" in reason for reason in result.invalid)
    assert [client.outcome for client in result.clients] == [Outcome.FINISHED] * 2
    assert own_namespaces() == []
    assert rooms_of_runs(stack_target, result) == []


def test_stopped_while_clients_join_they_have_not_failed(
    run_while: Callable[[Notes, Callable[[threading.Event], None]], RunResult],
) -> None:
    result = run_while(Notes(phase="joining"), threading.Event.set)
    assert [(client.outcome, client.reason) for client in result.clients] == [(Outcome.FINISHED, "")] * 2


def test_ctrl_c_twice_ends_the_command_in_order(stack_target: Target, tmp_path: Path) -> None:
    words = [word for change in SMALL for word in ("--set", change)]
    command = [sys.executable, "-m", "loadtest", "run", "livestream", "--profile", "ideal", "--plain", *words]
    log = tmp_path / "said"
    with log.open("w") as said:
        process = subprocess.Popen(
            [*command, "--out", str(tmp_path / "out")],
            cwd=CHECKOUT,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(
            lambda: "measuring" in log.read_text() or process.poll() is not None,
            timeout=scaled(_PHASE_SECONDS),
            describe="the run to measure",
        )
        # As a terminal does: to every process of the group.
        os.killpg(process.pid, signal.SIGINT)
        wait_until(
            lambda: "interrupted" in log.read_text(), timeout=scaled(10), describe="the first to be heeded"
        )
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=scaled(60)) == 2, log.read_text()
    finally:
        process.kill()
        process.wait(timeout=10)
    result = load_result(tmp_path / "out" / "report.json")
    assert result.interrupted
    assert (tmp_path / "out" / "report.html").is_file()
    assert namespaces_of(process.pid) == []
    assert rooms_of_runs(stack_target, result) == []


def clients_in(namespace: str) -> list[int]:
    """Process ids in a namespace."""
    listed = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=True)
    return [int(pid) for pid in listed.stdout.split()]
