"""Images by digest: the same inputs give the same bytes, and archives hold what they name."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from local.images.oci import (
    EPOCH,
    Descriptor,
    ImageConfig,
    Store,
    add_directory,
    add_file,
    add_link,
    add_tree,
    copy_tar,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def _tree(root: Path, names: list[str]) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"the content of {name}")
    return root


def _everything(_: object) -> bool:
    return True


def _members(store: Store, layer: Descriptor) -> list[tarfile.TarInfo]:
    with tarfile.open(store.path(layer.digest)) as tar:
        return tar.getmembers()


def test_a_blob_is_named_by_its_content(store: Store) -> None:
    blob = store.put(b"content", "text/plain")
    assert blob == Descriptor("text/plain", f"sha256:{hashlib.sha256(b'content').hexdigest()}", 7)
    assert store.has(blob.digest)
    assert store.path(blob.digest).read_bytes() == b"content"
    assert not store.has("sha256:" + "0" * 64)


def test_a_failed_layer_leaves_nothing_in_the_store(store: Store, tmp_path: Path) -> None:
    def write(tar: tarfile.TarFile) -> None:
        add_file(tar, "half", b"of it")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"):
        store.put_layer(write)
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


def test_a_layer_depends_on_names_and_contents_only(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not on the order in which files were made, when, where, or under which umask."""
    names = ["b.py", "a/z.py", "a/b/c.py", "a.py"]
    first = _tree(tmp_path / "first", names)
    second = _tree(tmp_path / "elsewhere" / "second", names[::-1])
    for path in second.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700 if path.is_dir() else 0o600)

    def layer(source: Path) -> Descriptor:
        return store.put_layer(lambda tar: add_tree(tar, source, "app", keep=_everything))

    made = layer(first)
    listed = Path.rglob
    # Many file systems list by a hash of the name, which is the same in both trees; this one does not.
    monkeypatch.setattr(Path, "rglob", lambda path, pattern: sorted(listed(path, pattern), reverse=True))
    assert layer(second) == made
    (second / "a.py").write_text("another content")
    assert layer(second).digest != made.digest


def test_a_layers_files_are_sorted_of_one_time_and_roots(store: Store, tmp_path: Path) -> None:
    source = _tree(tmp_path / "source", ["b.py", "a.py", "run", "left/out"])
    (source / "run").chmod(0o744)
    layer = store.put_layer(
        lambda tar: add_tree(tar, source, "app", keep=lambda path: path.parts[0] != "left")
    )
    members = _members(store, layer)
    assert [(member.name, member.mode) for member in members] == [
        ("app/a.py", 0o644),
        ("app/b.py", 0o644),
        ("app/run", 0o755),
    ]
    assert {(member.mtime, member.uid, member.gid, member.uname) for member in members} == {(EPOCH, 0, 0, "")}


def test_a_program_its_links_and_a_directory_go_into_a_layer(store: Store) -> None:
    def write(tar: tarfile.TarFile) -> None:
        add_file(tar, "bin/busybox", b"\x7fELF", mode=0o755)
        add_link(tar, "bin/sh", "/bin/busybox")
        add_directory(tar, "data", mode=0o700, owner=999)

    program, link, directory = _members(store, store.put_layer(write))
    assert (program.isreg(), program.mode, program.size) == (True, 0o755, 4)
    assert (link.issym(), link.linkname) == (True, "/bin/busybox")
    assert (directory.isdir(), directory.mode, directory.uid, directory.gid) == (True, 0o700, 999, 999)


def test_another_tar_is_copied_with_owners_but_without_what_differs_from_build_to_build(
    store: Store, tmp_path: Path
) -> None:
    def original(path: Path, mtime: float, user: str) -> Path:
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
            for name, content in {"./etc/kept": b"k", "./etc/redis/left": b"l"}.items():
                member = tarfile.TarInfo(name)
                member.size, member.mtime, member.uid, member.mode = len(content), mtime, 999, 0o640
                member.uname = user
                tar.addfile(member, io.BytesIO(content))
        return path

    def layer(source: Path) -> Descriptor:
        return store.put_layer(
            lambda tar: copy_tar(tar, source, keep=lambda name: not name.startswith("etc/redis"))
        )

    made = layer(original(tmp_path / "a.tar", EPOCH + 100.25, "redis"))
    (member,) = _members(store, made)
    assert (member.name, member.uid, member.mode, member.mtime) == ("./etc/kept", 999, 0o640, EPOCH)
    assert layer(original(tmp_path / "b.tar", EPOCH + 7000.5, "somebody")) == made


def _image(store: Store, config: ImageConfig, *contents: bytes) -> Descriptor:
    def layer(content: bytes) -> Descriptor:
        return store.put_layer(lambda tar: add_file(tar, "file", content))

    return store.image(config, [layer(content) for content in contents])


def _config_of(store: Store, image: Descriptor) -> dict[str, Any]:
    manifest = json.loads(store.path(image.digest).read_text())
    return dict(json.loads(store.path(manifest["config"]["digest"]).read_text()))


def test_an_image_says_what_it_runs_and_carries_its_labels(store: Store) -> None:
    image = _image(
        store,
        ImageConfig(
            entrypoint=("/redis",),
            env={"A": "1"},
            user="999:999",
            labels={"livekit-platform.built-here": "true"},
        ),
        b"content",
    )
    config = _config_of(store, image)
    assert (config["os"], config["architecture"]) == ("linux", "amd64")
    inner = config["config"]
    assert inner["Labels"] == {"livekit-platform.built-here": "true"}
    assert (inner["Entrypoint"], inner["User"], inner["Env"][1:]) == (["/redis"], "999:999", ["A=1"])
    assert inner["Env"][0].startswith("PATH=/usr/local/sbin:")
    # What was not given is left to the runtime's default, not set to nothing.
    assert set(inner) == {"Labels", "Entrypoint", "User", "Env"}


def test_an_images_own_path_replaces_the_usual_one(store: Store) -> None:
    image = _image(store, ImageConfig(env={"PATH": "/only"}), b"content")
    assert _config_of(store, image)["config"]["Env"] == ["PATH=/only"]


def test_layers_are_those_that_the_configuration_names_in_order(store: Store) -> None:
    image = _image(store, ImageConfig(), b"below", b"above")
    manifest = json.loads(store.path(image.digest).read_text())
    digests = [layer["digest"] for layer in manifest["layers"]]
    assert len(set(digests)) == 2
    # Layers are not compressed: a layer's digest is its content's ("diff id") as well.
    assert _config_of(store, image)["rootfs"] == {"type": "layers", "diff_ids": digests}
    assert store.blobs_of(image) == [image.digest, manifest["config"]["digest"], *digests]


@pytest.mark.parametrize(
    "other",
    [
        lambda store: _image(store, ImageConfig(user="1"), b"a", b"b"),
        lambda store: _image(store, ImageConfig(user="0"), b"b", b"a"),
        lambda store: _image(store, ImageConfig(user="0"), b"a"),
        lambda store: _image(store, ImageConfig(user="0", labels={"a": "b"}), b"a", b"b"),
    ],
)
def test_another_image_has_another_digest(store: Store, other: Callable[[Store], Descriptor]) -> None:
    image = _image(store, ImageConfig(user="0"), b"a", b"b")
    assert _image(store, ImageConfig(user="0"), b"a", b"b") == image
    assert other(store).digest != image.digest


class _Pipe(io.RawIOBase):
    """Can only be written to from front to end, as what leads to `ctr image import -`."""

    def __init__(self) -> None:
        self.received = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.received += data
        return len(data)


def _archive(store: Store, images: dict[str, Descriptor]) -> dict[str, list[bytes]]:
    """Contents by member name: a list, for a name may come twice."""
    pipe = _Pipe()
    out: Any = pipe
    stream: IO[bytes] = out
    store.write_archive(images, stream)
    found: dict[str, list[bytes]] = {}
    with tarfile.open(fileobj=io.BytesIO(pipe.received)) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file
            found.setdefault(member.name, []).append(file.read())
    return found


def test_an_archive_holds_every_blob_once_and_an_index_of_its_images(store: Store) -> None:
    one = _image(store, ImageConfig(user="1"), b"shared", b"one")
    two = _image(store, ImageConfig(user="2"), b"shared", b"two")
    _image(store, ImageConfig(user="3"), b"not asked for")
    images = {"docker.io/a/two:2": two, "docker.io/a/one:1": one, "docker.io/a/also-one:1": one}
    found = _archive(store, images)
    assert [name for name, contents in found.items() if len(contents) > 1] == []

    blobs = {name: content for name, (content,) in found.items() if name.startswith("blobs/")}
    for name, content in blobs.items():
        assert name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"
    # Two manifests, two configurations, a shared layer and one more for each.
    assert len(blobs) == 7

    assert json.loads(found["oci-layout"][0]) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads(found["index.json"][0])
    assert (index["schemaVersion"], index["mediaType"]) == (2, "application/vnd.oci.image.index.v1+json")
    named = {
        entry["annotations"]["io.containerd.image.name"]: (entry["digest"], entry["size"], entry["mediaType"])
        for entry in index["manifests"]
    }
    assert named == {ref: (image.digest, image.size, image.media_type) for ref, image in images.items()}
    for digest, size, _ in named.values():
        assert len(blobs[f"blobs/sha256/{digest.removeprefix('sha256:')}"]) == size


def test_an_archives_bytes_do_not_depend_on_the_order_of_its_images(store: Store) -> None:
    one, two = (_image(store, ImageConfig(user=user), b"shared") for user in "12")
    assert list(_archive(store, {"a:1": one, "b:2": two}).items()) == list(
        _archive(store, {"b:2": two, "a:1": one}).items()
    )


def test_an_archive_of_an_image_that_is_not_there_fails(store: Store) -> None:
    image = _image(store, ImageConfig(), b"content")
    layer = store.blobs_of(image)[-1]
    store.path(layer).unlink()
    with pytest.raises(FileNotFoundError, match=layer.removeprefix("sha256:")):
        _archive(store, {"a:1": image})
