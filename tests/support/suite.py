"""`make test` and `make test-all`: lint and all parts of the tests, each part in a pytest session.

1. `python3 -m local up` starts in the background.
2. Lint and types; then the isolated tests, on two workers.
3. When the stack is up, even if isolated tests still run: the tests that use the cluster, in two sessions.
   The first one changes only namespaces of its own, the second uses the platform.
4. When all of these have ended: the tests that measure time, one after another.
5. The stack is taken down if this run started it. A table shows the time per layer.

A failure in one part does not stop the next one. The exit code is 0 only if everything passed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.net.namespace import treat_sigterm_as_interrupt
from local.durations import spoken
from tests import running
from tests.support import layers, speed
from tests.support.layers import LAYERS, Part

_WORKERS = 2
# Sessions that run at the same time share the processor, so their time limits are longer by this factor.
_SHARED_PROCESSOR = 2.0
_LINT = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy", "."),
)
_NO_TESTS_COLLECTED = 5
_SHOWN_LOG_LINES = 40
# Expected seconds on the reference machine, printed before steps without a budget.
_EXPECTED_LINT_SECONDS = 50.0
_UP = "until the stack was up"
# On the reference machine with warm caches. From empty caches, `up` builds for longer.
_WARM_UP_SECONDS = 150.0
_TRACEBACK = b"Traceback (most recent call last)"


@dataclass(frozen=True)
class Session:
    """A pytest session that runs one part of the tests, and the log of its output."""

    part: Part
    process: subprocess.Popen[bytes]
    log: Path | None

    def show(self) -> None:
        """Print the log of a session that has ended."""
        if self.log is not None:
            print(f"\n== output of the {self.part.value} tests ==", flush=True)
            sys.stdout.buffer.write(self.log.read_bytes())
            sys.stdout.flush()


@dataclass
class Suite:
    """One run of the suite, and what it has found so far."""

    scratch: Path
    # Whether tests that are marked `long` run, too. Budgets are made for runs without them.
    with_long: bool = False
    failures: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    slowness: float = 1.0

    @property
    def layer_times(self) -> Path:
        return self.scratch / "layers.jsonl"

    @property
    def stack_log(self) -> Path:
        return self.scratch / "up.log"

    def log(self, part: Part) -> Path:
        return self.scratch / f"{part.value}.log"

    def junit(self, part: Part) -> Path:
        return self.scratch / f"{part.value}.xml"

    def measure_speed(self) -> None:
        """Measure the machine's slowness and keep the highest value so far, because other load varies."""
        self.slowness = max(self.slowness, speed.measure())

    @contextmanager
    def step(self, name: str, expected: float) -> Iterator[None]:
        """Announce a step with its expected seconds, and record how long it takes."""
        print(f"\n== {name} (about {spoken(expected * self.slowness)}) ==", flush=True)
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = time.monotonic() - started

    def command(self, what: str, argv: Sequence[str]) -> None:
        """Run a command with its output shown; a wrong exit code is a failure of the suite."""
        self.judge(what, _run(argv))

    def judge(self, what: str, code: int, accepted: Sequence[int] = (0,)) -> None:
        if code not in accepted:
            self.failures.append(f"{what} exited with {code}")

    def session(self, part: Part, *words: str, log: Path | None = None) -> Session:
        """Start a pytest session for one part of the tests.

        Args:
            log: a file for the output; without it, the output is shown.
        """
        argv = [
            *(sys.executable, "-m", "pytest", f"--part={part.value}"),
            # With "=": pytest takes a path that follows an option which it does not know yet for a test.
            *(f"--layer-times={self.layer_times}", f"--junitxml={self.junit(part)}"),
            *(() if self.with_long else ("-m", "not long")),
            *words,
            *layers.directories(part),
        ]
        shared = 1.0 if part is Part.ALONE else _SHARED_PROCESSOR
        env = {**os.environ, speed.VARIABLE: f"{max(1.0, self.slowness) * shared:.3f}"}
        with ExitStack() as files:
            output = None if log is None else files.enter_context(log.open("wb"))
            process = subprocess.Popen(
                argv,
                cwd=running.CHECKOUT,
                env=env,
                stdout=output,
                stderr=None if log is None else subprocess.STDOUT,
            )
        return Session(part, process, log)

    def finish(self, sessions: Sequence[Session]) -> None:
        """Wait until all sessions have ended."""
        for session in sessions:
            code = session.process.wait()
            session.show()
            self.judge(f"the {session.part.value} tests", code, (0, _NO_TESTS_COLLECTED))
            if code == 0 and session.log is not None and _TRACEBACK in session.log.read_bytes():
                self.failures.append(f"the {session.part.value} tests passed, but printed a traceback")


@contextmanager
def _ended(sessions: Sequence[Session]) -> Iterator[None]:
    """End all sessions if the block is interrupted.

    A Ctrl-C also reaches the sessions, but a SIGTERM reaches only this process.
    """
    try:
        yield
    except KeyboardInterrupt:
        for session in sessions:
            session.process.terminate()
        for session in sessions:
            session.process.wait()
        raise


def _run(argv: Sequence[str]) -> int:
    with subprocess.Popen(argv, cwd=running.CHECKOUT) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # A Ctrl-C also reached the command, but a SIGTERM reached only this process.
            process.terminate()
            process.wait()
            raise


@contextmanager
def _stack_in_the_background(suite: Suite) -> Iterator[subprocess.Popen[bytes]]:
    """Start `up` now. At the end of the block, take the stack down if this run started it."""
    started_here = not running.is_running()
    os.environ[running.STARTED_BY_THE_SUITE] = "yes" if started_here else "no"
    what = "start" if started_here else "update"
    print(f"== {what} the stack in the background; log: {suite.stack_log} ==", flush=True)
    with suite.stack_log.open("wb") as output:
        # `up` has its own session, so Ctrl-C does not reach it: it ends the tests, then `up` is ended below.
        process = subprocess.Popen(
            [sys.executable, "-m", "local", "up"],
            cwd=running.CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            # `up` then ends its commands. It ignores SIGINT if a shell started us in the background.
            process.terminate()
            process.wait()
        if started_here and running.is_running():
            with suite.step("take the stack down", 15):
                running.down()


def _stack_is_up(suite: Suite, process: subprocess.Popen[bytes]) -> bool:
    """Wait for `up`. If it failed, show the end of its output."""
    code = process.wait()
    suite.judge("`python3 -m local up`", code)
    if code != 0:
        lines = suite.stack_log.read_text(errors="replace").splitlines()
        print("\n".join(lines[-_SHOWN_LOG_LINES:]), flush=True)
    return code == 0


def _expected(*parts: Part) -> float:
    return sum(layer.budget for layer in LAYERS if layer.parts[0] in parts)


def merged_junit(reports: Sequence[Path]) -> ET.ElementTree[ET.Element]:
    """One JUnit document with the test suites of all `reports`."""
    root = ET.Element("testsuites")
    for report in reports:
        # Written by our own pytest, moments ago.
        root.extend(ET.parse(report).getroot())  # noqa: S314
    return ET.ElementTree(root)


def run(suite: Suite, junit: Path | None) -> int:
    """The whole suite; returns the exit code."""
    started = time.monotonic()
    suite.measure_speed()
    with _stack_in_the_background(suite) as stack:
        with suite.step("lint and types", _EXPECTED_LINT_SECONDS):
            for argv in _LINT:
                suite.command(argv[0], [sys.executable, "-m", *argv])
        beside = (Part.ISOLATED, Part.OWN_NAMESPACE, Part.PLATFORM)
        with suite.step(f"tests: {', '.join(part.value for part in beside)}", _expected(*beside) / _WORKERS):
            workers = ("-n", str(_WORKERS), "--dist=loadfile", "--no-loadscope-reorder")
            sessions: list[Session] = []
            with _ended(sessions):
                sessions.append(suite.session(Part.ISOLATED, *workers))
                up = _stack_is_up(suite, stack)
                if up:
                    suite.seconds[_UP] = time.monotonic() - started
                    sessions += [suite.session(part, log=suite.log(part)) for part in beside[1:]]
                suite.finish(sessions)
        suite.measure_speed()
        if up:
            with suite.step(f"tests: {Part.ALONE.value}", _expected(Part.ALONE)):
                alone = [suite.session(Part.ALONE)]
                with _ended(alone):
                    suite.finish(alone)
    suite.measure_speed()
    report(suite, time.monotonic() - started)
    if junit is not None:
        reports = [suite.junit(part) for part in Part if suite.junit(part).exists()]
        merged_junit(reports).write(junit, encoding="utf-8", xml_declaration=True)
    return 1 if suite.failures else 0


def report(suite: Suite, total: float) -> None:
    """Print the times and all failures; in CI, a layer over its budget is one. `total`: seconds."""
    spent = layers.read(suite.layer_times)
    over: list[str] = []
    whole: list[str] = []
    if not suite.with_long:
        over = layers.over_budget(spent, suite.slowness)
        cold_start = max(0.0, suite.seconds.get(_UP, 0.0) - _WARM_UP_SECONDS * suite.slowness)
        whole = layers.whole_over_budget(total - cold_start, suite.slowness)
    others = {**suite.seconds, "total": total}
    print("\n" + layers.table(spent, suite.slowness, others, with_budgets=not suite.with_long))
    print("\n".join([*over, *whole]))
    if os.environ.get("CI"):
        suite.failures.extend(over)
    for failure in suite.failures:
        print(f"FAILED: {failure}")
    print("" if suite.failures else "everything passed", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.suite", description=__doc__)
    parser.add_argument("--all", action="store_true", help="also run the tests that are marked `long`")
    parser.add_argument("--junit", type=Path, help="write a JUnit report of all parts to this file")
    arguments = parser.parse_args()
    treat_sigterm_as_interrupt()
    with tempfile.TemporaryDirectory(prefix="livekit-platform-tests-") as scratch:
        try:
            return run(Suite(Path(scratch), with_long=arguments.all), arguments.junit)
        except KeyboardInterrupt:
            print("\ninterrupted", file=sys.stderr)
            return 130


if __name__ == "__main__":
    sys.exit(main())
