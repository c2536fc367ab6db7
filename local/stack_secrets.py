"""Runs `stack_secrets`, the program that completes a stack's secrets, for the local stack and for others."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from common.commands import CommandFailed, run
from local import variables
from local.paths import CHECKOUT, Instance, state_root
from local.toolchain import venv

LOCAL = "local"
# The first run calls `pulumi` once for each secret.
_SECONDS = 600.0
_WRONG_INPUT = 2


class Refused(RuntimeError):
    """A name or the configuration is wrong and must be corrected first. The message says which."""


@dataclass(frozen=True)
class Request:
    """What is asked of the program.

    Attributes:
        rotate: the secret or certificate to replace; nothing is replaced without it.
        take_over_only: only take over secrets that an earlier version left in the state.
    """

    rotate: str = ""
    take_over_only: bool = False

    def to_words(self) -> list[str]:
        return [
            *(["--rotate", self.rotate] if self.rotate else []),
            *(["--take-over-only"] if self.take_over_only else []),
        ]


def complete(instance: Instance, environment: Mapping[str, str], request: Request) -> list[str]:
    """Complete the configuration of the local stack. Returns the sentences that report the changes.

    Args:
        environment: variables under which `pulumi` finds the stack.

    Raises:
        Refused: a name or the configuration is wrong.
        CommandFailed: the program failed for another reason.
    """
    where = ["--config-file", str(instance.stack_config), "--backups", str(instance.root / "backups")]
    command = [*variables.OWN_PASSPHRASE, *_program(LOCAL), *where, *request.to_words()]
    done = run(
        command, cwd=CHECKOUT, env={**environment, **_importable(environment)}, timeout=_SECONDS, check=False
    )
    if done.returncode == _WRONG_INPUT:
        raise Refused(done.stderr.strip())
    if not done.ok:
        raise CommandFailed(done.argv, f"exited with {done.returncode}", "", done.stderr)
    return done.stdout.splitlines()


def command_for(stack: str, request: Request) -> list[str]:
    """The command line for a stack other than the local one. It edits the checkout's configuration file."""
    return [*_program(stack), "--backups", str(state_root() / "backups"), *request.to_words()]


def environment_for(users: Mapping[str, str]) -> dict[str, str]:
    """The variables of that command: the user's own, and the path to the program's modules."""
    return {**users, **_importable(users)}


def show(reports: list[str]) -> None:
    """Print the sentences to stderr, like all progress."""
    for report in reports:
        print(report, file=sys.stderr)


def _program(stack: str) -> list[str]:
    return [str(venv.python()), "-m", "stack_secrets", "--stack", stack]


def _importable(environment: Mapping[str, str]) -> dict[str, str]:
    given = environment.get("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    paths = [str(CHECKOUT), str(Path(CHECKOUT) / "infra"), *([given] if given else [])]
    return {"PYTHONPATH": os.pathsep.join(paths)}
