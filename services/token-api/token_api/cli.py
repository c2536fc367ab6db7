"""The command line: `serve`, `migrate` and `check-env`. Exit codes are those of sysexits.h."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence

import structlog
from alembic.util import CommandError
from pydantic import SecretStr
from sqlalchemy.exc import SQLAlchemyError

from token_api import VERSION, logs, server
from token_api.database.migrate import HEAD, migrate
from token_api.livekit_probe import Finding, LiveKitProbe, Verdict
from token_api.settings import BadEnvironment, Settings, load_settings, variables
from token_api.tokens import ApiCredentials

EX_OK = 0
EX_USAGE = 64  # there is no such revision
EX_UNAVAILABLE = 69  # LiveKit, the database, or the address to listen on, is not to be had
EX_PROTOCOL = 76  # what answers is not LiveKit
EX_NOPERM = 77  # LiveKit refuses the key or the secret
EX_CONFIG = 78  # the environment is not valid

_EXIT_CODES = {
    Verdict.OK: EX_OK,
    Verdict.UNREACHABLE: EX_UNAVAILABLE,
    Verdict.UNHEALTHY: EX_UNAVAILABLE,
    Verdict.NOT_LIVEKIT: EX_PROTOCOL,
    Verdict.KEY_UNKNOWN: EX_NOPERM,
    Verdict.SECRET_WRONG: EX_NOPERM,
    Verdict.CLOCK_SKEW: EX_NOPERM,
}
_EPILOG = """\
exit codes: 0 good, or stopped as asked; 2 wrong usage; 64 no such revision; 69 LiveKit or the database
does not answer, or the address to listen on is taken; 76 what answers at LIVEKIT_URL is not LiveKit;
77 LiveKit refuses the key or the secret; 78 the environment is not valid"""

log = structlog.get_logger()


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        settings = load_settings()
    except BadEnvironment as error:
        _report(error)
        return EX_CONFIG
    if arguments.command == "migrate":
        return _migrate(settings, arguments.to, tell=print)
    if arguments.command == "serve":
        # The log of a service is JSON, from its first line.
        logs.configure(settings.log_level)
        if not arguments.no_migrate and (code := _migrate(settings, HEAD, tell=log.info)) != EX_OK:
            return code
        return EX_OK if server.serve(settings) else EX_UNAVAILABLE
    # What the check finds is for stdout and stderr; its log would say it again.
    logs.configure("error")
    for line in _ok_lines(settings):
        print(line)
    return _connect(settings) if arguments.connect else EX_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="token_api", epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="migrate the database, and run the service until SIGTERM")
    serve.add_argument("--no-migrate", action="store_true", help="leave the database's tables as they are")
    to_version = commands.add_parser("migrate", help="bring the database's tables to a version")
    to_version.add_argument(
        "--to", default=HEAD, metavar="REVISION", help="head (default), base, or a number"
    )
    check = commands.add_parser("check-env", help="say whether the environment is valid, and what is not")
    check.add_argument("--connect", action="store_true", help="also call LiveKit with the key")
    return parser


def _report(error: BadEnvironment) -> None:
    for problem in error.problems:
        print(problem, file=sys.stderr)
    count = len(error.problems)
    print(f"{count} problem{'s' if count > 1 else ''} in the environment", file=sys.stderr)


def _ok_lines(settings: Settings) -> list[str]:
    lines = []
    for variable, field in variables().items():
        value = getattr(settings, field)
        text = f"{len(value)} characters" if isinstance(value, SecretStr) else _shown(value)
        source = "" if field in settings.model_fields_set else " (default)"
        lines.append(f"OK {variable}: {text}{source}")
    return lines


def _shown(value: object) -> str:
    if value is None or value == ():
        return "not set"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _migrate(settings: Settings, to: str, *, tell: Callable[[str], object]) -> int:
    """Migrate, and `tell` so. Every failure is one line: a traceback would show the database's URL."""
    try:
        before, after = migrate(settings.database, to)
    except CommandError as error:
        print(f"no such revision: {to} ({error})", file=sys.stderr)
        return EX_USAGE
    except (SQLAlchemyError, OSError) as error:
        cause = getattr(error, "orig", None) or error
        print(f"the database cannot be migrated: {type(cause).__name__}: {cause}", file=sys.stderr)
        return EX_UNAVAILABLE
    tell(f"OK migrated from {before or 'nothing'} to {after or 'nothing'}")
    return EX_OK


def _connect(settings: Settings) -> int:
    finding = asyncio.run(_probe(settings))
    if finding.ok:
        print(f"OK {finding.detail}")
    else:
        print(f"{finding.verdict}: {finding.detail}", file=sys.stderr)
    return _EXIT_CODES[finding.verdict]


async def _probe(settings: Settings) -> Finding:
    credentials = ApiCredentials(settings.livekit_api_key, settings.livekit_api_secret.get_secret_value())
    # A person waits for this one, not the kubelet: a slow network is not yet an unreachable LiveKit.
    probe = LiveKitProbe(settings.livekit_http_url, credentials, timeout=10)
    try:
        return await probe.finding()
    finally:
        await probe.aclose()
