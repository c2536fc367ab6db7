"""When the server has few relays left. Pure."""

from __future__ import annotations

# Above this part of the limit there is a warning. Below the second one it is over: two, so that a number that
# goes up and down at one of them does not fill the log.
_WARNED_SHARE = 0.8
_OVER_SHARE = 0.7


class Warnings:
    """One line when allocations come near `limit`, and one when that is over."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._warned = False

    def look(self, allocations: int) -> str | None:
        """What to log of so many allocations; None where nothing has changed."""
        share = allocations / self._limit
        if not self._warned and share >= _WARNED_SHARE:
            self._warned = True
            return (
                f"warning: {allocations} of {self._limit} allocations are taken. Clients get no relay when "
                "all are taken: widen ports.turn_relay"
            )
        if self._warned and share < _OVER_SHARE:
            self._warned = False
            return f"{allocations} of {self._limit} allocations are taken: the warning is over"
        return None
