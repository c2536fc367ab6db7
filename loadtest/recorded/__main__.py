"""Reads an `Order` from stdin, fetches and evaluates the recording, and prints a `Report`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from loadtest.recorded.bucket import StoreUnusable, delete, fetch
from loadtest.recorded.media import NotMedia, evaluate
from loadtest.recorded.protocol import Order, Report


async def _report(order: Order) -> Report:
    media, problem, not_deleted = None, "", ""
    with TemporaryDirectory(prefix="loadtest-recording-") as directory:
        path = Path(directory) / order.key.rpartition("/")[2]
        try:
            await fetch(order.bucket, order.key, path)
            media = await asyncio.to_thread(evaluate, path)
        except (StoreUnusable, NotMedia) as error:
            problem = str(error)
    try:
        await delete(order.bucket, order.delete)
    except StoreUnusable as error:
        not_deleted = str(error)
    return Report(media=media, problem=problem, not_deleted=not_deleted)


if __name__ == "__main__":
    print(asyncio.run(_report(Order.model_validate_json(sys.stdin.read()))).model_dump_json())
