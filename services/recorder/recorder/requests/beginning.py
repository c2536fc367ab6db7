"""What the recording process learned when it began. With it, another process makes the same plan again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter

from recorder.requests.plan import RoomFacts


@dataclass(frozen=True)
class Beginning:
    """The arguments of `plan_of` that are not in the request or the configuration."""

    requested_at: datetime
    facts: RoomFacts

    def encode(self) -> bytes:
        """As JSON, for the spool."""
        return _ADAPTER.dump_json(self)


def decode(encoded: bytes) -> Beginning:
    """The inverse of `Beginning.encode`."""
    return _ADAPTER.validate_json(encoded)


_ADAPTER = TypeAdapter(Beginning)
