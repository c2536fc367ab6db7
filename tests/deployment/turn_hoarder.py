"""A client that takes as many TURN allocations as it gets: `python3 -m tests.deployment.turn_hoarder`.

Reads one line of JSON with what to ask. Prints one line of JSON: how often each server gave which answer.
Holds its allocations until its stdin ends.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass

from tests.deployment.turn_client import Refused, Server, allocate, credentials

# As many at once: a server of TLS is busy with handshakes.
_AT_ONCE = 50
ALLOCATED = "allocated"
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

        async def ask(server: Server, number: int) -> str:
            given = credentials(wish.secret, user=f"hoarder-{server.transport}-{number}")
            try:
                async with free, asyncio.timeout(_ANSWER_SECONDS):
                    await held.enter_async_context(allocate(server, given, trust))
            except TimeoutError:
                return "no answer"
            except (Refused, OSError) as error:
                return str(error)
            return ALLOCATED

        answers = {}
        for server in wish.servers:
            asked = [ask(server, number) for number in range(wish.times)]
            answers[str(server)] = Counter(await asyncio.gather(*asked))
        print(json.dumps(answers), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_hoard(Wish.from_json(sys.stdin.readline())))
