"""A client that takes as many TURN allocations as it gets: `python3 -m tests.deployment.turn_hoarder`.

Reads one line of JSON with what to ask, prints one with how many it got by each way, and holds them until its
stdin ends.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass

from tests.deployment.turn_client import Refused, Server, allocate, credentials

# As many at once: a server of TLS is busy with handshakes.
_AT_ONCE = 50
# What a limit drops gets no answer.
_ANSWER_SECONDS = 4.0


@dataclass(frozen=True)
class Wish:
    """What to ask.

    Attributes:
        servers: each is asked `times` times, by another user each time, as another join is.
        secret: of the servers' credentials.
    """

    servers: tuple[Server, ...]
    times: int
    secret: str

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Wish:
        given = json.loads(text)
        return cls(tuple(Server(**server) for server in given["servers"]), given["times"], given["secret"])


async def _hoard(wish: Wish) -> None:
    trust = ssl.create_default_context()
    free = asyncio.Semaphore(_AT_ONCE)
    async with AsyncExitStack() as held:

        async def ask(server: Server, number: int) -> bool:
            given = credentials(wish.secret, user=f"hoarder-{server.transport}-{number}")
            try:
                async with free, asyncio.timeout(_ANSWER_SECONDS):
                    await held.enter_async_context(allocate(server, given, trust))
            except (TimeoutError, Refused, OSError):
                return False
            return True

        got = {}
        for server in wish.servers:
            asked = [ask(server, number) for number in range(wish.times)]
            got[str(server)] = sum(await asyncio.gather(*asked))
        print(json.dumps(got), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_hoard(Wish.from_json(sys.stdin.readline())))
