"""Where each image is taken from. Registries here only answer or do not; tests/images has a real one."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from local.images import build, source
from local.images.catalog import Image, Program, Source
from local.images.debian import Rootfs
from local.images.oci import Descriptor, ImageConfig, Store
from local.images.source import ImageSource, registry_answers
from local.toolchain.go_tools import CRANE, PAUSE


class _Registries:
    """Those that answer, and every question that was asked."""

    def __init__(self, *answering: str) -> None:
        self._answering = answering
        self.asked: list[str] = []

    def __call__(self, host: str) -> bool:
        self.asked.append(host)
        return host in self._answering


@pytest.fixture
def package(tmp_path: Path) -> Path:
    root = tmp_path / "package"
    root.mkdir()
    (root / "main.py").write_text("")
    return root


def _image(reference: str, package: Path, *, ours: bool = False) -> Image:
    """Of a layer that no other has: its path is the reference."""
    return Image(reference, (Source(package, reference),), ("/run",), ours=ours)


@pytest.fixture
def pulled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """References that were pulled; what comes is an image of no layers, labelled with its reference."""
    references: list[str] = []

    def pull(reference: str, store: Store) -> Descriptor:
        references.append(reference)
        return store.image(ImageConfig(labels={"pulled": reference}), [])

    monkeypatch.setattr(source, "pull", pull)
    return references


def test_the_official_image_is_taken_where_its_registry_answers(package: Path, pulled: list[str]) -> None:
    hub, other = _image("docker.io/a/b:1", package), _image("registry.test/c:1", package)
    registries = _Registries("docker.io")
    chosen = ImageSource([hub, other], registries)
    assert [chosen.verb(image) for image in (hub, other)] == ["pull", "build image"]
    assert chosen.get(hub) != build.build(hub)
    assert chosen.get(other) == build.build(other)
    assert pulled == ["docker.io/a/b:1"]


def test_a_registry_is_asked_once(package: Path) -> None:
    registries = _Registries()
    ImageSource([_image(f"docker.io/a/b:{tag}", package) for tag in range(3)], registries)
    assert registries.asked == ["docker.io"]


def test_our_own_image_is_built_and_no_registry_asked_for_it(package: Path, pulled: list[str]) -> None:
    ours = _image("docker.io/livekit-platform/token-api:1", package, ours=True)
    registries = _Registries("docker.io")
    chosen = ImageSource([ours], registries)
    assert registries.asked == []
    assert chosen.verb(ours) == "build image"
    assert chosen.get(ours) == build.build(ours)
    assert pulled == []


def test_a_pulled_image_stays_pulled_when_the_registry_has_gone(package: Path, pulled: list[str]) -> None:
    image = _image("docker.io/a/b:1", package)
    first = ImageSource([image], _Registries("docker.io")).get(image)
    gone = _Registries()
    again = ImageSource([image], gone)
    assert again.is_official(image)
    assert again.get(image) == first
    assert (pulled, gone.asked) == (["docker.io/a/b:1"], [])


def test_a_built_image_stays_built_when_the_registry_has_come(package: Path, pulled: list[str]) -> None:
    image = _image("docker.io/a/b:1", package)
    first = ImageSource([image], _Registries()).get(image)
    come = _Registries("docker.io")
    again = ImageSource([image], come)
    assert not again.is_official(image)
    assert again.get(image) == first
    assert (pulled, come.asked) == ([], [])


def test_a_new_image_of_a_registry_does_not_exchange_those_that_were_built(
    package: Path, pulled: list[str]
) -> None:
    built, new = _image("docker.io/a/built:1", package), _image("docker.io/a/new:1", package)
    ImageSource([built], _Registries()).get(built)
    chosen = ImageSource([built, new], _Registries("docker.io"))
    assert [chosen.verb(image) for image in (built, new)] == ["build image", "pull"]


def test_a_change_of_our_own_image_does_not_exchange_those_that_were_built(
    package: Path, pulled: list[str]
) -> None:
    built = _image("docker.io/a/built:1", package)
    ours = _image("docker.io/livekit-platform/token-api:2", package, ours=True)
    ImageSource([built], _Registries()).get(built)
    registries = _Registries("docker.io")
    chosen = ImageSource([built, ours], registries)
    assert not chosen.is_official(built)
    assert registries.asked == []


def test_what_was_decided_holds_to_the_end(package: Path, pulled: list[str]) -> None:
    """`verb` is asked before an image is made and after it."""
    images = [_image(reference, package) for reference in ("docker.io/a/b:1", "registry.test/c:1")]
    chosen = ImageSource(images, _Registries("docker.io"))
    before = [chosen.verb(image) for image in images]
    for image in images:
        chosen.get(image)
    assert [chosen.verb(image) for image in images] == before


def test_only_what_is_needed_is_built(package: Path) -> None:
    rootfs = Rootfs("r", ("a",))
    program = Image("docker.io/a/program:1", (rootfs, Program(PAUSE, "pause")), ("/pause",))
    second = Image("docker.io/a/second:1", (rootfs,), ("/run",))
    offline = ImageSource([program, second], _Registries())
    assert offline.tools_to_build() == [PAUSE]
    assert [offline.rootfs_of(image) for image in (program, second)] == [[rootfs], [rootfs]]
    online = ImageSource([program, second], _Registries("docker.io"))
    assert online.tools_to_build() == [CRANE]
    assert [online.rootfs_of(image) for image in (program, second)] == [[], []]


def test_crane_is_not_built_for_images_that_are_here(package: Path, pulled: list[str]) -> None:
    image = _image("docker.io/a/b:1", package)
    ImageSource([image], _Registries("docker.io")).get(image)
    assert ImageSource([image], _Registries("docker.io")).tools_to_build() == []


def test_a_pulled_image_whose_blobs_are_lost_is_pulled_again(package: Path, pulled: list[str]) -> None:
    image = _image("docker.io/a/b:1", package)
    made = ImageSource([image], _Registries("docker.io")).get(image)
    build.store().path(made.digest).unlink()
    assert ImageSource([image], _Registries("docker.io")).get(image) == made
    assert build.store().has(made.digest)


@pytest.mark.parametrize("content", ["", '{"media_type": "appl'])
def test_a_torn_record_is_no_record(content: str, package: Path, pulled: list[str]) -> None:
    image = _image("docker.io/a/b:1", package)
    made = ImageSource([image], _Registries("docker.io")).get(image)
    record = source._official_record(image)
    assert json.loads(record.read_text()) == asdict(made)
    record.write_text(content)
    assert ImageSource([image], _Registries("docker.io")).get(image) == made


def test_a_registry_that_nobody_runs_does_not_answer() -> None:
    # Port 1 is nobody's; on loopback that is known at once.
    assert not registry_answers("127.0.0.1:1")
