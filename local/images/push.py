"""Publishes images in a registry: ours, which no other has, or all that the program deploys."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from common.commands import run
from local.images.catalog import Image, platform_images
from local.images.oci import Descriptor, Store
from local.toolchain.go_tools import CRANE

_PUSH_SECONDS = 1800.0
# As `images.registry` of the program's configuration allows it.
_REGISTRY = re.compile(r"^(?P<host>[a-z0-9.-]+(:[0-9]+)?)(/[a-z0-9._-]+)*$")
_ALLOWED = "a registry's host, with a path if need be: registry.example.com/livekit-platform"
# Ours stand in the catalog under a name that no registry has.
_OUR_NAMESPACE = "livekit-platform/"
# Where the configuration calls an image by another name than its own.
_KEYS = {"livekit-server": "livekit", "distroless-iptables": "nftables"}


class WrongRegistry(ValueError):
    """What was given is no registry; the message says what is allowed."""


@dataclass(frozen=True)
class Pushed:
    """An image in the registry.

    Attributes:
        key: its key under `images` in the program's configuration.
        name: without the registry, with tag and digest.
    """

    key: str
    name: str


def checked(registry: str) -> str:
    """`registry`, if it may be one.

    Raises:
        WrongRegistry: it may not.
    """
    matched = _REGISTRY.match(registry)
    host = matched["host"] if matched else ""
    # Without a dot or a port it is a path at Docker Hub for every tool, whatever was meant.
    if not ("." in host or ":" in host or host == "localhost"):
        raise WrongRegistry(f"REGISTRY: given {registry!r}, allowed is {_ALLOWED}")
    return registry


def images_to_push(*, everything: bool) -> list[Image]:
    """Ours, or all that the program deploys: for networks that reach no other registry."""
    return [image for image in platform_images() if everything or image.ours]


def push(registry: str, image: Image, manifest: Descriptor, blobs: Store) -> Pushed:
    """One image, by crane with the credentials of docker's configuration.

    Raises:
        CommandFailed: the registry's own words.
        RuntimeError: the registry took it for something else.
    """
    reference = f"{registry}/{name_of(image)}"
    # In the store's file system, where a hard link costs nothing; crane takes no symbolic one.
    with tempfile.TemporaryDirectory(dir=blobs.root) as scratch:
        _write_layout(Path(scratch), manifest, blobs)
        done = run([CRANE.path, "push", scratch, reference], timeout=_PUSH_SECONDS)
    digest = done.stdout.strip().rpartition("@")[2]
    if digest != manifest.digest:
        raise RuntimeError(
            f"{reference}: the registry has {digest or 'nothing'}, built was {manifest.digest}"
        )
    return Pushed(key_of(image), f"{name_of(image)}@{manifest.digest}")


def _write_layout(directory: Path, manifest: Descriptor, blobs: Store) -> None:
    """An OCI layout of one image whose blobs are the store's own: nothing is copied."""
    (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    index = {"schemaVersion": 2, "manifests": [manifest.to_json()]}
    (directory / "index.json").write_text(json.dumps(index))
    inside = directory / "blobs" / "sha256"
    inside.mkdir(parents=True)
    for digest in set(blobs.blobs_of(manifest)):
        (inside / digest.removeprefix("sha256:")).hardlink_to(blobs.path(digest))


def name_of(image: Image) -> str:
    """Its name below the registry, with its tag."""
    return image.reference.partition("/")[2].removeprefix(_OUR_NAMESPACE)


def key_of(image: Image) -> str:
    """Its key under `images` in the program's configuration."""
    own = image.repository.rpartition("/")[2]
    return _KEYS.get(own, own.replace("-", "_"))


def configuration(registry: str, pushed: list[Pushed]) -> str:
    """What goes into Pulumi.<stack>.yaml, below `config:`."""
    lines = [f"  {image.key}: {image.name}" for image in pushed]
    return "\n".join(["livekit-platform:images:", f"  registry: {registry}", *lines])
