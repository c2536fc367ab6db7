"""Loading images into a node, with real pipes and processes; `ctr` is a script of the test's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from common.commands import CommandFailed
from local.cluster.load import load, loaded
from local.cluster.node import Node
from local.cluster.topology import Topology
from local.images.oci import Descriptor, ImageConfig, Store, add_file

_SPEC = Topology("abc123", "10.213.0.0/24", 1).control_plane
_LISTED = """\
REF                     TYPE                                     DIGEST          SIZE PLATFORMS   LABELS
docker.io/a/b:1         application/vnd.oci.image.manifest.v1+json {digest} 1 MiB linux/amd64 -
"""


@dataclass(frozen=True)
class _ScriptedNode(Node):
    """A node on which `ctr` is a shell script that finds its arguments in "$@"."""

    ctr: str

    def command(self, argv: Sequence[str | Path]) -> list[str]:
        assert argv[0] == "ctr"
        return ["sh", "-c", self.ctr, *map(str, argv)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def image(store: Store) -> Descriptor:
    # Much more than a pipe holds, so that whoever does not read is noticed.
    layer = store.put_layer(lambda tar: add_file(tar, "large", b"x" * 2_000_000))
    return store.image(ImageConfig(), [layer])


def _node(tmp_path: Path, digest: str, on_import: str) -> _ScriptedNode:
    (tmp_path / "listed").write_text(_LISTED.format(digest=digest))
    script = f'case "$*" in *list) cat {tmp_path}/listed ;; *import*) {on_import} ;; *) exit 9 ;; esac'
    return _ScriptedNode(_SPEC, tmp_path, script)


def test_a_nodes_images_are_read(tmp_path: Path) -> None:
    assert loaded(_node(tmp_path, "sha256:abc", "exit 9")) == {"docker.io/a/b:1": "sha256:abc"}


def test_what_the_node_has_is_not_loaded_again(tmp_path: Path, store: Store, image: Descriptor) -> None:
    assert load(_node(tmp_path, image.digest, "exit 9"), {"docker.io/a/b:1": image}, store) == []


def test_what_it_lacks_or_has_otherwise_is_streamed_to_it(
    tmp_path: Path, store: Store, image: Descriptor
) -> None:
    node = _node(tmp_path, "sha256:old", f"cat >{tmp_path}/received.tar")
    images = {"docker.io/a/b:1": image, "docker.io/a/c:1": image}
    assert load(node, images, store) == ["docker.io/a/b:1", "docker.io/a/c:1"]
    with (tmp_path / "expected.tar").open("wb") as expected:
        store.write_archive(images, expected)
    assert (tmp_path / "received.tar").read_bytes() == (tmp_path / "expected.tar").read_bytes()


@pytest.mark.parametrize(
    "on_import",
    [
        "echo ctr: no space left on device >&2; exit 3",
        "head -c 20000 >/dev/null; echo ctr: no space left on device >&2; exit 3",
        "cat >/dev/null; echo ctr: no space left on device >&2; exit 3",
    ],
    ids=["before it reads", "while it reads", "after it has read all"],
)
def test_a_failed_import_says_what_containerd_said(
    on_import: str, tmp_path: Path, store: Store, image: Descriptor
) -> None:
    node = _node(tmp_path, "sha256:old", on_import)
    with pytest.raises(CommandFailed, match="exited with 3:\nctr: no space left on device"):
        load(node, {"docker.io/a/b:1": image}, store)
