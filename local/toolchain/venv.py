"""The checkout's Python environment. Standard library only: this runs before there is one."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from local.paths import CHECKOUT, cache_dir

REQUIREMENTS = CHECKOUT / "requirements.txt"
PIP_TIMEOUT_SECONDS = 1800.0


def directory() -> Path:
    """In the cache, named by what is in it: checkouts with the same pins share it."""
    inputs = REQUIREMENTS.read_bytes() + sys.version.encode()
    return cache_dir() / "venv" / hashlib.sha256(inputs).hexdigest()[:12]


def python() -> Path:
    return directory() / "bin" / "python"


def is_made() -> bool:
    return _mark().exists()


def _mark() -> Path:
    """Written last. An environment knows its own path, so it cannot be made elsewhere and moved."""
    return directory() / "complete"


def make() -> None:
    """Create the environment; a half-made one lacks the mark and is made anew.

    Raises:
        subprocess.CalledProcessError: pip's own words have gone to stderr.
    """
    shutil.rmtree(directory(), ignore_errors=True)
    directory().parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-m", "venv", directory()], check=True)
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    subprocess.run(
        [python(), *install, "--requirement", REQUIREMENTS], check=True, timeout=PIP_TIMEOUT_SECONDS
    )
    _mark().touch()
