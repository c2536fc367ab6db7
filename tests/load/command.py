"""`python -m loadtest run …` as a user runs it: what it prints, reports and leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from common.processes import process_of
from common.waiting import wait_until
from loadtest.report.json_report import load_result
from loadtest.result import EXIT_CODES, Check, ClientResult, RunResult, Verdict
from loadtest.run.ending import verdict
from tests.load.livekit_server import LiveKitServer
from tests.running import CHECKOUT
from tests.support.speed import scaled

_PHASE_SECONDS = 120.0
_END_SECONDS = 180.0
# Texts in a run's reasons that say that the machine was saturated, or that its host took the processors.
_SATURATED = ("had all processors busy", "(steal)")
# Texts of reasons that a saturated machine explains: late links, late clients, late requests.
_EXPLAINED = (*_SATURATED, "a machine with more processors", "on a quieter machine")
# A terminal so wide that no sentence is broken.
_COLUMNS = "400"


@dataclass(frozen=True)
class Ended:
    """A run that is over.

    Attributes:
        code: its exit code.
        shown: all that it printed.
        out: directory of its reports.
    """

    code: int
    shown: str
    out: Path

    @property
    def result(self) -> RunResult:
        return load_result(self.out / "report.json")

    @property
    def invalid(self) -> tuple[str, ...]:
        """The reasons why the run is invalid, without those that a saturated machine explains.

        Tests run next to other programs. If the whole machine was saturated, the run is invalid for its user,
        but a test can still check whether the run reports the fault that the test made.
        """
        found = self.result.invalid
        if not any(words in reason for reason in found for words in _SATURATED):
            return found
        return tuple(reason for reason in found if not any(words in reason for words in _EXPLAINED))

    @property
    def code_on_a_quiet_machine(self) -> int:
        """Its exit code, without the reasons that a saturated machine explains."""
        result = self.result
        assert self.code == EXIT_CODES[result.verdict], self.shown
        return EXIT_CODES[verdict(problem=result.problem, invalid=self.invalid, checks=result.checks)]

    def shows(self, text: str) -> bool:
        """Whether the run printed this text about a missed check.

        An invalid run prints no checks. If a saturated machine made the run invalid, this returns true.
        """
        return text in self.shown or (self.code == EXIT_CODES[Verdict.INVALID] and not self.invalid)

    @property
    def missed(self) -> dict[str, Check]:
        """The checks that failed, by their threshold."""
        return {check.threshold: check for check in self.result.checks if not check.passed}

    def client(self, name: str) -> ClientResult:
        return next(client for client in self.result.clients if client.name == name)


class Started:
    """A run that goes on. `started_run` makes one."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, shown: Path) -> None:
        self.process = process
        self.out = out
        self._shown = shown

    @property
    def shown(self) -> str:
        return self._shown.read_text(errors="replace")

    def pause(self) -> None:
        """The command itself does nothing more until `go_on`; what it has started does."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def reach(self, phase: str) -> None:
        """Wait until it has come to a phase, or to its end."""
        wait_until(
            lambda: f" s  {phase}" in self.shown or self.process.poll() is not None,
            timeout=scaled(_PHASE_SECONDS),
            describe=f"the run to come to {phase!r}",
            interval=0.05,
        )
        assert f" s  {phase}" in self.shown, f"it ended before it came to {phase!r}:\n{self.shown}"

    def client_pid(self, name: str) -> int:
        """The process of one client: the one whose stderr is that client's log."""
        log = self.out / "logs" / f"{name}.log"
        [pid] = [pid for pid in self.processes() if _stderr_of(pid) == log]
        return pid

    def emulator_pid(self) -> int:
        """The process id of the run's only emulator, from its log."""
        logs = self.out / "logs"
        [pid] = [pid for pid in self.processes() if _stderr_of(pid).match(f"{logs}/emulator-*.log")]
        return pid

    def processes(self) -> list[int]:
        """What runs of it, itself too: all whose stderr is a file of this run."""
        pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
        return [pid for pid in pids if process_of(pid) and self.out in _stderr_of(pid).parents]

    def interrupt(self) -> None:
        """Ctrl-C, which a terminal sends to the whole group of processes."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> Ended:
        """Wait for its end."""
        return Ended(self.process.wait(timeout=scaled(_END_SECONDS)), self.shown, self.out)


@contextmanager
def started_run(
    out: Path, server: LiveKitServer, *words: str, settings: Mapping[str, object] = {}
) -> Iterator[Started]:
    """`python -m loadtest run WORDS` against a server; it is ended at the end of the block.

    Args:
        out: directory for its reports; made here.
        settings: of the scenario, as `--set` takes them.
    """
    with _started([*words, *server.words], settings, server.environment, out) as started:
        yield started


def run_to_its_end(
    out: Path, server: LiveKitServer, *words: str, settings: Mapping[str, object] = {}
) -> Ended:
    """The same, to its end; once more where it was invalid."""
    return _to_its_end([*words, *server.words], settings, server.environment, out)


def run_on_the_stack(out: Path, *words: str, settings: Mapping[str, object] = {}) -> Ended:
    """The same, against the stack of this checkout."""
    return _to_its_end(words, settings, {}, out)


def at_once(*runs: Callable[[], Ended]) -> list[Ended]:
    """Run independent runs in parallel, if their figures are not evaluated."""
    with ThreadPoolExecutor(len(runs)) as threads:
        return list(threads.map(lambda run: run(), runs))


def valid(run: Callable[[Path], Ended], out: Path) -> Ended:
    """Run to the end. Repeat the run once if it was invalid for a reason that no saturated machine explains.

    Another program that does not take the whole machine may still have made links or clients late.
    """
    ended = run(out)
    if ended.code == EXIT_CODES[Verdict.INVALID] and ended.invalid:
        ended = run(out.with_name(f"{out.name}-again"))
    return ended


def _to_its_end(
    words: Sequence[str], settings: Mapping[str, object], environment: Mapping[str, str], out: Path
) -> Ended:
    def run(out: Path) -> Ended:
        with _started(words, settings, environment, out) as started:
            return started.end()

    return valid(run, out)


@contextmanager
def _started(
    words: Sequence[str], settings: Mapping[str, object], environment: Mapping[str, str], out: Path
) -> Iterator[Started]:
    out.mkdir(parents=True)
    shown = out / "shown.txt"
    with shown.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "loadtest", "run", *words, *_sets(settings), "--plain", "--out", str(out)],
            cwd=CHECKOUT,
            env={**os.environ, **environment, "COLUMNS": _COLUMNS},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    started = Started(process, out, shown)
    try:
        yield started
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)  # a test may have paused it
            process.terminate()
            process.wait(timeout=scaled(_END_SECONDS))
        for left in started.processes():
            with suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)


def _sets(settings: Mapping[str, object]) -> Sequence[str]:
    return [word for path, value in settings.items() for word in ("--set", f"{path}={value}")]


def _stderr_of(pid: int) -> Path:
    try:
        return Path(f"/proc/{pid}/fd/2").readlink()
    except OSError:  # gone, or nobody's to look into
        return Path()
