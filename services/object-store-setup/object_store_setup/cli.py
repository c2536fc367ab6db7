"""The command line. Exit codes are those of sysexits.h."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from object_store_setup import acts, settings
from object_store_setup.ensure import NotAsGranted, ensure_bucket
from object_store_setup.failures import failure
from object_store_setup.preflight import NotUsable, preflight

EX_OK = 0
EX_UNAVAILABLE = 69  # nothing answers, or not in time
EX_NOPERM = 77  # the store answers, and refuses; or a key may more than it must
EX_CONFIG = 78  # the environment is not valid

# What the kubelet puts into the pod's status, and so into the error of `pulumi up`.
_TERMINATION_LOG = Path("/dev/termination-log")
_PAUSE_SECONDS = 2.0
# A store that answers may still be the one with the old keys, about to be replaced.
_SETTLE_SECONDS = 90.0


class _Failed(Exception):
    """The message is for the user. `may_pass`: waiting may help."""

    def __init__(self, message: str, *, may_pass: bool, code: int) -> None:
        super().__init__(message)
        self.may_pass = may_pass
        self.code = code


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; gives the exit code."""
    command = _parser().parse_args(argv).command
    try:
        done = _ensure_bucket() if command == "ensure-bucket" else _preflight()
    except settings.BadEnvironment as error:
        return _report(str(error), EX_CONFIG)
    except _Failed as error:
        return _report(str(error), error.code)
    print(done)
    return EX_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="object_store_setup", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("ensure-bucket", help="set the embedded store up, and prove the rights of every key")
    commands.add_parser("preflight", help="write, read, list and delete a probe object in a given store")
    return parser


def _report(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    if _TERMINATION_LOG.exists():
        _TERMINATION_LOG.write_text(message)
    return code


def _ensure_bucket() -> str:
    given = settings.ensure_bucket(os.environ)

    def once() -> None:
        try:
            ensure_bucket(given)
        except NotAsGranted as error:
            message = f'object_store: bucket "{given.store.bucket}" at {given.store.endpoint}: {error}'
            raise _Failed(message, may_pass=False, code=EX_NOPERM) from error
        except acts.ERRORS as error:
            reason = failure(error)
            message = f'object_store: bucket "{given.store.bucket}" at {given.store.endpoint}: {reason}'
            code = EX_UNAVAILABLE if reason.cause.may_pass else EX_NOPERM
            raise _Failed(message, may_pass=reason.cause.may_pass, code=code) from error

    _patiently(once, unreachable=given.patience, refused=min(given.patience, _SETTLE_SECONDS))
    return f'bucket "{given.store.bucket}" is there, and every key may do what it must and nothing else'


def _preflight() -> str:
    given = settings.preflight(os.environ)

    def once() -> None:
        try:
            preflight(given.store)
        except NotUsable as error:
            code = EX_UNAVAILABLE if error.may_pass else EX_NOPERM
            raise _Failed(str(error), may_pass=error.may_pass, code=code) from error

    # Nobody changes a refusal of somebody else's store while we wait.
    _patiently(once, unreachable=given.patience, refused=0)
    return f'bucket "{given.store.bucket}" at {given.store.endpoint} takes, gives, lists and deletes objects'


def _patiently(attempt: Callable[[], None], *, unreachable: float, refused: float) -> None:
    """Repeat `attempt` until it succeeds, or time is up since the beginning or since the first refusal."""
    began = time.monotonic()
    first_refusal: float | None = None
    shown = ""
    while True:
        try:
            return attempt()
        except _Failed as error:
            now = time.monotonic()
            if not error.may_pass and first_refusal is None:
                first_refusal = now
            given_up = now - began >= unreachable or (
                not error.may_pass and first_refusal is not None and now - first_refusal >= refused
            )
            if given_up:
                raise
            if str(error) != shown:
                shown = str(error)
                print(f"waiting: {shown}", file=sys.stderr)
        time.sleep(_PAUSE_SECONDS)
