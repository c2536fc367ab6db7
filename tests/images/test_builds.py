"""The same inputs give the same image, in stores that know nothing of each other."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from local.images import build
from local.images.catalog import Image, Program, Source
from local.images.oci import Descriptor
from local.paths import CHECKOUT
from local.toolchain import go_tools
from local.toolchain.go_tools import PAUSE

_TOKEN_API = CHECKOUT / "services" / "token-api" / "token_api"


def _image(package: Path) -> Image:
    parts = (Program(PAUSE, "pause", ("usr/bin/pause",)), Source(package, "app/token_api"))
    return Image("docker.io/livekit-platform/small:1", parts, ("/pause",), user="65535:65535")


def _built_in(cache: Path, package: Path) -> tuple[Descriptor, dict[str, bytes]]:
    """The image of a cache, its program compiled there as well, and all its blobs."""
    assert not PAUSE.built
    PAUSE.build()
    made = build.build(_image(package))
    assert build.store().root.is_relative_to(cache)
    return made, {digest: build.store().path(digest).read_bytes() for digest in build.store().blobs_of(made)}


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """The token API's package as another checkout has it: other times, modes and order, and byte code."""
    copy = tmp_path / "another" / "checkout" / "token_api"
    copy.mkdir(parents=True)
    shutil.copytree(go_tools._SOURCES, copy.parent / "go")
    for path in sorted(_TOKEN_API.rglob("*"), reverse=True):
        if path.is_file() and "__pycache__" not in path.parts:
            target = copy / path.relative_to(_TOKEN_API)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            target.chmod(0o600)
            os.utime(target, (1, 1))
    (copy / "__pycache__").mkdir(exist_ok=True)
    (copy / "__pycache__" / "cli.cpython-311.pyc").write_bytes(b"byte code")
    return copy


def test_two_checkouts_with_stores_of_their_own_make_the_same_image(
    use_cache: Callable[[str], Path], elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, first_blobs = _built_in(use_cache("first"), _TOKEN_API)
    monkeypatch.setattr(go_tools, "_SOURCES", elsewhere.parent / "go")
    second, second_blobs = _built_in(use_cache("second"), elsewhere)
    assert first == second
    assert first_blobs == second_blobs
    assert len(first_blobs) == 4  # manifest, configuration, two layers


def test_a_changed_source_makes_another_image_of_the_same_program(
    use_cache: Callable[[str], Path], elsewhere: Path
) -> None:
    _, before = _built_in(use_cache("first"), _TOKEN_API)
    with (elsewhere / "cli.py").open("a") as file:
        file.write("# one line more\n")
    _, after = _built_in(use_cache("second"), elsewhere)
    assert len(before.keys() & after.keys()) == 1


def test_the_layers_hold_the_program_and_what_can_be_imported(use_cache: Callable[[str], Path]) -> None:
    made, _ = _built_in(use_cache("first"), _TOKEN_API)
    program, source = build.store().blobs_of(made)[2:]
    with tarfile.open(build.store().path(program)) as tar:
        file = tar.extractfile("pause")
        assert file
        assert file.read(4) == b"\x7fELF"
        assert tar.getmember("pause").mode == 0o755
    with tarfile.open(build.store().path(source)) as tar:
        names = tar.getnames()
    assert "app/token_api/__main__.py" in names
    assert [name for name in names if not name.startswith("app/token_api/") or "__pycache__" in name] == []
