"""OCI images in a store on disk: blobs by digest, images by reference.

Layers are uncompressed tar files with fixed order, times and owners, so the same inputs give the
same digest. Format: OCI image specification v1.1.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

# One time for every file: 2025-01-01. A build date would make every build another image.
EPOCH = 1735689600
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True)
class Descriptor:
    """A blob by its content: media type, "sha256:..." and size in bytes."""

    media_type: str
    digest: str
    size: int

    def to_json(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True)
class ImageConfig:
    """What a container of the image runs, and as whom."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    working_dir: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def to_json(self, layers: Iterable[Descriptor]) -> dict[str, Any]:
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        given = {
            "Entrypoint": list(self.entrypoint),
            "Cmd": list(self.cmd),
            "Env": [f"{name}={value}" for name, value in {"PATH": path, **self.env}.items()],
            "User": self.user,
            "WorkingDir": self.working_dir,
            "Labels": dict(self.labels),
        }
        return {
            "architecture": "amd64",
            "os": "linux",
            "config": {key: value for key, value in given.items() if value},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        }


class Store:
    """A directory of blobs, each named by its SHA-256."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._blobs = root / "blobs" / "sha256"
        self._blobs.mkdir(parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        return self._blobs / digest.removeprefix("sha256:")

    def has(self, digest: str) -> bool:
        return self.path(digest).exists()

    def put(self, content: bytes, media_type: str) -> Descriptor:
        with self._writing() as (file, commit):
            file.write(content)
            return commit(media_type)

    def put_layer(self, write: Callable[[tarfile.TarFile], None]) -> Descriptor:
        """A layer out of what `write` adds to an open tar file; see `add_file`, `add_tree`."""
        with self._writing() as (file, commit):
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                write(tar)
            return commit(_LAYER)

    @contextmanager
    def _writing(self) -> Iterator[tuple[IO[bytes], Callable[[str], Descriptor]]]:
        """A temporary file that becomes a blob only when it is complete."""
        handle, name = tempfile.mkstemp(dir=self._blobs.parent)
        try:
            with os.fdopen(handle, "w+b") as file:

                def commit(media_type: str) -> Descriptor:
                    file.flush()
                    file.seek(0)
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                    Path(name).rename(self._blobs / digest)
                    return Descriptor(media_type, f"sha256:{digest}", (self._blobs / digest).stat().st_size)

                yield file, commit
        finally:
            Path(name).unlink(missing_ok=True)

    def image(self, config: ImageConfig, layers: list[Descriptor]) -> Descriptor:
        """Tie layers and configuration together; gives the manifest's descriptor."""
        config_blob = self.put(_canonical(config.to_json(layers)), _CONFIG)
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": config_blob.to_json(),
            "layers": [layer.to_json() for layer in layers],
        }
        return self.put(_canonical(manifest), _MANIFEST)

    def blobs_of(self, manifest: Descriptor) -> list[str]:
        """Digests of all blobs of an image, its manifest's among them."""
        content = json.loads(self.path(manifest.digest).read_text())
        return [
            manifest.digest,
            content["config"]["digest"],
            *(layer["digest"] for layer in content["layers"]),
        ]

    def write_archive(self, images: Mapping[str, Descriptor], out: IO[bytes]) -> None:
        """An OCI archive of `images` (reference to manifest), as containerd imports it.

        A blob that several images share is written once.
        """
        index = {
            "schemaVersion": 2,
            "mediaType": _INDEX,
            "manifests": [
                {**manifest.to_json(), "annotations": {"io.containerd.image.name": reference}}
                for reference, manifest in sorted(images.items())
            ],
        }
        digests = sorted({digest for manifest in images.values() for digest in self.blobs_of(manifest)})
        with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            add_file(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
            add_file(tar, "index.json", _canonical(index))
            for digest in digests:
                path = self.path(digest)
                member = _member(f"blobs/sha256/{path.name}", 0o644)
                member.size = path.stat().st_size
                with path.open("rb") as blob:
                    tar.addfile(member, blob)


def _canonical(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _member(name: str, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mode = mode
    member.mtime = EPOCH
    return member


def add_file(tar: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644) -> None:
    """A file owned by root; `name` is relative to the image's root."""
    member = _member(name, mode)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def add_directory(tar: tarfile.TarFile, name: str, *, mode: int = 0o755, owner: int = 0) -> None:
    member = _member(name, mode)
    member.type = tarfile.DIRTYPE
    member.uid = member.gid = owner
    tar.addfile(member)


def add_link(tar: tarfile.TarFile, name: str, target: str) -> None:
    """A symbolic link."""
    member = _member(name, 0o777)
    member.type = tarfile.SYMTYPE
    member.linkname = target
    tar.addfile(member)


def add_tree(tar: tarfile.TarFile, source: Path, prefix: str, *, keep: Callable[[Path], bool]) -> None:
    """Files below `source` for which `keep(relative path)` is true, under `prefix`, in sorted order."""
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if path.is_file() and keep(relative):
            mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            add_file(tar, f"{prefix}/{relative}", path.read_bytes(), mode=mode)


def copy_tar(tar: tarfile.TarFile, source: Path, *, keep: Callable[[str], bool]) -> None:
    """Members of another tar file for which `keep(name)` is true, with their owners and modes."""
    with tarfile.open(source) as original:
        for member in original:
            if not keep(member.name.removeprefix("./")):
                continue
            member.mtime = min(int(member.mtime), EPOCH)
            member.uname = member.gname = ""
            member.pax_headers = {}
            tar.addfile(member, original.extractfile(member) if member.isreg() else None)
