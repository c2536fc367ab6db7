"""`python -m loadtest.client`: one client, as `loadtest.client.protocol` describes.

Exit codes: 0 it finished, 1 it failed and said so in its last event, 2 its configuration is wrong.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Iterator
from typing import BinaryIO

from pydantic import ValidationError

from loadtest.client.joining import NotJoined
from loadtest.client.protocol import ClientConfig, Event, Failed, command_adapter
from loadtest.client.session import Commands, run_client


def main() -> int:
    # The native library may print: events get a descriptor of their own, prints go to the log.
    events = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        _tell(events, asyncio.run(_run(events)))
    except _WrongConfiguration as error:
        _tell(events, Failed(reason=f"configuration: {error}"))
        return 2
    except Exception as error:
        logging.exception("the session failed")
        _tell(events, failed(error))
        return 1
    return 0


class _WrongConfiguration(Exception):
    """The first line of stdin is none that a client can work by."""


async def _run(events: BinaryIO) -> Event:
    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    try:
        config = ClientConfig.model_validate_json(await stdin.readline())
    except ValidationError as error:
        raise _WrongConfiguration(error) from None
    commands: Commands = asyncio.Queue()
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(_read_commands(stdin, commands))
        finished = await run_client(config, commands, lambda event: _tell(events, event))
        reading.cancel()
    return finished


async def _read_commands(stdin: asyncio.StreamReader, commands: Commands) -> None:
    """Put each line's command into the queue, and None at their end."""
    while line := await stdin.readline():
        commands.put_nowait(command_adapter.validate_json(line))
    commands.put_nowait(None)


def _tell(events: BinaryIO, event: Event) -> None:
    events.write(event.model_dump_json().encode() + b"\n")
    events.flush()


def failed(error: Exception) -> Failed:
    """What to tell of the exception that ended the client. Pure."""
    inner = list(_single(error))
    return Failed(
        reason="; ".join(str(e) if isinstance(e, NotJoined) else f"{type(e).__name__}: {e}" for e in inner),
        signalling_ms=next((e.signalling_ms for e in inner if isinstance(e, NotJoined)), None),
    )


def _single(error: BaseException) -> Iterator[BaseException]:
    """Itself, or those that are in a group."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _single(inner)
    else:
        yield error


if __name__ == "__main__":
    sys.exit(main())
