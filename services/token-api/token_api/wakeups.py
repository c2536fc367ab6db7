"""Bells that wake the background workers before their time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, fields


@dataclass(frozen=True)
class Wakeups:
    """A bell for each worker. `database.engine.wake(transaction, name)` rings one once it is committed."""

    inbox: asyncio.Event = field(default_factory=asyncio.Event)
    outbox: asyncio.Event = field(default_factory=asyncio.Event)
    reconciler: asyncio.Event = field(default_factory=asyncio.Event)
    chat: asyncio.Event = field(default_factory=asyncio.Event)
    chat_bans: asyncio.Event = field(default_factory=asyncio.Event)
    auto_recordings: asyncio.Event = field(default_factory=asyncio.Event)

    def ring(self, names: set[str]) -> None:
        """Ring the bells of these names; a name without a bell is a mistake of ours, and raises."""
        unknown = names - {bell.name for bell in fields(self)}
        if unknown:
            raise ValueError(f"no worker is called {', '.join(sorted(unknown))}")
        for name in names:
            getattr(self, name).set()
