"""The language host's shim, the search for the official host, and messages for a program's author."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from local.plugins.language_python.program import Invocation, users_part
from local.plugins.shims import LANGUAGE_HOST, official_host, write_shim


def test_the_shim_starts_our_host_with_its_arguments(tmp_path: Path) -> None:
    python = tmp_path / "a python"
    python.write_text('#!/bin/sh\necho "$PYTHONPATH: $*"\n')
    python.chmod(0o755)
    checkout = tmp_path / "it's here"
    write_shim(tmp_path / "bin", python, checkout)
    command = [str(tmp_path / "bin" / LANGUAGE_HOST), "127.0.0.1:1"]
    printed = subprocess.run(command, env={}, capture_output=True, text=True, check=True).stdout.strip()
    assert printed == f"{checkout}: -u -P -m local.plugins.language_python 127.0.0.1:1"


def test_the_shim_is_there_only_without_an_official_host(tmp_path: Path) -> None:
    for _ in range(2):
        write_shim(tmp_path, Path("/python"), Path("/checkout"))
        assert [path.name for path in tmp_path.iterdir()] == [LANGUAGE_HOST]
    write_shim(tmp_path, Path("/python"), Path("/checkout"), official=Path("/official"))
    assert list(tmp_path.iterdir()) == []


def test_the_host_of_dynamic_providers_that_an_earlier_version_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "pulumi-resource-pulumi-python").touch()
    write_shim(tmp_path, Path("/python"), Path("/checkout"), official=Path("/official"))
    assert list(tmp_path.iterdir()) == []


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_official_host_is_found_where_the_engine_finds_it(tmp_path: Path) -> None:
    write_shim(tmp_path / "shims", Path("/python"), Path("/checkout"))
    executable(tmp_path / "release" / "pulumi")
    beside = executable(tmp_path / "release" / LANGUAGE_HOST)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "pulumi").symlink_to(tmp_path / "release" / "pulumi")
    versions = ["v3.250.0", "v3.250.1"]
    downloads = tmp_path / "home" / ".pulumi" / "plugins"
    *_, newest = [
        executable(downloads / f"language-python-{version}" / LANGUAGE_HOST) for version in versions
    ]
    environment = {"PATH": f"{tmp_path / 'shims'}:{tmp_path / 'linked'}", "HOME": str(tmp_path / "home")}
    assert official_host(environment) == beside
    beside.unlink()
    assert official_host(environment) == newest
    for version in versions:
        (downloads / f"language-python-{version}" / LANGUAGE_HOST).unlink()
    assert official_host(environment) is None


def test_our_own_shim_is_not_taken_for_official(tmp_path: Path) -> None:
    write_shim(tmp_path, Path("/python"), Path("/checkout"))
    assert official_host({"PATH": str(tmp_path), "HOME": str(tmp_path)}) is None


def test_an_invocation_survives_the_way_to_the_child() -> None:
    invocation = Invocation(
        entry_point=".",
        directory="/d",
        root_directory="/r",
        arguments=("a",),
        project="p",
        stack="s",
        organization="o",
        config={"p:k": "v"},
        secret_keys=("p:k",),
        dry_run=True,
        parallel=4,
        monitor="m",
        engine="e",
    )
    assert Invocation.from_json(invocation.to_json()) == invocation


def test_a_traceback_begins_at_the_program(tmp_path: Path) -> None:
    program = tmp_path / "__main__.py"
    source = "def deep():\n    1 / 0\ndeep()\n"
    program.write_text(source)
    with pytest.raises(ZeroDivisionError) as raised:
        exec(compile(source, str(program), "exec"), {})  # noqa: S102 - as runpy would
    shown = users_part(raised.value, tmp_path)
    assert shown.count("File ") == 2
    assert shown.index("line 3") < shown.index("line 2")
    assert __file__ not in shown
    elsewhere = users_part(raised.value, tmp_path / "elsewhere.py")
    assert __file__ in elsewhere
