"""A real object store, versitygw, as a process of a test's own on loopback."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.config import Config

from common.waiting import wait_until
from tests.ports import free_port
from tests.token_api.livekit_server import program

BUCKET = "recordings"
ACCESS_KEY = "store-key"
SECRET_KEY = "store-secret-0123456789-abcdefghijklm"
_START_SECONDS = 20.0
_STOP_SECONDS = 30.0


@dataclass(frozen=True)
class ObjectStore:
    """A store with one empty bucket, and one key that may do everything."""

    endpoint: str

    @property
    def settings(self) -> dict[str, str]:
        """What token-api is told of it."""
        return {
            "TOKEN_API_S3_ENDPOINT": self.endpoint,
            "TOKEN_API_S3_BUCKET": BUCKET,
            "TOKEN_API_S3_ACCESS_KEY": ACCESS_KEY,
            "TOKEN_API_S3_SECRET_KEY": SECRET_KEY,
        }


@contextmanager
def object_store(directory: Path, port: int | None = None) -> Iterator[ObjectStore]:
    """Start a store that keeps its objects in `directory`, or one that was stopped there."""
    port = port or free_port()
    objects = directory / "objects"
    objects.mkdir(exist_ok=True)
    (directory / "metadata").mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "ROOT_ACCESS_KEY_ID": ACCESS_KEY,
        "ROOT_SECRET_ACCESS_KEY": SECRET_KEY,
        "VGW_PORT": f"127.0.0.1:{port}",
        "VGW_REGION": "us-east-1",
        "VGW_HEALTH": "/_health",
        "VGW_META_SIDECAR": str(directory / "metadata"),
        "VGW_QUIET": "true",
    }
    with (directory / "versitygw.log").open("wb") as log:
        process = subprocess.Popen(
            [program("versitygw"), "posix", str(objects)], env=environment, stdout=log, stderr=log
        )
    try:
        store = ObjectStore(f"http://127.0.0.1:{port}")
        wait_until(
            lambda: httpx.get(f"{store.endpoint}/_health", trust_env=False).status_code == 200,
            timeout=_START_SECONDS,
            describe="versitygw to answer",
            interval=0.1,
            tolerate=(httpx.TransportError,),
        )
        if not (objects / BUCKET).is_dir():
            _client(store).create_bucket(Bucket=BUCKET)
        yield store
    finally:
        process.terminate()
        process.wait(timeout=_STOP_SECONDS)


def _client(store: ObjectStore) -> Any:
    return boto3.session.Session().client(
        "s3",
        endpoint_url=store.endpoint,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(s3={"addressing_style": "path"}),
    )
