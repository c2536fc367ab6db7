"""JSON logs on stdout, one object a line, for our own events and for those of the libraries."""

from __future__ import annotations

import logging
import re
import sys

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


def configure(level: str) -> None:
    """Send structlog's and the standard library's records through one JSON renderer to stdout."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Plain tracebacks: structlog's structured ones hold the local variables, so the secrets.
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(allow=[])],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                hide_tokens,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
