"""The executables by which the engine finds our language host, and the search for official plugins."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

_MARK = "# livekit-platform plugin"


class Plugin(Enum):
    """A plugin that we can provide, by the executable that the engine looks for on PATH."""

    LANGUAGE = "pulumi-language-python"

    @property
    def module(self) -> str:
        """The Python module that our executable of that name runs."""
        return {Plugin.LANGUAGE: "local.plugins.language_python"}[self]


@dataclass(frozen=True)
class Officials:
    """Where each official plugin is, None for one that is not there."""

    found: Mapping[Plugin, Path]

    @property
    def missing(self) -> frozenset[Plugin]:
        """Those that we must provide."""
        return frozenset(Plugin) - self.found.keys()


def write_shims(
    directory: Path, python: Path, checkout: Path, plugins: Collection[Plugin] = frozenset(Plugin)
) -> None:
    """Write an executable for each of `plugins` into `directory`, and remove those of the other plugins.

    Put the directory on PATH: the engine looks there before it looks for plugins that it downloaded, which is
    why one for an official plugin that is there must not be written.

    Args:
        python: interpreter of an environment that has this project's requirements.
        checkout: the directory that holds `local/`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    # Earlier versions wrote this one.
    (directory / "pulumi-resource-pulumi-python").unlink(missing_ok=True)
    for plugin in Plugin:
        shim = directory / plugin.value
        if plugin not in plugins:
            shim.unlink(missing_ok=True)
            continue
        text = _shim(plugin, python, checkout)
        if not shim.exists() or shim.read_text(encoding="utf-8") != text:
            # In one step, as a running engine may be about to start the one that is there.
            fresh = directory / f".{plugin.value}.{os.getpid()}"
            fresh.write_text(text, encoding="utf-8")
            fresh.chmod(0o755)
            fresh.replace(shim)


def official_plugins(environment: Mapping[str, str]) -> Officials:
    """Look for the official plugins where the engine would: on PATH, beside `pulumi`, among its downloads.

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
    found: dict[Plugin, Path] = {}
    for plugin in Plugin:
        downloads = sorted((home / "plugins").glob(f"{_download_name(plugin)}-v*"))
        for directory in [*directories, *beside, *reversed(downloads)]:
            candidate = directory / plugin.value
            if candidate.is_file() and os.access(candidate, os.X_OK) and not _is_shim(candidate):
                found[plugin] = candidate
                break
    return Officials(found)


def _download_name(plugin: Plugin) -> str:
    """`pulumi-language-python` is kept in a directory `language-python-v3.250.0`."""
    return plugin.value.removeprefix("pulumi-")


def _is_shim(path: Path) -> bool:
    with path.open("rb") as file:
        return _MARK.encode() in file.read(200)


def _shim(plugin: Plugin, python: Path, checkout: Path) -> str:
    # -P keeps modules of the program's directory out of ours.
    own = shlex.quote(str(checkout))
    return (
        "#!/bin/sh\n"
        f"{_MARK}: written by local/plugins/shims.py, do not edit\n"
        f"export PYTHONPATH={own}${{PYTHONPATH:+:$PYTHONPATH}}\n"
        f'exec {shlex.quote(str(python))} -u -P -m {plugin.module} "$@"\n'
    )
