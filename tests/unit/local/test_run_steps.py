"""Steps in threads, with real processes: order, failures, interrupts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from common.commands import CommandFailed, Interrupted, check_interrupted, run
from common.processes import process_of
from common.waiting import wait_until
from local.paths import CHECKOUT
from local.run_steps import StepFailed, run_steps
from local.steps import Resource, Step


def test_steps_that_do_not_need_each_other_run_at_once_and_the_others_in_order() -> None:
    met = threading.Barrier(2, timeout=20)
    done: list[str] = []

    def meet(name: str) -> None:
        met.wait()  # passes only where both run
        done.append(name)

    run_steps(
        Step("a", lambda: meet("a")),
        Step("b", lambda: meet("b")),
        Step("c", lambda: done.append("c"), ("a", "b")),
    )
    assert (sorted(done[:2]), done[2:]) == (["a", "b"], ["c"])


def test_two_compilations_never_run_at_once() -> None:
    one = threading.Lock()
    overlapped: list[bool] = []

    def compile_it() -> None:
        overlapped.append(not one.acquire(blocking=False))
        run(["sleep", "0.05"], timeout=10)
        one.release()

    run_steps(*(Step(f"build {number}", compile_it, resource=Resource.COMPILER) for number in range(4)))
    assert overlapped == [False] * 4


def test_the_first_error_is_raised_once_with_the_step_s_name_and_no_further_step_starts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    started: list[str] = []

    def fails() -> None:
        raise CommandFailed(["kubeadm", "join"], "exited with 1", "", "its output")

    with pytest.raises(StepFailed, match=r"(?s)^join nodes: `kubeadm join` exited with 1.*its output$"):
        run_steps(
            Step("join nodes", fails),
            Step("pulumi up", lambda: started.append("pulumi up"), ("join nodes",)),
        )
    assert started == []
    assert capsys.readouterr().err.count("failed after") == 1


def test_a_bug_in_a_step_is_raised_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        run_steps(Step("divide", lambda: 1 // 0))


def test_a_failure_ends_what_runs_beside_it_with_all_its_processes(tmp_path: Path) -> None:
    pids = tmp_path / "pids"

    def compile_it() -> None:
        # Like `go build`, this command starts other programs, which would outlive it.
        run(["sh", "-c", f"sleep 600 & echo $$ $! >{pids}.new; mv {pids}.new {pids}; wait"], timeout=600)

    def fails() -> None:
        wait_until(pids.exists, timeout=20, describe="the other step to run", interval=0.01)
        raise RuntimeError("no disk space")

    with pytest.raises(StepFailed, match=r"^make image: no disk space$"):
        run_steps(Step("build", compile_it), Step("make image", fails))
    ids = [int(word) for word in pids.read_text().split()]
    assert len(ids) == 2
    wait_until(
        lambda: not any(process_of(pid) for pid in ids),
        timeout=20,
        describe=f"the processes {ids} to end",
        interval=0.05,
    )


def test_a_thread_that_waits_ends_too() -> None:
    seen: list[type[BaseException]] = []

    def waits() -> None:
        def never() -> bool:
            check_interrupted()
            return False

        try:
            wait_until(never, timeout=600, describe="nothing", interval=0.01)
        except Interrupted as error:
            seen.append(type(error))
            raise

    def fails() -> None:
        raise RuntimeError("no")

    with pytest.raises(StepFailed):
        run_steps(Step("wait", waits), Step("fail", fails))
    assert seen == [Interrupted]


# A run with a long command, and a step that must not start after the interrupt.
_LONG_RUN = """
import sys
from common.commands import run
from local.run_steps import run_steps
from local.steps import Step
import signal

signal.signal(signal.SIGTERM, signal.default_int_handler)

def works():
    try:
        run(["sh", "-c", "sleep 600 & echo $$ $!; echo $$ $! >&2; wait"], timeout=600, show_stderr=True)
    finally:
        print("tidied up", flush=True)

try:
    run_steps(Step("work", works), Step("next", lambda: print("next", flush=True), ("work",)))
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(130)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_all_processes_and_lets_threads_tidy_up(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _LONG_RUN],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr
        ids: list[int] = []
        while not ids:
            words = process.stderr.readline().split()
            ids = [int(word) for word in words if word.isdigit()] if len(words) == 2 else []
        # Signal only this process: a cancelled CI job gets no Ctrl-C from a terminal.
        os.kill(process.pid, number)
        printed, _ = process.communicate(timeout=30)
    assert (process.returncode, printed.split("\n")[:2]) == (130, ["tidied up", "interrupted"])
    wait_until(
        lambda: not any(process_of(pid) for pid in ids), timeout=20, describe=f"{ids} to end", interval=0.05
    )
