"""Recipes become layers, each made once and found again by its key."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from local.images import build
from local.images.catalog import DebianFile, Image, Part, Program, PythonPackages, Source
from local.images.debian import Rootfs
from local.images.oci import Descriptor, Store
from local.paths import cache_dir
from local.toolchain import go_tools
from local.toolchain.go_tools import GoTool

_TOOL = GoTool("pause", "./pause", "")
_OTHER_TOOL = GoTool("coredns", "./coredns", "github.com/coredns/coredns")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "package"
    (root / "__pycache__").mkdir(parents=True)
    (root / "__pycache__" / "main.pyc").write_bytes(b"byte code")
    (root / "main.py").write_text("print('hello')\n")
    return root


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Part]:
    """Parts in the order in which they were really made."""
    made: list[Part] = []
    writer = build._writer

    def counting(part: Part, scratch: Path) -> Callable[[tarfile.TarFile], None]:
        made.append(part)
        return writer(part, scratch)

    monkeypatch.setattr(build, "_writer", counting)
    return made


def _image(*parts: Part, reference: str = "docker.io/a/b:1", user: str = "") -> Image:
    return Image(reference, parts, ("/run",), user=user)


def _names(layer: Descriptor) -> list[str]:
    with tarfile.open(build.store().path(layer.digest)) as tar:
        return tar.getnames()


def _layers(image: Descriptor) -> list[Descriptor]:
    manifest = json.loads(build.store().path(image.digest).read_text())
    return [Descriptor(layer["mediaType"], layer["digest"], layer["size"]) for layer in manifest["layers"]]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Program(_TOOL, "pause"), Program(_TOOL, "bin/pause")),
        (Program(_TOOL, "pause"), Program(_TOOL, "pause", ("bin/p",))),
        (Program(_TOOL, "pause"), Program(_OTHER_TOOL, "pause")),
        (DebianFile("p", "bin/m", "bin/m"), DebianFile("q", "bin/m", "bin/m")),
        (DebianFile("p", "bin/m", "bin/m"), DebianFile("p", "bin/n", "bin/m")),
        (DebianFile("p", "bin/m", "bin/m"), DebianFile("p", "bin/m", "bin/m", ("bin/x",))),
        (Rootfs("r", ("a",)), Rootfs("r", ("a", "b"))),
        (Rootfs("r", ("a",)), Rootfs("r", ("a",), without=("etc/a",))),
    ],
)
def test_what_a_part_is_made_of_is_in_its_key(one: Part, other: Part) -> None:
    assert one.key != other.key


def test_the_order_of_packages_and_the_name_of_their_list_do_not_matter() -> None:
    assert Rootfs("r", ("a", "b")).key == Rootfs("r", ("b", "a")).key


def test_one_root_file_system_serves_layers_that_leave_out_different_things() -> None:
    whole, part = Rootfs("r", ("a",)), Rootfs("r", ("a",), without=("etc/a",))
    assert whole.tar == part.tar
    assert "/" not in part.key, "a key is a file's name"


def test_packages_are_known_by_their_pins(tmp_path: Path) -> None:
    pins = tmp_path / "requirements.txt"
    pins.write_text("a==1\n")
    before = PythonPackages(pins, "app").key
    assert PythonPackages(pins, "lib").key != before
    pins.write_text("a==2\n")
    assert PythonPackages(pins, "app").key != before


def test_a_tool_is_known_by_its_sources_pins_and_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(go_tools, "_SOURCES", tmp_path)
    (tmp_path / "go.mod").write_text("require example.org/a v1.2.3\n")
    (tmp_path / "go.sum").write_text("")
    tool = GoTool("a", "./a", "example.org/a")
    keys = [tool.key, GoTool("a", "./a/cmd", "example.org/a").key]
    keys.append(GoTool("a", "./a", "example.org/a", ("main.version",)).key)
    keys.append(GoTool("a", "./a", "example.org/a", settings=("main.x=1",)).key)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/main.go").write_text("package main\n")
    keys.append(tool.key)
    (tmp_path / "go.mod").write_text("require example.org/a v1.2.4\n")
    keys.append(tool.key)
    (tmp_path / "go.sum").write_text("example.org/a v1.2.4 h1:0=\n")
    keys.append(tool.key)
    assert len(set(keys)) == len(keys)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/main.go").write_text("package main\n")
    assert tool.key == keys[-1], "another program's source does not change this one's key"


def test_a_layer_is_made_once_for_all_images(source: Path, written: list[Part]) -> None:
    part = Source(source, "app")
    first = build.build(_image(part))
    second = build.build(_image(part, reference="docker.io/a/c:1", user="1"))
    assert written == [part]
    assert first.digest != second.digest
    assert _layers(first) == _layers(second)
    assert _names(_layers(first)[0]) == ["app/main.py"]


def test_a_built_image_is_known_as_long_as_its_blobs_are_there(source: Path, written: list[Part]) -> None:
    image = _image(Source(source, "app"))
    assert not build.is_built(image)
    made = build.build(image)
    assert build.is_built(image)
    build.store().path(_layers(made)[0].digest).unlink()
    assert not build.is_built(image)
    assert build.build(image) == made
    assert len(written) == 2


def test_a_changed_source_is_another_layer(source: Path, written: list[Part]) -> None:
    image = _image(Source(source, "app"))
    before = build.build(image)
    (source / "main.py").write_text("print('goodbye')\n")
    assert not build.is_built(image)
    assert build.build(image).digest != before.digest


# As a full disk or a power cut leaves it: the file is there, its content is not.
@pytest.mark.parametrize("content", ["", '{"media_type": "appl'])
def test_a_torn_record_is_no_record(content: str, source: Path) -> None:
    image = _image(Source(source, "app"))
    made = build.build(image)
    (record,) = (cache_dir() / "images" / "layers").iterdir()
    record.write_text(content)
    assert not build.is_built(image)
    assert build.build(image) == made


def test_a_program_and_its_other_names_are_in_the_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    _TOOL.path.parent.mkdir(parents=True)
    _TOOL.path.write_bytes(b"\x7fELF")
    made = build.build(_image(Program(_TOOL, "usr/bin/pause", ("usr/bin/wait",))))
    with tarfile.open(build.store().path(_layers(made)[0].digest)) as tar:
        assert tar.getmember("usr/bin/pause").mode == 0o755
        assert tar.getmember("usr/bin/wait").linkname == "/usr/bin/pause"


def test_a_program_that_is_not_built_makes_no_layer() -> None:
    image = _image(Program(_TOOL, "pause"))
    with pytest.raises(FileNotFoundError, match="pause"):
        build.build(image)
    assert not build.is_built(image)


def test_a_root_file_system_goes_in_without_what_is_mounted_over_or_left_out() -> None:
    rootfs = Rootfs("small", ("redis-server",), without=("etc/redis",))
    rootfs.tar.parent.mkdir(parents=True)
    kept = ["./bin/sh", "./etc/redis.conf", "./var/lib/dpkg/status"]
    left = ["./dev/null", "./proc/1", "./etc/redis", "./etc/redis/a", "./var/cache/a", "./var/log/a"]
    with tarfile.open(rootfs.tar, "w") as tar:
        for name in kept + left:
            tar.addfile(tarfile.TarInfo(name))
    made = build.build(_image(rootfs))
    # Programs that log there need the directory itself.
    assert _names(_layers(made)[0]) == [*kept, "var/log"]


def test_the_store_is_in_the_cache() -> None:
    blob = build.store().put(b"content", "text/plain")
    assert Store(cache_dir() / "images").has(blob.digest)
