"""Official images, from a real registry: taken while it answers, built while it does not."""

from __future__ import annotations

import socket
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from common.commands import CommandFailed
from local.images import build
from local.images.catalog import Image, Source
from local.images.oci import Descriptor, ImageConfig, Store, add_file
from local.images.source import ImageSource, pull, registry_answers
from local.toolchain.go_tools import CRANE
from tests.images.conftest import push, serving
from tests.support.serving import serving_in_thread


@pytest.fixture
def official(tmp_path: Path) -> tuple[Store, Descriptor]:
    """An image that our own store made: what the registry is given as the official one."""
    store = Store(tmp_path / "upstream")

    def layer(name: str) -> Descriptor:
        return store.put_layer(lambda tar: add_file(tar, name, b"x" * 1000))

    return store, store.image(ImageConfig(entrypoint=("/official",)), [layer("a"), layer("b")])


def _recipe(reference: str, package: Path) -> Image:
    return Image(reference, (Source(package, "app"),), ("/built-here",))


def test_an_image_comes_from_its_registry_and_stays_when_that_is_gone(
    crane: Path,
    use_cache: Callable[[str], Path],
    official: tuple[Store, Descriptor],
    package: Path,
    tmp_path: Path,
) -> None:
    use_cache("cache")
    upstream, image = official
    with serving(crane, tmp_path / "registry") as host:
        reference = f"{host}/official/image:1.2.3"
        push(crane, upstream, image, reference, tmp_path)
        wanted = _recipe(reference, package)
        assert registry_answers(host)
        source = ImageSource([wanted])
        assert source.verb(wanted) == "pull"
        assert source.tools_to_build() == [CRANE]
        pulled = source.get(wanted)
    assert pulled == image
    store = build.store()
    assert {digest: store.path(digest).read_bytes() for digest in store.blobs_of(pulled)} == {
        digest: upstream.path(digest).read_bytes() for digest in upstream.blobs_of(image)
    }
    # Nothing of the way there is left beside the blobs.
    assert sorted(path.name for path in store.root.iterdir()) == ["blobs", "official"]

    assert not registry_answers(host)
    again = ImageSource([wanted])
    assert again.verb(wanted) == "pull"
    assert again.get(wanted) == image


def test_with_the_registry_down_the_image_is_built_and_stays_when_it_comes_up(
    crane: Path,
    use_cache: Callable[[str], Path],
    official: tuple[Store, Descriptor],
    package: Path,
    tmp_path: Path,
) -> None:
    use_cache("cache")
    upstream, image = official
    with socket.socket() as nobody:
        # Bound and not listening: taken by us, and refusing.
        nobody.bind(("127.0.0.1", 0))
        silent = f"127.0.0.1:{nobody.getsockname()[1]}"
        assert not registry_answers(silent)
        alone = _recipe(f"{silent}/official/image:1.2.3", package)
        source = ImageSource([alone])
        assert source.verb(alone) == "build image"
        assert source.tools_to_build() == []
        built = source.get(alone)
    assert built == build.build(alone)
    assert built != image

    with serving(crane, tmp_path / "registry") as host:
        reference = f"{host}/official/image:1.2.3"
        push(crane, upstream, image, reference, tmp_path)
        # The same recipe, so its layers are there: it counts as built before.
        later = _recipe(reference, package)
        source = ImageSource([later])
        assert source.verb(later) == "build image"
        assert source.get(later) != image


def test_what_a_registry_does_not_have_fails_in_its_own_words(
    crane: Path, use_cache: Callable[[str], Path], package: Path, tmp_path: Path
) -> None:
    use_cache("cache")
    with serving(crane, tmp_path / "registry") as host:
        wanted = _recipe(f"{host}/no/such:1", package)
        with pytest.raises(CommandFailed, match=r"NAME_UNKNOWN|MANIFEST_UNKNOWN|404"):
            ImageSource([wanted]).get(wanted)
        # A failure leaves no record that a later run would take for an image.
        assert not ImageSource([wanted])._known_official(wanted)


def test_a_registry_that_delivers_other_bytes_is_found_out(
    crane: Path, use_cache: Callable[[str], Path], official: tuple[Store, Descriptor], tmp_path: Path
) -> None:
    use_cache("cache")
    upstream, image = official
    layer = upstream.blobs_of(image)[-1]
    registry = tmp_path / "registry"
    with serving(crane, registry) as host:
        reference = f"{host}/official/image:1.2.3"
        push(crane, upstream, image, reference, tmp_path)
        (stored,) = [path for path in registry.rglob("*") if path.name == layer.removeprefix("sha256:")]
        stored.write_bytes(b"y" * stored.stat().st_size)
        with pytest.raises(CommandFailed, match="exited with 1"):
            pull(reference, build.store())
    assert not build.store().has(layer)


@pytest.mark.parametrize(
    ("status", "answers"), [(200, True), (401, True), (403, False), (404, False), (503, False)]
)
def test_what_counts_as_an_answer(status: int, answers: bool) -> None:
    """401 is a registry that asks who one is; a proxy's or a portal's page is none."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/v2/" else 500)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *words: object) -> None:
            """Nothing on the test's output."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    with serving_in_thread(server):
        assert registry_answers(f"127.0.0.1:{server.server_port}") is answers
