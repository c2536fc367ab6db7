"""What becomes of recordings."""

from __future__ import annotations

from pydantic import Field

from livekit_platform.config.section import Section


class Recordings(Section):
    """Recordings in the bucket."""

    retention_days: int = Field(
        default=0,
        ge=0,
        le=36500,
        description="days from 0 to 36500 after which a recording that is over is deleted, with its file; 0 "
        "keeps recordings for ever",
    )
