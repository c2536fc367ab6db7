"""Where each image comes from: the official one where its registry answers, else built here."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import httpx

from common.commands import run
from local.images import build, record
from local.images.catalog import Image, Program
from local.images.debian import Rootfs
from local.images.oci import Descriptor, Store
from local.paths import cache_dir
from local.toolchain.go_tools import CRANE, GoTool

_PROBE_SECONDS = 5.0
_PULL_SECONDS = 900.0


def registry_answers(host: str) -> bool:
    """Whether `host` speaks the registry protocol: `GET /v2/` gives 200, or 401 to whom it does not know."""
    # Docker Hub is named docker.io in references and is reached by another name.
    address = "index.docker.io" if host == "docker.io" else host
    scheme = "http" if address.startswith(("localhost", "127.0.0.1")) else "https"
    try:
        response = httpx.get(f"{scheme}://{address}/v2/", timeout=_PROBE_SECONDS, follow_redirects=True)
    except httpx.HTTPError:
        return False
    return response.status_code in (200, 401)


class ImageSource:
    """Decides once where each image comes from, asking each registry once, and gets it from there."""

    def __init__(self, images: list[Image], answers: Callable[[str], bool] = registry_answers) -> None:
        self.images = images
        # An image that was built here before stays: a node must not change images because a
        # network came and went.
        undecided = [
            image
            for image in images
            if not (image.ours or self._known_official(image) or build.is_built(image))
        ]
        answering = {host for host in sorted({_host(image) for image in undecided}) if answers(host)}
        self._to_pull = {image.reference for image in undecided if _host(image) in answering}

    def is_official(self, image: Image) -> bool:
        return not image.ours and (image.reference in self._to_pull or self._known_official(image))

    def is_stored(self, image: Image) -> bool:
        """Whether `get` would neither pull nor build anything."""
        return build.is_built(image) if not self.is_official(image) else self._known_official(image)

    def verb(self, image: Image) -> str:
        return "pull" if self.is_official(image) else "build image"

    def tools_of(self, image: Image) -> list[GoTool]:
        """The programs that this image contains if it is built here, or crane if it is pulled."""
        if self.is_official(image):
            return [] if self._known_official(image) else [CRANE]
        return [part.tool for part in image.parts if isinstance(part, Program)]

    def rootfs_of(self, image: Image) -> list[Rootfs]:
        """The root file systems that this image contains if it is built here."""
        if self.is_official(image):
            return []
        return [part for part in image.parts if isinstance(part, Rootfs)]

    def tools_to_build(self) -> list[GoTool]:
        """Programs that the images to be built here contain, and crane where one is to be pulled."""
        return list(dict.fromkeys(tool for image in self.images for tool in self.tools_of(image)))

    def get(self, image: Image) -> Descriptor:
        """The image's manifest in the store.

        Raises:
            CommandFailed: it could neither be pulled nor built.
        """
        if not self.is_official(image):
            return build.build(image)
        path = _official_record(image)
        known = record.read(path, build.store())
        if known is None:
            known = pull(image.reference, build.store())
            record.write(path, known)
        return known

    def _known_official(self, image: Image) -> bool:
        return record.read(_official_record(image), build.store()) is not None


def _host(image: Image) -> str:
    return image.reference.partition("/")[0]


def _official_record(image: Image) -> Path:
    name = hashlib.sha256(image.reference.encode()).hexdigest()[:16]
    return cache_dir() / "images" / "official" / f"{name}.json"


def pull(reference: str, store: Store) -> Descriptor:
    """Bring an image from its registry into the store, with its blobs' digests checked by crane.

    Raises:
        CommandFailed: the registry's own words.
    """
    # In the store's file system, where a rename makes a blob appear whole or not at all.
    with tempfile.TemporaryDirectory(dir=store.root) as scratch:
        layout = Path(scratch) / "layout"
        run(
            [CRANE.path, "pull", "--platform=linux/amd64", "--format=oci", reference, layout],
            timeout=_PULL_SECONDS,
        )
        index = json.loads((layout / "index.json").read_text())
        (entry,) = index["manifests"]
        for blob in (layout / "blobs" / "sha256").iterdir():
            blob.rename(store.path(f"sha256:{blob.name}"))
        return Descriptor(entry["mediaType"], entry["digest"], entry["size"])
