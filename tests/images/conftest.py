"""Real builds in caches of the tests' own, and a real registry on loopback; no stack is touched."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.commands import run
from common.waiting import wait_until
from local.images.oci import Descriptor, Store
from local.images.source import registry_answers
from local.paths import cache_dir
from local.toolchain.go_tools import CRANE, KUBERNETES, GoTool

_START_SECONDS = 30.0


def _built(tool: GoTool) -> Path:
    """The tool in the machine's real cache; made there where it is missing, as `make up` would."""
    return tool.path if tool.built else tool.build()


@pytest.fixture(scope="session")
def crane() -> Path:
    return _built(CRANE)


@pytest.fixture(scope="session")
def kubernetes() -> Path:
    return _built(KUBERNETES)


@pytest.fixture
def use_cache(crane: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Makes an empty cache the current one; of the real one it has crane and Go's own caches."""
    go_cache = run(["go", "env", "GOCACHE"], timeout=30).stdout.strip()
    tool_directory = crane.parent

    def use(name: str) -> Path:
        monkeypatch.setenv("GOCACHE", go_cache)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        tools = cache_dir() / "tools"
        if not tools.exists():
            tools.mkdir(parents=True)
            (tools / tool_directory.name).symlink_to(tool_directory)
        return cache_dir()

    return use


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A small Python package."""
    root = tmp_path / "package"
    root.mkdir()
    (root / "__init__.py").write_text("")
    (root / "main.py").write_text("print('hello')\n")
    return root


@contextmanager
def serving(crane: Path, directory: Path) -> Iterator[str]:
    """A registry as a process of ours, and its address; it ends with the block."""
    directory.mkdir(exist_ok=True)
    log = directory.parent / "registry.log"
    command = [str(crane), "registry", "serve", "--address", "127.0.0.1:0", "--disk", str(directory)]
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out, env=_no_proxy()) as process:
        try:

            def address() -> str:
                assert process.poll() is None, f"the registry ended: {log.read_text()}"
                found = re.search(r"serving on port (\d+)|127\.0\.0\.1:([1-9]\d*)", log.read_text())
                return f"127.0.0.1:{found[1] or found[2]}" if found else ""

            host = wait_until(
                address, timeout=_START_SECONDS, describe="the registry to say its port", interval=0.05
            )
            wait_until(
                lambda: registry_answers(host),
                timeout=_START_SECONDS,
                describe=f"the registry on {host} to answer",
                interval=0.05,
            )
            yield host
        finally:
            process.terminate()
            process.wait(timeout=10)


def _no_proxy() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


def push(crane: Path, store: Store, image: Descriptor, reference: str, scratch: Path) -> None:
    """Put an image of the store into a registry, by way of an OCI layout on disk."""
    layout = scratch / "layout"
    layout.mkdir()
    with (scratch / "layout.tar").open("w+b") as archive:
        store.write_archive({reference: image}, archive)
        archive.seek(0)
        run(["tar", "-xf", archive.name, "-C", layout], timeout=60)
    run([crane, "push", layout, reference], timeout=120)
