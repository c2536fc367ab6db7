"""`python -m loadtest.api_load`: the generator as a process; see `loadtest.api_load.protocol`.

Standard output holds the events and nothing else. The end of stdin means: stop.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from contextlib import suppress

from loadtest.api_load.generator import generate
from loadtest.api_load.protocol import Answers, Finished, GeneratorConfig


async def _main() -> None:
    config = GeneratorConfig.model_validate_json(sys.stdin.buffer.readline())
    stop = asyncio.Event()
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def until_stdin_ends() -> None:
        await reader.read()
        stop.set()

    watching = asyncio.create_task(until_stdin_ends())
    # What is here now stays: the collector need not look at it in the middle of the load.
    gc.collect()
    gc.freeze()
    await generate(config, _tell, stop)
    watching.cancel()


def _tell(event: Answers | Finished) -> None:
    with suppress(BrokenPipeError):  # whoever started this is gone, and so is stdin
        print(event.model_dump_json(), flush=True)


if __name__ == "__main__":
    asyncio.run(_main())
