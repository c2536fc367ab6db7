"""The object store as users and services meet it: through the edge, each with its own key."""

from __future__ import annotations

import base64
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import boto3
import httpx
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from common.waiting import wait_until
from loadtest.targets.outputs import StackOutputs, host_of
from tests.deployment.kubectl import Kubectl
from tests.running import RunningStack

_GATEWAY = "app.kubernetes.io/name=object-store"
_ACCOUNTS = "object-store-accounts"
_CONTENT = b"0123456789"

Request = Callable[[Any, str, str], object]
PUT: Request = lambda one, bucket, key: one.put_object(Bucket=bucket, Key=key, Body=_CONTENT)  # noqa: E731
GET: Request = lambda one, bucket, key: one.get_object(Bucket=bucket, Key=key)  # noqa: E731
LIST: Request = lambda one, bucket, key: one.list_objects_v2(Bucket=bucket, Prefix=key)  # noqa: E731
DELETE: Request = lambda one, bucket, key: one.delete_object(Bucket=bucket, Key=key)  # noqa: E731
ALL = {"put": PUT, "get": GET, "list": LIST, "delete": DELETE}


@dataclass(frozen=True)
class S3:
    """The store of the stack, as a client outside the cluster reaches it."""

    outputs: StackOutputs
    verify: str | bool

    @property
    def tls(self) -> ssl.SSLContext:
        """The same as `verify`, for httpx."""
        return ssl.create_default_context(cafile=self.verify if isinstance(self.verify, str) else None)

    @property
    def bucket(self) -> str:
        return self.outputs.s3_bucket

    def client(self, key: str | None, secret: str | None) -> Any:
        """boto3's client; without a key its requests are not signed."""
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.outputs.s3_endpoint,
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            verify=self.verify,
            config=Config(
                signature_version="s3v4" if key else UNSIGNED,
                s3={"addressing_style": "path"},
                retries={"total_max_attempts": 1},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                # Whatever proxy the machine has: it knows neither the name nor the node.
                proxies={},
            ),
        )

    def operator(self) -> Any:
        return self.client(*self.operator_key)

    @property
    def operator_key(self) -> tuple[str, str]:
        access_key, secret_key = self.outputs.s3_access_key, self.outputs.s3_secret_key
        if access_key is None or secret_key is None:
            pytest.fail("the stack's outputs have no key of its store, which is external")
        return access_key.get_secret_value(), secret_key.get_secret_value()


@pytest.fixture
def s3(stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> S3:
    """The store under the name that its URLs hold, which is in no DNS where the domain is local."""
    outputs, found = stack.outputs, socket.getaddrinfo
    host = host_of(outputs.s3_endpoint)
    if outputs.edge_addresses:
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda name, *rest, **named: found(
                str(outputs.address_of(host)) if name == host else name, *rest, **named
            ),
        )
    authorities = tmp_path / "ca.pem"
    authorities.write_text(outputs.ca_certificate)
    return S3(outputs, str(authorities) if outputs.ca_certificate else True)


@pytest.fixture
def there(s3: S3) -> Iterator[str]:
    """The key of an object that is there."""
    key = f"test-deployment/{token_hex(8)}"
    PUT(s3.operator(), s3.bucket, key)
    yield key
    DELETE(s3.operator(), s3.bucket, key)


@pytest.fixture
def secret_of(kubectl: Kubectl, platform: str) -> Callable[[str], str]:
    """The secret key of an account, as the gateway is given it."""

    def read(account: str) -> str:
        words = ["-n", platform, "get", "secret", _ACCOUNTS, "-o", r"jsonpath={.data.users\.json}"]
        users = json.loads(base64.b64decode(kubectl(*words).stdout))
        secret: str = users["accessAccounts"][account]["secret"]
        return secret

    return read


def allowed(one: Any, bucket: str, key: str) -> set[str]:
    """What `one` may do; everything else was refused with 403."""
    statuses = {name: _status(request, one, bucket, key) for name, request in ALL.items()}
    assert set(statuses.values()) <= {200, 403}, statuses
    return {name for name, status in statuses.items() if status == 200}


def _status(request: Request, one: Any, bucket: str, key: str) -> int:
    try:
        request(one, bucket, key)
    except ClientError as error:
        status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return status
    return 200


def test_the_operator_may_do_everything_with_the_bucket(s3: S3, there: str) -> None:
    assert allowed(s3.operator(), s3.bucket, there) == set(ALL)
    assert s3.bucket in [bucket["Name"] for bucket in s3.operator().list_buckets()["Buckets"]]


@pytest.mark.parametrize(
    ("account", "rights"), [("egress", {"put"}), ("token-api", {"get", "list", "delete"})]
)
def test_a_service_may_do_what_it_needs_and_nothing_else(
    s3: S3, there: str, secret_of: Callable[[str], str], account: str, rights: set[str]
) -> None:
    assert allowed(s3.client(account, secret_of(account)), s3.bucket, there) == rights


def test_a_wrong_secret_an_unknown_key_and_no_key_are_refused(s3: S3, there: str) -> None:
    operator, _ = s3.operator_key
    assert allowed(s3.client(operator, "wrong" * 8), s3.bucket, there) == set()
    assert allowed(s3.client("unknown", "wrong" * 8), s3.bucket, there) == set()
    assert allowed(s3.client(None, None), s3.bucket, there) == set()


def test_a_presigned_url_opens_outside_the_cluster_without_a_key(
    s3: S3, there: str, secret_of: Callable[[str], str]
) -> None:
    token_api = s3.client("token-api", secret_of("token-api"))
    url = token_api.generate_presigned_url(
        "get_object", Params={"Bucket": s3.bucket, "Key": there}, ExpiresIn=60
    )
    assert url.startswith(f"{s3.outputs.s3_endpoint}/{s3.bucket}/")
    own_page = {"Origin": s3.outputs.api_url}
    with httpx.Client(verify=s3.tls, timeout=10, trust_env=False) as browser:
        part = browser.get(url, headers={"Range": "bytes=2-4", **own_page})
        assert (part.status_code, part.content) == (206, _CONTENT[2:5])
        assert part.headers["access-control-allow-origin"] == own_page["Origin"]
        strange = browser.get(url, headers={"Origin": "https://elsewhere.example.com"})
        assert "access-control-allow-origin" not in strange.headers
        assert browser.get(url.replace(there, f"{there}-other")).status_code == 403
        assert browser.get(url.partition("?")[0]).status_code == 403


def test_what_is_stored_outlives_the_gateways_pod(
    s3: S3, there: str, kubectl: Kubectl, platform: str, disruptive: None
) -> None:
    [pod] = kubectl.get("pods", "-n", platform, "-l", _GATEWAY)
    kubectl("-n", platform, "delete", "pod", pod["metadata"]["name"], timeout=90)
    kubectl("-n", platform, "rollout", "status", "statefulset/object-store", "--timeout=120s", timeout=130)
    [successor] = kubectl.get("pods", "-n", platform, "-l", _GATEWAY)
    assert successor["metadata"]["uid"] != pod["metadata"]["uid"]

    def content() -> bytes:
        # The edge may still try the old pod's address for a moment.
        with suppress(ClientError, BotoCoreError):
            found: bytes = s3.operator().get_object(Bucket=s3.bucket, Key=there)["Body"].read()
            return found
        return b""

    wait_until(lambda: content() == _CONTENT, timeout=30, describe="the object to be there again")


def test_the_gateways_log_holds_no_signed_request(
    s3: S3, there: str, kubectl: Kubectl, platform: str
) -> None:
    url = s3.operator().generate_presigned_url("get_object", Params={"Bucket": s3.bucket, "Key": there})
    assert httpx.get(url, verify=s3.tls, timeout=10, trust_env=False).status_code == 200
    logs = kubectl("-n", platform, "logs", "--all-containers", "-l", _GATEWAY).stdout
    assert "initializing internal IAM" in logs
    assert "X-Amz" not in logs


def test_the_setup_has_proven_every_key(kubectl: Kubectl, platform: str) -> None:
    selector = "app.kubernetes.io/name=object-store"
    [job] = kubectl.get("jobs", "-n", platform, "-l", selector)
    assert job["status"]["succeeded"] == 1
    said = kubectl("-n", platform, "logs", f"job/{job['metadata']['name']}").stdout
    assert "every key may do what it must and nothing else" in said
