"""JSON logs on stdout, one object a line, for our own events and for those of the libraries."""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

# A JWT, signed or not. No event should hold one; an exception of a library might.
_JWT = re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")
# httpx tells every request at INFO, aiosqlite every call at DEBUG; uvicorn's access log would repeat ours,
# with query strings. At debug, that would be some hundred lines a request.
_QUIET = ("httpx", "httpcore", "aiosqlite", "uvicorn.access")


def hide_tokens(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Blank anything that looks like a JWT, in every string of the event."""
    return {
        key: _JWT.sub("<token>", value) if isinstance(value, str) else value for key, value in event.items()
    }


class _Lines:
    """Writes lines to stdout. Its name is that of the module whose events they are."""

    def __init__(self, name: str) -> None:
        self.name = name

    @staticmethod
    def write(line: str) -> None:
        # At once and whole: libraries' lines come in between.
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    debug = info = warning = error = exception = critical = write


def _lines(*_arguments: Any) -> _Lines:
    return _Lines(structlog.stdlib.LoggerFactory(ignore_frame_names=[__name__])().name)


def _at_least(level: str) -> structlog.typing.Processor:
    """Drop events below `level`; `add_log_level` comes before."""
    numbers = logging.getLevelNamesMapping()
    least = numbers[level.upper()]

    def judge(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        if numbers[event["level"].upper()] < least:
            raise structlog.DropEvent
        return event

    return judge


def configure(level: str) -> None:
    """Send our own events and the standard library's records as JSON to stdout.

    Ours do not go by way of the standard library: its records cost several times what the line does, and
    every request has one.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Plain tracebacks: structlog's structured ones hold the local variables, so the secrets.
        structlog.processors.format_exc_info,
    ]
    rendered: list[structlog.typing.Processor] = [
        hide_tokens,
        structlog.processors.JSONRenderer(default=str),
    ]
    structlog.configure(
        processors=[*shared, _at_least(level), *rendered],
        logger_factory=_lines,
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(allow=[])],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *rendered,
            ],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
