"""Turns an image's recipe into blobs in the store, layer by layer, each made once."""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from common.commands import run
from common.files import write_whole
from local.images import record
from local.images.catalog import (
    Certificates,
    DebianFile,
    Image,
    Part,
    Program,
    PythonPackages,
    Source,
    all_images,
    is_importable,
)
from local.images.debian import Rootfs, extract_from_package
from local.images.oci import Descriptor, Store, add_directory, add_file, add_link, add_tree, copy_tar
from local.lock import cache_lock
from local.paths import cache_dir
from local.toolchain.venv import PIP_TIMEOUT_SECONDS, python

# What the container runtime mounts over, or what only an installer needs.
_LEFT_OUT = ("dev/", "proc/", "sys/", "var/cache/", "var/lib/apt/lists/", "var/log/")


def store() -> Store:
    return Store(cache_dir() / "images")


def build(image: Image) -> Descriptor:
    """The image's manifest; layers that an earlier build made are taken as they are.

    Raises:
        CommandFailed: a package or a module could not be had.
        FileNotFoundError: a tool of the recipe is not built yet.
    """
    target = store()
    layers = [layer(part) for part in image.parts]
    return target.image(image.config(), layers)


def stored_digests() -> dict[str, dict[str, str]]:
    """Of every image built here: its reference to the digests of its manifest and of its configuration.

    Kubernetes shows the latter as a container's `imageID` where the image was loaded, not pulled.
    """
    target = store()
    manifests = {image.reference: build(image).digest for image in all_images() if is_built(image)}
    return {
        reference: {
            "manifest": digest,
            "config": json.loads(target.path(digest).read_text())["config"]["digest"],
        }
        for reference, digest in manifests.items()
    }


def is_built(image: Image) -> bool:
    """Whether `build` would find every layer made."""
    target = store()
    return all(record.read(_record_path(part.key), target) is not None for part in image.parts)


def layer(part: Part) -> Descriptor:
    """The part as a layer in the store; it is built only once."""
    target = store()
    path = _record_path(part.key)
    known = record.read(path, target)
    if known is not None:
        return known
    with cache_lock(f"layer-{part.key}"):
        known = record.read(path, target)
        if known is not None:  # another thread or checkout has built it meanwhile
            return known
        with tempfile.TemporaryDirectory() as scratch:
            made = target.put_layer(_writer(part, Path(scratch)))
        record.write(path, made)
    return made


def _record_path(key: str) -> Path:
    return cache_dir() / "images" / "layers" / f"{key}.json"


def _writer(part: Part, scratch: Path) -> Callable[[tarfile.TarFile], None]:
    """What puts a part's files into a layer."""
    match part:
        case Rootfs():
            source = part.build()
            return lambda tar: _write_rootfs(tar, source, part.without)
        case Program():
            return lambda tar: _write_file(tar, part.tool.path, part.path, part.links)
        case DebianFile():
            version = extract_from_package(part.package, part.member, scratch / "file")
            write_whole(part.packages_record, json.dumps({part.package: version}))
            return lambda tar: _write_file(tar, scratch / "file", part.path, part.links)
        case Certificates():
            return lambda tar: add_file(tar, part.path, Path("/", part.path).read_bytes())
        case PythonPackages():
            _install_packages(part, scratch)
            return lambda tar: add_tree(tar, scratch, part.path, keep=is_importable)
        case Source():
            return lambda tar: add_tree(tar, part.package, part.path, keep=is_importable)


def _write_rootfs(tar: tarfile.TarFile, source: Path, without: tuple[str, ...]) -> None:
    def keep(name: str) -> bool:
        return not name.startswith(_LEFT_OUT) and not any(Path(name).is_relative_to(path) for path in without)

    copy_tar(tar, source, keep=keep)
    add_directory(tar, "var/log")


def _write_file(tar: tarfile.TarFile, source: Path, path: str, links: tuple[str, ...]) -> None:
    add_file(tar, path, source.read_bytes(), mode=0o755)
    for link in links:
        add_link(tar, link, f"/{path}")


def _install_packages(part: PythonPackages, target: Path) -> None:
    """For the image's interpreter, not for the one that runs this."""
    run(
        [
            *(python(), "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "--no-compile"),
            *("--only-binary=:all:", "--implementation=cp", "--python-version=3.11"),
            *("--platform=manylinux2014_x86_64", "--platform=manylinux_2_28_x86_64"),
            *("--target", target, "--requirement", part.requirements),
        ],
        timeout=PIP_TIMEOUT_SECONDS,
    )
