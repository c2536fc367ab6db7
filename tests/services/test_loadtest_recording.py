"""The load suite's evaluating process, with the real object store."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from loadtest.recorded.protocol import Order, Report
from loadtest.targets.bucket import Bucket
from object_store_setup import rights
from object_store_setup.ensure import ensure_bucket
from tests.running import CHECKOUT
from tests.services.conftest import Gateway, key
from tests.unit.loadtest.recorded.media_file import doubled, write

_KEY = "loadtest/a room.mp4"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """With a recording of two seconds in its bucket."""
    gateway = Gateway(tmp_path / "store")
    gateway.directory.mkdir()
    gateway.prepare()
    with gateway.running():
        ensure_bucket(gateway.settings)
        file = tmp_path / "file.mp4"
        write(file, doubled(range(30)))
        store = gateway.client(rights.OPERATOR)
        store.put_object(Bucket=gateway.store.bucket, Key=_KEY, Body=file.read_bytes())
        yield gateway


def _evaluate(gateway: Gateway, secret: str) -> Report:
    bucket = Bucket(
        endpoint=gateway.store.endpoint,
        name=gateway.store.bucket,
        region=gateway.store.region,
        access_key=SecretStr(rights.OPERATOR),
        secret_key=SecretStr(secret),
        names={},
        ca_certificate="",
    )
    order = Order(bucket=bucket, key=_KEY, delete=(_KEY, "loadtest/never-there.mp4"))
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.recorded"],
        input=order.model_dump_json(),
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return Report.model_validate_json(done.stdout)


def _keys(gateway: Gateway) -> list[str]:
    listed = gateway.client(rights.OPERATOR).list_objects_v2(Bucket=gateway.store.bucket)
    return [found["Key"] for found in listed.get("Contents", [])]


def test_a_recording_is_evaluated_and_deleted(gateway: Gateway) -> None:
    report = _evaluate(gateway, key(rights.OPERATOR).secret)
    assert (report.problem, report.not_deleted) == ("", "")
    assert report.media is not None
    assert (report.media.delivered, report.media.sent) == (30, 30)
    assert _keys(gateway) == []


def test_a_wrong_secret_is_a_problem_in_words_without_a_signature(gateway: Gateway) -> None:
    report = _evaluate(gateway, "wrong-0123456789-abcdefghijklmnopq")
    assert report.media is None
    assert report.problem.endswith(f"/{gateway.store.bucket}/{_KEY}: HTTP 403")
    assert "HTTP 403" in report.not_deleted
    assert "X-Amz" not in report.model_dump_json()
    assert _keys(gateway) == [_KEY]
