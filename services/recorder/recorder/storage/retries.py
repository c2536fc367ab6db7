"""When a failed request is repeated, and when its store counts as failed."""

from __future__ import annotations

from dataclasses import dataclass, field

from recorder.storage.s3_errors import Meaning
from recorder.storage.target import S3Target


@dataclass
class Retries:
    """The failures of requests to one store since the last success.

    Attributes:
        since: when the first one was, in seconds on CLOCK_MONOTONIC; None without a failure.
    """

    target: S3Target
    since: float | None = None
    _failures: int = 0
    _doubtful: int = 0
    # Uploads that the store has lost, by path. Another one begins with success, so these are not forgotten.
    _lost: dict[str, int] = field(default_factory=dict)

    def succeeded(self) -> None:
        self.since, self._failures, self._doubtful = None, 0, 0

    def failed(self, path: str, meaning: Meaning, *, now: float, patience: float) -> bool:
        """Count a failure; whether to try again.

        Args:
            path: the object that was to be uploaded.
            now: seconds on CLOCK_MONOTONIC.
            patience: seconds for which the store may be unreachable.
        """
        self.since = now if self.since is None else self.since
        self._failures += 1
        # livekit/storage counts the first attempt too.
        match meaning:
            case Meaning.UNREACHABLE:
                return now - self.since < patience
            case Meaning.DOUBTFUL:
                self._doubtful += 1
                return self._doubtful < self.target.max_retries
            case Meaning.NO_UPLOAD:
                self._lost[path] = self._lost.get(path, 0) + 1
                return self._lost[path] < self.target.max_retries
            case Meaning.REFUSED:
                return False

    def delay(self, chance: float) -> float:
        """Seconds until the next attempt. They double with each failure.

        Args:
            chance: a random number from 0 to 1, so that recorders do not come back at the same moment.
        """
        # 2 ** 30 times any delay is more than the longest one; a larger exponent may be no float.
        longest = min(
            self.target.max_retry_delay, self.target.min_retry_delay * 2.0 ** min(self._failures, 30)
        )
        return max(self.target.min_retry_delay, longest * (1 + chance) / 2)
