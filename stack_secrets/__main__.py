"""The command line of `make secrets`.

Exit codes: 0 done, 1 it failed, 2 wrong usage or a configuration that must be corrected first.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from common.commands import CommandFailed
from stack_secrets.command import CannotComplete, Files, complete, take_over
from stack_secrets.engine import Engine
from stack_secrets.plan import WrongName
from stack_secrets.takeover import UnreadableState

CHECKOUT = Path(__file__).resolve().parent.parent


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m stack_secrets", description=__doc__)
    parser.add_argument("--stack", required=True)
    parser.add_argument("--config-file", type=Path, help="Pulumi.<stack>.yaml of the checkout without it")
    parser.add_argument("--backups", type=Path, required=True, help="a directory for backups of the state")
    parser.add_argument("--rotate", help="the secret or certificate to replace")
    parser.add_argument(
        "--take-over-only", action="store_true", help="do nothing, unless the state holds secrets"
    )
    given = parser.parse_args(argv)
    engine = Engine(given.stack, CHECKOUT)
    files = Files(given.config_file or CHECKOUT / f"Pulumi.{given.stack}.yaml", given.backups)
    try:
        if given.take_over_only:
            reports = take_over(engine, files)
        else:
            reports = complete(engine, files, rotate=given.rotate)
    except (CannotComplete, WrongName) as error:
        print(error, file=sys.stderr)
        return 2
    except (CommandFailed, UnreadableState, OSError) as error:
        print(f"the secrets of stack {given.stack!r} are not complete: {error}", file=sys.stderr)
        if isinstance(error, CommandFailed) and "no stack named" in error.stderr:
            print(
                f"PULUMI_BACKEND_URL names the backend; `pulumi stack init {given.stack}` makes the stack",
                file=sys.stderr,
            )
        return 1
    for report in reports:
        print(report)
    if given.config_file is None:
        print(f"commit {files.config.name}" if reports else f"stack {given.stack!r} has all that it needs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
