"""The one way in which this project runs another program."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Enough to see a Go panic's head or a kubeadm failure's reason; a whole build log helps nobody.
_SHOWN_OUTPUT_CHARACTERS = 4000


@dataclass(frozen=True)
class Completed:
    """A finished command: its argument list, exit code and decoded output."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.returncode == 0


class CommandFailed(Exception):
    """A command exited non-zero, was not found, or ran past its time.

    The message holds the command as one can paste it into a shell, why it failed, and the end of
    what it printed.
    """

    def __init__(self, argv: Sequence[str], reason: str, stdout: str = "", stderr: str = "") -> None:
        self.argv = tuple(argv)
        self.reason = reason
        self.stdout = stdout
        self.stderr = stderr
        printed = (stderr.strip() or stdout.strip())[-_SHOWN_OUTPUT_CHARACTERS:]
        super().__init__(f"`{shlex.join(argv)}` {reason}" + (f":\n{printed}" if printed else ""))


def run(
    argv: Sequence[str | Path],
    *,
    timeout: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input: str | None = None,
    check: bool = True,
    show_stderr: bool = False,
) -> Completed:
    """Run `argv` to its end and give back its output.

    Args:
        timeout: seconds after which the command is killed.
        env: variables laid over this process's own.
        input: text for its standard input; empty without it, so that nothing waits at a prompt.
        check: raise where the exit code is not 0.
        show_stderr: let it go to this process's stderr as it comes, for a command of minutes.

    Raises:
        CommandFailed: not found, out of time, or (with `check`) a non-zero exit code.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            input=input if input is not None else "",
            stdout=subprocess.PIPE,
            stderr=None if show_stderr else subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise CommandFailed(words, f"could not start: {error.filename} was not found") from error
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(
            words, f"did not end within {timeout:g} s", _text(error.stdout), _text(error.stderr)
        ) from error
    if check and done.returncode != 0:
        raise CommandFailed(words, f"exited with {done.returncode}", done.stdout, done.stderr or "")
    return Completed(tuple(words), done.returncode, done.stdout, done.stderr or "")


def _text(output: str | bytes | None) -> str:
    """`TimeoutExpired` carries bytes even where text was asked for."""
    if output is None:
        return ""
    return output.decode(errors="replace") if isinstance(output, bytes) else output
