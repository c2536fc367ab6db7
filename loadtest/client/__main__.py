"""`python -m loadtest.client`: one client, as `loadtest.client.protocol` describes.

Exit codes: 0 it finished, 1 it failed and said so in its last event, 2 its configuration is wrong.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import BinaryIO

from pydantic import ValidationError

from loadtest.client.protocol import ClientConfig, Event, Failed
from loadtest.client.session import run_session


def main() -> int:
    # The native library may print: events get a descriptor of their own, prints go to the log.
    events = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        config = ClientConfig.model_validate_json(sys.stdin.buffer.readline())
    except ValidationError as error:
        _tell(events, Failed(reason=f"configuration: {error}"))
        return 2
    try:
        _tell(events, asyncio.run(_run(config, events)))
    except Exception as error:
        logging.exception("the session failed")
        _tell(events, Failed(reason=_reason(error)))
        return 1
    return 0


async def _run(config: ClientConfig, events: BinaryIO) -> Event:
    end = asyncio.Event()
    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)

    async def watch_stdin() -> None:
        await stdin.read()
        end.set()

    watching = asyncio.create_task(watch_stdin())
    try:
        return await run_session(config, lambda event: _tell(events, event), end)
    finally:
        watching.cancel()


def _tell(events: BinaryIO, event: Event) -> None:
    events.write(event.model_dump_json().encode() + b"\n")
    events.flush()


def _reason(error: BaseException) -> str:
    """Type and message; of a group, those of what is in it."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_reason(inner) for inner in error.exceptions)
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main())
