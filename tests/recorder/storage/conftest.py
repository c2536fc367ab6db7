"""The recorder's storage with the real versitygw, which has the platform's accounts and rights."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from common.waiting import wait_until
from object_store_setup import rights
from object_store_setup.ensure import ensure_bucket
from recorder.errors import EgressError
from recorder.storage.bucket import Bucket
from recorder.storage.destination import Destination, UploadObserver
from recorder.storage.spool import EgressDirectory, Spool
from recorder.storage.target import S3Target
from recorder.storage.upload_state import StoredObject
from recorder.storage.uploads import UploadQueue
from tests.services.conftest import ROOT, Gateway, key
from tests.support.speed import scaled

OUTPUT = "file"
MIB = 1024**2


class Store:
    """A gateway that can be stopped and started again at its port, as an operator sees it."""

    def __init__(self, directory: Path) -> None:
        self._gateway = Gateway(directory)
        self._gateway.prepare()
        self._running = ExitStack()
        self.bucket = self._gateway.store.bucket
        self.start()
        ensure_bucket(self._gateway.settings)

    def start(self) -> None:
        self._running.enter_context(self._gateway.running())

    def stop(self) -> None:
        self._running.close()

    @property
    def root(self) -> Any:
        """A client that may do everything."""
        return self._gateway.client(ROOT.id)

    def target(self, account: str = "egress", **changes: Any) -> S3Target:
        """The bucket as the account reaches it, with short delays."""
        target = S3Target(
            self.bucket,
            region=self._gateway.store.region,
            endpoint=self._gateway.store.endpoint,
            access_key=account,
            secret=key(account).secret,
            force_path_style=True,
            min_retry_delay=0.05,
            max_retry_delay=0.3,
        )
        return dataclasses.replace(target, **changes)

    @staticmethod
    def target_of_nobody(port: int) -> S3Target:
        """Where nothing answers."""
        return S3Target(
            "recordings",
            endpoint=f"http://127.0.0.1:{port}",
            access_key="egress",
            secret="secret",
            force_path_style=True,
            min_retry_delay=0.05,
            max_retry_delay=0.3,
        )

    def keys(self) -> list[str]:
        found = self.root.list_objects_v2(Bucket=self.bucket)
        return [entry["Key"] for entry in found.get("Contents", [])]

    def content(self, key: str) -> bytes:
        content: bytes = self.root.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return content

    def uploads(self) -> dict[str, str]:
        """The ids of the multipart uploads that are not finished, by key."""
        found = self.root.list_multipart_uploads(Bucket=self.bucket)
        return {entry["Key"]: entry["UploadId"] for entry in found.get("Uploads", [])}

    def parts(self, key: str) -> list[int]:
        """The numbers of the parts that an unfinished upload has."""
        upload_id = self.uploads().get(key)
        if upload_id is None:
            return []
        found = self.root.list_parts(Bucket=self.bucket, Key=key, UploadId=upload_id)
        return [entry["PartNumber"] for entry in found.get("Parts", [])]

    def wait_for_parts(self, key: str, numbers: list[int]) -> None:
        wait_until(
            lambda: self.parts(key) == numbers,
            timeout=scaled(20),
            describe=f"parts {numbers} of {key}",
            interval=0.05,
        )

    def set_policy(self, policy: str) -> None:
        self.root.put_bucket_policy(Bucket=self.bucket, Policy=policy)

    def reset(self) -> None:
        """An empty bucket with the platform's policy."""
        self._gateway.reset()
        for name, upload_id in self.uploads().items():
            self.root.abort_multipart_upload(Bucket=self.bucket, Key=name, UploadId=upload_id)


class Events(UploadObserver):
    """What a queue reports."""

    def __init__(self) -> None:
        self.objects: list[StoredObject] = []
        self.reasons: list[str] = []
        self.errors: list[EgressError] = []

    def stored(self, stored: StoredObject, seconds: float) -> None:
        assert seconds > 0
        self.objects.append(stored)

    def switched(self, reason: str) -> None:
        self.reasons.append(reason)

    def failed(self, error: EgressError) -> None:
        self.errors.append(error)


@pytest.fixture(scope="session")
def _store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(tmp_path_factory.mktemp("versitygw"))
    yield store
    store.stop()


@pytest.fixture
def store(_store: Store) -> Iterator[Store]:
    """A running store with an empty bucket."""
    yield _store
    _store.reset()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@pytest.fixture
def directory(spool: Spool) -> Iterator[EgressDirectory]:
    """The directory of an egress, owned by this process."""
    with spool.create("EG_test", b"request") as directory:
        yield directory


@contextmanager
def uploading(
    directory: EgressDirectory, primary: S3Target, backup: S3Target | None = None, **settings: Any
) -> Iterator[UploadQueue]:
    """A queue that runs."""
    destination = Destination(Bucket(primary), None if backup is None else Bucket(backup))
    queue = UploadQueue(directory, OUTPUT, destination, **settings)
    queue.start()
    try:
        yield queue
    finally:
        queue.stop()


def noise(size: int, seed: int = 1) -> bytes:
    """Content that is the same in each run, and nowhere like its neighbour."""
    return random.Random(seed).randbytes(size)  # noqa: S311


def append(file: Path, content: bytes) -> None:
    with file.open("ab") as opened:
        opened.write(content)


def without_right(account: str, action: str) -> str:
    """The platform's policy without one action of an account."""
    policy = rights.policy("recordings")
    assert f'"{action}"' in policy, account
    return policy.replace(f'"{action}"', '"s3:GetObjectRetention"')
