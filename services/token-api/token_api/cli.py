"""The command line: `serve` and `check-env`. Exit codes are those of sysexits.h."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from pydantic import SecretStr

from token_api import VERSION, logs, server
from token_api.livekit_probe import Finding, LiveKitProbe, Verdict
from token_api.settings import BadEnvironment, Settings, load_settings, variables
from token_api.tokens import ApiCredentials

EX_OK = 0
EX_UNAVAILABLE = 69  # LiveKit, or the address to listen on, is not to be had
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
exit codes: 0 good, or stopped as asked; 2 wrong usage; 69 LiveKit does not answer, or the address to
listen on is taken; 76 what answers at LIVEKIT_URL is not LiveKit; 77 LiveKit refuses the key or the
secret; 78 the environment is not valid"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        settings = load_settings()
    except BadEnvironment as error:
        _report(error)
        return EX_CONFIG
    if arguments.command == "serve":
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
    commands.add_parser("serve", help="run the service until SIGTERM")
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
        if isinstance(value, SecretStr):
            text = f"{len(value)} characters"
        else:
            text = "not set" if value is None else str(value)
        source = "" if field in settings.model_fields_set else " (default)"
        lines.append(f"OK {variable}: {text}{source}")
    return lines


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
