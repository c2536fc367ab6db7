"""Running a program, and ending all programs that several threads run."""

from __future__ import annotations

import signal
import subprocess
import threading
from pathlib import Path

import pytest

from common.commands import Children, CommandFailed, Interrupted, check_interrupted, run, started
from common.processes import process_of
from common.waiting import wait_until


def test_output_and_exit_code_are_returned() -> None:
    done = run(["sh", "-c", 'cat; echo e >&2; exit "$0"', "3"], timeout=10, input="given", check=False)
    assert (done.stdout, done.stderr, done.returncode, done.ok) == ("given", "e\n", 3, False)


def test_without_input_nothing_waits_at_a_prompt() -> None:
    assert run(["cat"], timeout=10).stdout == ""


def test_a_failure_has_the_command_the_reason_and_the_end_of_its_output() -> None:
    with pytest.raises(CommandFailed) as failed:
        run(["sh", "-c", "echo one; echo two >&2; exit 1"], timeout=10)
    assert str(failed.value) == "`sh -c 'echo one; echo two >&2; exit 1'` exited with 1:\ntwo"
    with pytest.raises(CommandFailed, match="could not start: no-such-program was not found"):
        run(["no-such-program"], timeout=10)


def test_one_that_takes_too_long_is_killed_and_its_output_is_kept(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(CommandFailed, match=r"did not end within 0\.5 s") as failed:
        run(["sh", "-c", f"echo $$ >{pid}; echo so far; exec sleep 600"], timeout=0.5)
    assert failed.value.stdout == "so far\n"
    assert process_of(int(pid.read_text())) is None


def _in_thread(children: Children, work: object) -> tuple[threading.Thread, list[BaseException]]:
    raised: list[BaseException] = []

    def body() -> None:
        children.adopt_thread()
        try:
            work()  # type: ignore[operator]
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    return thread, raised


def test_children_are_asked_to_end_and_none_starts_afterwards(tmp_path: Path) -> None:
    said = tmp_path / "said"
    ready = tmp_path / "ready"
    script = f"trap 'echo asked >{said}; exit 0' TERM; touch {ready}; while :; do sleep 0.05; done"
    children = Children()
    thread, raised = _in_thread(children, lambda: run(["sh", "-c", script], timeout=60, check=False))
    wait_until(ready.exists, timeout=20, describe="the command to run", interval=0.01)
    children.end()
    thread.join(20)
    assert said.read_text() == "asked\n"
    # The command exited with 0, but this is not a success: its result may be incomplete.
    assert [type(error) for error in raised] == [Interrupted]
    thread, raised = _in_thread(children, lambda: run(["true"], timeout=10))
    thread.join(20)
    assert "was not started" in str(raised[0])


def test_one_that_ignores_the_request_can_be_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"trap '' TERM; touch {ready}; while :; do sleep 0.05; done"
    children = Children()
    thread, _ = _in_thread(children, lambda: run(["sh", "-c", script], timeout=60))
    wait_until(ready.exists, timeout=20, describe="the command to run", interval=0.01)
    children.end()
    thread.join(0.3)
    assert thread.is_alive()
    children.kill()
    thread.join(20)
    assert not thread.is_alive()


def test_a_command_gets_the_signal_that_it_wants(tmp_path: Path) -> None:
    said, ready = tmp_path / "said", tmp_path / "ready"
    # A shell's background job would ignore SIGINT; this one is in the foreground.
    script = f"trap 'echo int >{said}; exit 0' INT; touch {ready}; while :; do sleep 0.05; done"
    children = Children()

    def shows() -> None:
        with started(["sh", "-c", script], interrupt=signal.SIGINT, stdin=subprocess.DEVNULL) as process:
            process.wait(timeout=60)

    thread, _ = _in_thread(children, shows)
    wait_until(ready.exists, timeout=20, describe="the command to run", interval=0.01)
    children.end()
    thread.join(20)
    assert said.read_text() == "int\n"


def test_a_thread_without_children_is_never_interrupted() -> None:
    Children().end()
    check_interrupted()
    assert run(["echo", "works"], timeout=10).stdout == "works\n"
