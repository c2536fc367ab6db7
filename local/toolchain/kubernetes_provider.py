"""Finds the official Kubernetes provider of Pulumi: on PATH, downloaded by Pulumi, or built here."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path

from common.files import link_whole
from local.toolchain.go_tools import PULUMI_KUBERNETES
from local.toolchain.plugin_version import provider_version
from local.toolchain.versions import fits, numbers

NAME = "pulumi-resource-kubernetes"
_DOWNLOADS = "resource-kubernetes-v"


class Origin(Enum):
    """Where a provider comes from, as `make status` shows it."""

    PATH = "on PATH"
    DOWNLOADED = "downloaded"
    BUILT = "built here"


@dataclass(frozen=True)
class Provider:
    """An executable of the official provider."""

    path: Path
    version: str
    origin: Origin


def sdk_version() -> str:
    """The version of the Python SDK, which is also the version of the provider that Pulumi downloads."""
    return metadata.version("pulumi-kubernetes")


def find(path: str, pulumi_home: Path) -> Provider | None:
    """The provider to use, or None if it must be downloaded or built first.

    Args:
        path: directories to search, without those of our own instances.
        pulumi_home: Pulumi's own directory, with its downloads.
    """
    return _on_path(path) or _downloaded(pulumi_home) or _built()


def _on_path(path: str) -> Provider | None:
    """The machine's own provider, if it has the same major version as our pin and is not older."""
    found = shutil.which(NAME, path=path)
    if found is None:
        return None
    version = provider_version(Path(found))
    if version is None or not fits(version, PULUMI_KUBERNETES.version):
        return None
    return Provider(Path(found), version.removeprefix("v"), Origin.PATH)


def _downloaded(pulumi_home: Path) -> Provider | None:
    """The newest download that is not older than the SDK."""
    found = [
        Provider(directory / NAME, directory.name.removeprefix(_DOWNLOADS), Origin.DOWNLOADED)
        for directory in (pulumi_home / "plugins").glob(f"{_DOWNLOADS}*")
        if os.access(directory / NAME, os.X_OK)
        # Pulumi leaves this file beside a download that was interrupted.
        and not directory.with_name(f"{directory.name}.partial").exists()
    ]
    fitting = [provider for provider in found if fits(provider.version, sdk_version())]
    return max(fitting, key=lambda one: numbers(one.version) or (), default=None)


def _built() -> Provider | None:
    if not PULUMI_KUBERNETES.built:
        return None
    return Provider(PULUMI_KUBERNETES.path, PULUMI_KUBERNETES.version.removeprefix("v"), Origin.BUILT)


def link(provider: Provider, directory: Path) -> None:
    """Link the provider in `directory`, which comes on PATH before an older provider of the machine."""
    # Replace the link atomically: a running engine may be about to start the provider.
    link_whole(directory / NAME, provider.path)


def linked(directory: Path, path: str, pulumi_home: Path) -> Provider | None:
    """The provider that the link in `directory` points to; None if the link is missing or broken."""
    target = directory / NAME
    if not target.is_symlink() or not target.exists():
        return None
    where = target.readlink()
    known = (_built(), _downloaded(pulumi_home), _on_path(path))
    return next((one for one in known if one is not None and one.path == where), None)
