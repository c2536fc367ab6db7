"""From whatever Python the machine has into the checkout's own. Standard library only."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import subprocess
import sys

from local.paths import CHECKOUT, cache_dir
from local.toolchain import venv

_OLDEST = (3, 11)


def enter() -> None:
    """Go on as the same command under the checkout's Python environment; returns if this is it.

    Exits with a sentence where Python is too old or the environment cannot be made.
    """
    if sys.prefix == str(venv.directory()):
        return
    if sys.version_info < _OLDEST:
        sys.exit(
            f"Python {sys.version.split()[0]} runs this; it needs {'.'.join(map(str, _OLDEST))} or newer."
        )
    if not venv.is_made():
        _make()
    os.chdir(CHECKOUT)
    os.execv(venv.python(), [str(venv.python()), "-m", "local", *sys.argv[1:]])  # noqa: S606 - no shell wanted


def _make() -> None:
    cache_dir().mkdir(parents=True, exist_ok=True)
    with (cache_dir() / "venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another checkout may be making the same one
        if venv.is_made():
            return
        print(f"making the Python environment {venv.directory()} (about a minute) …", file=sys.stderr)
        try:
            if importlib.util.find_spec("ensurepip") is None:
                # Debian splits it off.
                subprocess.run(["apt-get", "update", "-qq"], check=True)
                subprocess.run(["apt-get", "install", "-qq", "--yes", "python3-venv"], check=True)
            venv.make()
        except (subprocess.SubprocessError, OSError) as error:
            sys.exit(f"The Python environment could not be made: {error}")
