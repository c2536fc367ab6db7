"""Loops in which one failure does not stop the rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from token_api.problems import ProblemError

# A note on a failure that is raised after the loop.
_LOGGED = "This was logged when it happened."

log = structlog.get_logger()


class Failures:
    """The failures of one loop. Each is logged when it happens, and one is raised after the loop."""

    def __init__(self) -> None:
        self._problem: ProblemError | None = None
        self._mistake: Exception | None = None

    @property
    def happened(self) -> bool:
        return self._problem is not None or self._mistake is not None

    @contextmanager
    def apart(self, event: str, **what: object) -> Iterator[None]:
        """Run the block. If it fails, log `event` with `what`, and go on after the block."""
        try:
            yield
        except ProblemError as error:
            self._problem = self._problem or error
            # LiveKit is away, for example. A traceback would say nothing more.
            log.warning(event, error=error.kind.name, **what)
        except Exception as error:
            self._mistake = self._mistake or error
            is_new = _LOGGED not in getattr(error, "__notes__", ())
            log.error(event, error=type(error).__name__, exc_info=is_new, **what)

    def raise_one(self) -> None:
        """Raise the first failure, if there was one; a ProblemError only if there was nothing else."""
        if self._mistake is not None:
            self._mistake.add_note(_LOGGED)
            raise self._mistake
        if self._problem is not None:
            raise self._problem
