"""Publishing to a real registry: what arrives is what was built, and a failure is the registry's own."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from common.commands import CommandFailed, run
from local.images import build
from local.images.catalog import Image, Source
from local.images.oci import Descriptor, Store
from local.images.push import publish, push
from local.images.source import pull
from tests.images.conftest import serving
from tests.support.serving import serving_in_thread


@pytest.fixture
def image(use_cache: Callable[[str], Path], package: Path) -> Image:
    """One of ours, small, in a cache of the test's own."""
    use_cache("cache")
    return Image(
        "docker.io/livekit-platform/sample:0123456789ab", (Source(package, "app"),), ("/x",), ours=True
    )


def uploads(directory: Path) -> list[str]:
    """What the registry was sent, of its own log: blobs and manifests."""
    log = (directory.parent / "registry.log").read_text()
    return re.findall(r"(POST|PATCH|PUT) /v2/\S*", log)


def test_what_is_pushed_is_what_was_built_and_is_what_is_pulled(
    crane: Path, image: Image, tmp_path: Path
) -> None:
    with serving(crane, tmp_path / "registry") as host:
        [pushed] = publish(f"{host}/lkp", [image])
        built = build.build(image)
        assert (pushed.key, pushed.name) == ("sample", f"sample:0123456789ab@{built.digest}")
        assert (
            run([crane, "digest", f"{host}/lkp/sample:0123456789ab"], timeout=60).stdout.strip()
            == built.digest
        )
        elsewhere = Store(tmp_path / "elsewhere")
        assert pull(f"{host}/lkp/{pushed.name}", elsewhere) == built
        ours = build.store()
        for digest in ours.blobs_of(built):
            assert elsewhere.path(digest).read_bytes() == ours.path(digest).read_bytes()


def test_pushing_again_uploads_no_blob_and_changes_nothing(
    crane: Path, image: Image, package: Path, tmp_path: Path
) -> None:
    registry = tmp_path / "registry"
    with serving(crane, registry) as host:
        first = publish(f"{host}/lkp", [image])
        blobs = {path: path.stat().st_mtime_ns for path in registry.rglob("*") if path.is_file()}
        before = uploads(registry)
        assert before.count("PUT") >= 3, "layer, configuration and manifest"
        assert publish(f"{host}/lkp", [image]) == first
        # crane names the manifest again, which is how a tag is set; blobs are asked for and found.
        assert uploads(registry)[len(before) :].count("POST") == 0
        assert {path: path.stat().st_mtime_ns for path in registry.rglob("*") if path.is_file()} == blobs

        (package / "main.py").write_text("print('changed')\n")
        [changed] = publish(f"{host}/lkp", [image])
        assert changed.name != first[0].name


def test_a_push_that_broke_off_publishes_nothing_and_goes_on(
    crane: Path, image: Image, tmp_path: Path
) -> None:
    built = build.build(image)
    layer = build.store().path(build.store().blobs_of(built)[-1])
    kept = layer.read_bytes()
    layer.write_bytes(kept[:-512])
    registry = tmp_path / "registry"
    with serving(crane, registry) as host:
        with pytest.raises(CommandFailed):
            push(f"{host}/lkp", image, built, build.store())
        assert not run([crane, "digest", f"{host}/lkp/sample:0123456789ab"], timeout=60, check=False).ok
        layer.write_bytes(kept)
        assert push(f"{host}/lkp", image, built, build.store()).name.endswith(built.digest)


def test_a_registry_that_is_not_there_is_told_by_crane(image: Image) -> None:
    with pytest.raises(CommandFailed, match=r"(?s)push.*127\.0\.0\.1:1.*connection refused"):
        publish("127.0.0.1:1/lkp", [image])


class _Closed(BaseHTTPRequestHandler):
    """A registry that wants a name and a password, and takes none."""

    asked_with: list[str | None]

    def _answer(self) -> None:
        self.asked_with.append(self.headers.get("Authorization"))
        body = json.dumps({"errors": [{"code": "UNAUTHORIZED", "message": "not you"}]}).encode()
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="closed"')
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _answer

    def log_message(self, format: str, *words: object) -> None:
        """Nothing on the test's output."""


@contextmanager
def closed_registry() -> Iterator[tuple[str, list[str | None]]]:
    asked: list[str | None] = []
    handler = type("Handler", (_Closed,), {"asked_with": asked})
    server = HTTPServer(("127.0.0.1", 0), handler)
    with serving_in_thread(server):
        yield f"127.0.0.1:{server.server_port}", asked


def test_credentials_are_docker_s_and_a_refusal_is_the_registry_s(
    image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closed_registry() as (host, asked):
        login = base64.b64encode(b"someone:their-password").decode()
        (tmp_path / "config.json").write_text(json.dumps({"auths": {host: {"auth": login}}}))
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        with pytest.raises(CommandFailed, match=r"UNAUTHORIZED|401") as failed:
            publish(f"{host}/lkp", [image])
        assert f"Basic {login}" in asked
        assert "their-password" not in str(failed.value)


def test_a_registry_that_keeps_something_else_is_found_out(
    image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    liar = tmp_path / "crane"
    liar.write_text("#!/bin/sh\necho registry.example.com/sample@sha256:other\n")
    liar.chmod(0o755)
    built: Descriptor = build.build(image)
    monkeypatch.setattr("local.images.push.CRANE", type("Tool", (), {"path": liar}))
    with pytest.raises(RuntimeError, match=rf"the registry has sha256:other, built was {built.digest}"):
        push("registry.example.com", image, built, build.store())
