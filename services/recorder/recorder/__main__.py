"""`python -m recorder [serve]` is the worker; it starts `python -m recorder handle` for each recording."""

from __future__ import annotations

import asyncio
import os
import sys

from recorder.settings import SettingsError, load

EX_USAGE = 64
EX_CONFIG = 78  # of sysexits.h


def main(arguments: list[str]) -> int:
    """Run the command; the exit code."""
    command = arguments[0] if arguments else "serve"
    if command not in {"serve", "handle"} or len(arguments) > 1:
        print(f"{' '.join(arguments)!r} is not a command; allowed: serve, handle", file=sys.stderr)
        return EX_USAGE
    try:
        settings = load(os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return EX_CONFIG
    if command == "handle":
        # Each process loads only what it needs.
        from recorder.handler import run_handler  # noqa: PLC0415

        return run_handler(settings)
    from recorder.compose.fonts import FontsMissing, check_installed  # noqa: PLC0415
    from recorder.logs import configure  # noqa: PLC0415
    from recorder.service import Service  # noqa: PLC0415

    try:
        # Otherwise the first recording that shows a name would fail.
        check_installed()
    except FontsMissing as error:
        print(error, file=sys.stderr)
        return EX_CONFIG
    configure(settings.logging.level, service="recorder")
    asyncio.run(_serve(Service, settings))
    return 0


async def _serve(service: type, settings: object) -> None:
    await service(settings).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
