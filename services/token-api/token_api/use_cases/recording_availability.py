"""Whether the platform records at all. The operator decides it, and callers are not told by which setting."""

from __future__ import annotations

import structlog

from token_api.problems import Kind, ProblemError
from token_api.settings import Settings

log = structlog.get_logger()


def has_recorder(settings: Settings, stream_id: str | None) -> bool:
    """Whether a stream (None: a new one) can be recorded. If not, the log names the setting."""
    if settings.egress_kind != "none":
        return True
    log.warning("recording_unavailable", setting="egress.kind", given="none", stream_id=stream_id)
    return False


def require_recorder(settings: Settings, stream_id: str | None) -> None:
    """Raises ProblemError (RECORDING_UNAVAILABLE) unless a stream (None: a new one) can be recorded."""
    if not has_recorder(settings, stream_id):
        raise ProblemError(Kind.RECORDING_UNAVAILABLE, "Streams cannot be recorded here.")
