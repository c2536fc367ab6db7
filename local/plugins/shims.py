"""Writes the executable with which the engine finds our language host, and looks for the official host."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from common.files import write_whole

# The engine looks for an executable of this name.
LANGUAGE_HOST = "pulumi-language-python"
# Pulumi keeps a download in a directory such as `language-python-v3.250.0`.
_DOWNLOADS = "language-python-v*"
_MODULE = "local.plugins.language_python"
_MARK = "# livekit-platform plugin"


def write_shim(directory: Path, python: Path, checkout: Path, *, official: Path | None = None) -> None:
    """Write the executable of our language host into `directory`, or remove it if there is an official host.

    Put the directory on PATH. The engine searches PATH before its own downloads, so our executable would hide
    an official host.

    Args:
        python: interpreter of an environment that has this project's requirements.
        checkout: the directory that holds `local/`.
        official: the official host, as `official_host` finds it.
    """
    # Earlier versions wrote this executable.
    (directory / "pulumi-resource-pulumi-python").unlink(missing_ok=True)
    shim = directory / LANGUAGE_HOST
    if official is not None:
        shim.unlink(missing_ok=True)
        return
    text = _shim(python, checkout)
    if not shim.exists() or shim.read_text(encoding="utf-8") != text:
        write_whole(shim, text, mode=0o755)


def official_host(environment: Mapping[str, str]) -> Path | None:
    """The official language host where the engine finds it: on PATH, beside `pulumi`, among its downloads.

    Args:
        environment: PATH, HOME and PULUMI_HOME are read.
    """
    directories = [Path(entry) for entry in environment.get("PATH", "").split(os.pathsep) if entry]
    beside = [
        (directory / "pulumi").resolve().parent
        for directory in directories
        if (directory / "pulumi").is_file()
    ]
    home = Path(environment.get("PULUMI_HOME") or Path(environment.get("HOME", "/")) / ".pulumi")
    downloads = sorted((home / "plugins").glob(_DOWNLOADS), reverse=True)
    candidates = (directory / LANGUAGE_HOST for directory in [*directories, *beside, *downloads])
    return next((path for path in candidates if _is_official(path)), None)


def _is_official(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK) and not _is_shim(path)


def _is_shim(path: Path) -> bool:
    with path.open("rb") as file:
        return _MARK.encode() in file.read(200)


def _shim(python: Path, checkout: Path) -> str:
    # -P keeps modules of the program's directory out of ours.
    own = shlex.quote(str(checkout))
    return (
        "#!/bin/sh\n"
        f"{_MARK}: written by local/plugins/shims.py, do not edit\n"
        f"export PYTHONPATH={own}${{PYTHONPATH:+:$PYTHONPATH}}\n"
        f'exec {shlex.quote(str(python))} -u -P -m {_MODULE} "$@"\n'
    )
