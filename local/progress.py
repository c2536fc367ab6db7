"""Says what is being done, how far it is, and how long it took the last time."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from local.paths import cache_dir

# Without a terminal, a line now and then shows a CI log's reader that a build still runs.
_HEARTBEAT_SECONDS = 60.0
# Below this, a step's duration tells nobody anything.
_WORTH_SAYING_SECONDS = 2.0


class Progress:
    """A numbered sequence of steps on stderr; stdout stays for results."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._console = Console(file=sys.stderr, highlight=False)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Show `title` while the body runs, and what it took when it has ended well."""
        self._done += 1
        head = f"[{self._done:>2}/{self._total}] {title}"
        last = _Durations.read().get(title)
        expected = f" (last time {_spoken(last)})" if last and last > _WORTH_SAYING_SECONDS else ""
        started = time.monotonic()
        with self._running(head, expected, started):
            yield
        took = time.monotonic() - started
        _Durations.record(title, took)
        self._console.print(
            f"{head}: {_spoken(took)}" if took > _WORTH_SAYING_SECONDS else head,
            markup=False,
            soft_wrap=True,
        )

    @contextmanager
    def _running(self, head: str, expected: str, started: float) -> Iterator[None]:
        terminal = self._console.is_terminal
        if not terminal:
            self._console.print(f"{head} …{expected}", markup=False, soft_wrap=True)
        ended = threading.Event()

        def tell() -> None:
            with self._console.status(escape(head)) as status:
                while not ended.wait(1.0 if terminal else _HEARTBEAT_SECONDS):
                    line = escape(f"{head}: {_spoken(time.monotonic() - started)}{expected}")
                    if terminal:
                        status.update(line)
                    else:
                        self._console.print(line, soft_wrap=True)

        teller = threading.Thread(target=tell, daemon=True)
        teller.start()
        try:
            yield
        finally:
            ended.set()
            teller.join()


class _Durations:
    """Seconds per step title, kept in the cache."""

    @staticmethod
    def _path() -> Path:
        return cache_dir() / "durations.json"

    @classmethod
    def read(cls) -> dict[str, float]:
        try:
            return dict(json.loads(cls._path().read_text()))
        except (FileNotFoundError, ValueError):
            return {}

    @classmethod
    def record(cls, title: str, seconds: float) -> None:
        cls._path().parent.mkdir(parents=True, exist_ok=True)
        known = {**cls.read(), title: round(seconds, 1)}
        scratch = cls._path().with_suffix(".new")
        scratch.write_text(json.dumps(known, indent=2, sort_keys=True))
        scratch.rename(cls._path())


def _spoken(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
