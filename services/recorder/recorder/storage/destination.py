"""Where an output goes, and who learns of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from recorder.errors import EgressError
from recorder.storage.bucket import Bucket
from recorder.storage.upload_state import StoredObject

# For how long the primary store may be unreachable after a recording's end, if there is a backup.
_PRIMARY_SECONDS = 60.0


@dataclass(frozen=True)
class Destination:
    """Where an output goes. Everything goes to the backup from the moment at which the primary has failed."""

    primary: Bucket
    backup: Bucket | None = None

    def bucket(self, *, backup: bool) -> Bucket:
        """The backup or the primary bucket."""
        return self.backup if backup and self.backup is not None else self.primary

    @property
    def patience(self) -> float:
        """Seconds for which the primary store may be unreachable after a recording's end.

        Without a backup it is waited for without a limit, so that nothing is lost.
        """
        return _PRIMARY_SECONDS if self.backup is not None else math.inf


class UploadObserver:
    """Learns what happens. Override the methods that are of interest.

    The queue's thread calls them and waits. They must not call the queue's `drain` or `stop`.
    """

    def stored(self, stored: StoredObject, seconds: float) -> None:
        """An object is in the bucket. Its last request took `seconds`."""

    def switched(self, reason: str) -> None:
        """The primary store has failed. The backup is in use."""

    def failed(self, error: EgressError) -> None:
        """Nothing more is uploaded. What is not in the bucket stays in the spool."""
