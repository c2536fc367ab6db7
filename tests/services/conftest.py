"""Our small services against the real programs that they talk to, as processes of this machine."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from common.waiting import wait_until
from object_store_setup import rights
from object_store_setup.client import Key, S3Client, Store, client
from object_store_setup.ensure import ensure_bucket
from object_store_setup.settings import EnsureBucket
from tests.manifests.rendering import tool
from tests.ports import free_port
from tests.services.coturn import TurnPod
from tests.support import plain_http
from tests.support.speed import scaled
from tests.unit.infra.program import minimal_config, parse_completed

ORIGIN = "https://api.example.com"
ROOT = Key("root", "root-secret-0123456789abcdef0123456789")
# An account of the gateway without any right, beside the platform's own.
NOBODY = "nobody"


def key(account: str) -> Key:
    return ROOT if account == ROOT.id else Key(account, f"{account}-secret-0123456789abcdef0123456789")


@dataclass(frozen=True)
class Gateway:
    """versitygw as charts/object-store runs it, on this machine's loopback and an empty directory."""

    directory: Path
    port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)
    _clients: dict[str, S3Client] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        return Store(f"http://127.0.0.1:{self.port}", "us-east-1", "recordings", path_style=True)

    @property
    def settings(self) -> EnsureBucket:
        return EnsureBucket(
            store=self.store,
            admin_endpoint=f"http://127.0.0.1:{self.admin_port}",
            root=ROOT,
            accounts={name: key(name) for name in rights.RIGHTS},
            origins=(ORIGIN,),
            patience=5,
        )

    @property
    def setup_environment(self) -> Mapping[str, str]:
        """What the setup Job is told."""
        return {
            "OBJECT_STORE_ENDPOINT": self.store.endpoint,
            "OBJECT_STORE_ADMIN_ENDPOINT": self.settings.admin_endpoint,
            "OBJECT_STORE_REGION": self.store.region,
            "OBJECT_STORE_BUCKET": self.store.bucket,
            "OBJECT_STORE_PATH_STYLE": "true",
            "OBJECT_STORE_ACCOUNTS_FILE": str(self._accounts),
            "OBJECT_STORE_ALLOWED_ORIGINS": ORIGIN,
            "OBJECT_STORE_ROOT_ACCESS_KEY_ID": ROOT.id,
            "OBJECT_STORE_ROOT_SECRET_ACCESS_KEY": ROOT.secret,
            "OBJECT_STORE_PATIENCE_SECONDS": "30",
        }

    @property
    def _accounts(self) -> Path:
        return self.directory / "accounts" / "users.json"

    def prepare(self) -> None:
        for name in ("objects", "metadata", "accounts"):
            (self.directory / name).mkdir()
        known = {
            name: {"access": name, "secret": key(name).secret, "role": "user"}
            for name in (*rights.RIGHTS, NOBODY)
        }
        self._accounts.write_text(json.dumps({"accessAccounts": known}))

    @contextmanager
    def running(self) -> Iterator[None]:
        environment = {
            "ROOT_ACCESS_KEY_ID": ROOT.id,
            "ROOT_SECRET_ACCESS_KEY": ROOT.secret,
            "VGW_PORT": f"127.0.0.1:{self.port}",
            "VGW_ADMIN_PORT": f"127.0.0.1:{self.admin_port}",
            "VGW_REGION": self.store.region,
            "VGW_HEALTH": "/_health",
            "VGW_IAM_DIR": str(self._accounts.parent),
            "VGW_META_SIDECAR": str(self.directory / "metadata"),
            "VGW_QUIET": "true",
        }
        with (self.directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [tool("versitygw"), "posix", self.directory / "objects"],
                env={"PATH": os.environ["PATH"], **environment},
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(self._answers, timeout=scaled(20), describe="versitygw to answer", interval=0.05)
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)

    def _answers(self) -> bool:
        try:
            return plain_http.get(f"{self.store.endpoint}/_health", timeout=1).status_code == 200
        except httpx.TransportError:
            return False

    def client(self, account: str) -> S3Client:
        """Kept: making one takes longer than what is done with it."""
        if account not in self._clients:
            self._clients[account] = client(self.store, key(account))
        return self._clients[account]

    def keys(self) -> list[str]:
        found = self.client("operator").list_objects_v2(Bucket=self.store.bucket)
        return [entry["Key"] for entry in found.get("Contents", [])]

    def reset(self) -> None:
        """As it was after its setup."""
        bucket = self.store.bucket
        self.client(ROOT.id).put_bucket_policy(Bucket=bucket, Policy=rights.policy(bucket))
        for name in self.keys():
            self.client(ROOT.id).delete_object(Bucket=bucket, Key=name)


@pytest.fixture(scope="module")
def _set_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path_factory.mktemp("versitygw"))
    gateway.prepare()
    with gateway.running():
        ensure_bucket(gateway.settings)
        yield gateway


@pytest.fixture
def gateway(_set_up: Gateway) -> Iterator[Gateway]:
    """A running versitygw with the bucket, its policy and nothing in it."""
    yield _set_up
    _set_up.reset()


@pytest.fixture
def pod(tmp_path: Path) -> TurnPod:
    """The programs of coturn's pod. None of them runs yet."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch()
    config, errors = parse_completed(minimal_config(kubeconfig))
    assert config is not None, errors
    return TurnPod(tmp_path, config)
