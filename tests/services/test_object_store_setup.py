"""object-store-setup and the real versitygw."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from object_store_setup import acts, rights
from object_store_setup.client import Key, set_bucket_owner
from object_store_setup.ensure import NotAsGranted, ensure_bucket
from object_store_setup.failures import Cause, failure
from object_store_setup.preflight import NEEDED, NotUsable, preflight
from object_store_setup.rights import Act
from tests.services.conftest import NOBODY, ORIGIN, ROOT, Gateway, key

BUCKET = "recordings"
# More than S3's smallest part, so that an upload in parts has two.
PART = b"x" * (5 * 1024 * 1024)


def use_key(monkeypatch: pytest.MonkeyPatch, key: Key) -> None:
    """As the Job's Secret does it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key.id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key.secret)


def grant(gateway: Gateway, actions: Iterable[str]) -> None:
    """Let `nobody` do these, beside what the platform's accounts may."""
    policy = json.loads(rights.policy(BUCKET))
    for action in actions:
        resource = BUCKET if action == "s3:ListBucket" else f"{BUCKET}/*"
        policy["Statement"].append(
            {
                "Effect": "Allow",
                "Principal": {"AWS": [NOBODY]},
                "Action": action,
                "Resource": f"arn:aws:s3:::{resource}",
            }
        )
    gateway.client("root").put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(policy))


def test_the_bucket_is_made_for_the_operator_and_nothing_is_left_in_it(gateway: Gateway) -> None:
    operator = gateway.client("operator")
    assert [bucket["Name"] for bucket in operator.list_buckets()["Buckets"]] == [BUCKET]
    assert gateway.keys() == []


def test_doing_it_again_keeps_what_is_there(gateway: Gateway) -> None:
    gateway.client("egress").put_object(Bucket=BUCKET, Key="call.mp4", Body=b"recorded")
    ensure_bucket(gateway.settings)
    body = gateway.client("token-api").get_object(Bucket=BUCKET, Key="call.mp4")["Body"].read()
    assert body == b"recorded"


def test_what_somebody_changed_is_put_right(gateway: Gateway) -> None:
    grant(gateway, ["s3:GetObject"])
    assert Act.GET in _granted(gateway, NOBODY)
    ensure_bucket(gateway.settings)
    assert _granted(gateway, NOBODY) == set()


def _granted(gateway: Gateway, account: str) -> set[Act]:
    prefix = acts.probe_prefix()
    there = f"{prefix}there"
    acts.put(gateway.client("operator"), BUCKET, there)
    tried = acts.try_all(gateway.client(account), BUCKET, prefix, there=there, own=account)
    return {act for act, refusal in tried.items() if refusal is None}


@pytest.mark.parametrize("account", [*rights.RIGHTS, NOBODY])
def test_every_account_may_do_its_own_and_nothing_else(gateway: Gateway, account: str) -> None:
    expected = rights.RIGHTS[account].acts if account in rights.RIGHTS else frozenset()
    assert _granted(gateway, account) == expected


def test_the_recording_worker_finishes_an_upload_in_parts(gateway: Gateway) -> None:
    egress = gateway.client("egress")
    upload = egress.create_multipart_upload(Bucket=BUCKET, Key="long.mp4")["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": egress.upload_part(
                Bucket=BUCKET, Key="long.mp4", UploadId=upload, PartNumber=number, Body=PART
            )["ETag"],
        }
        for number in (1, 2)
    ]
    # What another worker does to continue after this one died.
    listed = egress.list_parts(Bucket=BUCKET, Key="long.mp4", UploadId=upload)["Parts"]
    assert [part["PartNumber"] for part in listed] == [1, 2]
    egress.complete_multipart_upload(
        Bucket=BUCKET, Key="long.mp4", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    found = gateway.client("token-api").head_object(Bucket=BUCKET, Key="long.mp4")
    assert found["ContentLength"] == 2 * len(PART)


@pytest.mark.parametrize("account", list(rights.RIGHTS))
def test_no_account_makes_buckets(gateway: Gateway, account: str) -> None:
    with pytest.raises(ClientError) as refused:
        gateway.client(account).create_bucket(Bucket="another")
    assert failure(refused.value).cause is Cause.DENIED


def test_the_gateways_own_api_is_not_where_the_edge_leads_to(gateway: Gateway) -> None:
    with pytest.raises(ClientError, match="405"):
        set_bucket_owner(gateway.store.endpoint, gateway.store, ROOT, NOBODY)
    set_bucket_owner(gateway.settings.admin_endpoint, gateway.store, ROOT, rights.OPERATOR)


@pytest.mark.parametrize(
    ("account", "effect", "found"),
    [
        ("egress", "Allow", 'account "egress" may DeleteObject, which it must not'),
        (
            "token-api",
            "Deny",
            'account "token-api" may not DeleteObject, which it must: denied (AccessDenied)',
        ),
        ("*", "Allow", "who has no key may DeleteObject, which it must not"),
    ],
)
def test_a_right_too_many_or_too_few_fails_the_setup_and_is_named(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, account: str, effect: str, found: str
) -> None:
    """The gateway is given another policy than the one that is then proven."""
    policy = json.loads(rights.policy(BUCKET))
    policy["Statement"].append(
        {
            "Effect": effect,
            "Principal": {"AWS": [account]},
            "Action": "s3:DeleteObject",
            "Resource": f"arn:aws:s3:::{BUCKET}/*",
        }
    )
    monkeypatch.setattr(rights, "policy", lambda _bucket: json.dumps(policy))
    with pytest.raises(NotAsGranted) as refused:
        ensure_bucket(gateway.settings)
    assert found in str(refused.value).split("; ")
    monkeypatch.undo()
    assert gateway.keys() == [], "the probes are taken away all the same"


def test_a_presigned_url_opens_without_a_key_for_its_object_and_in_ranges(gateway: Gateway) -> None:
    gateway.client("egress").put_object(Bucket=BUCKET, Key="call.mp4", Body=b"0123456789")
    url = gateway.client("token-api").generate_presigned_url(
        "get_object", Params={"Bucket": BUCKET, "Key": "call.mp4"}, ExpiresIn=60
    )
    part = httpx.get(url, headers={"Range": "bytes=2-4", "Origin": ORIGIN})
    assert (part.status_code, part.text) == (206, "234")
    assert part.headers["access-control-allow-origin"] == ORIGIN
    assert (
        "access-control-allow-origin"
        not in httpx.get(url, headers={"Origin": "https://evil.example"}).headers
    )
    assert httpx.get(url.replace("call.mp4", "other.mp4")).status_code == 403
    assert httpx.get(url.partition("?")[0]).status_code == 403


def test_a_secret_that_the_gateway_does_not_know_yet_is_a_wrong_key(
    gateway: Gateway,
) -> None:
    """What the setup Job waits for after a rotation: until then the gateway knows the old secrets only."""
    rotated = {
        **gateway.settings.accounts,
        rights.OPERATOR: Key(rights.OPERATOR, "a-new-secret-0123456789abcdef0123456789"),
    }
    with pytest.raises(ClientError) as refused:
        ensure_bucket(dataclasses.replace(gateway.settings, accounts=rotated))
    assert failure(refused.value).cause is Cause.WRONG_KEY


def test_a_good_store_passes_and_is_left_as_it_was(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    grant(gateway, NEEDED.values())
    use_key(monkeypatch, key(NOBODY))
    preflight(gateway.store)
    assert gateway.keys() == []


@pytest.mark.parametrize("missing", list(NEEDED))
def test_each_missing_permission_is_named_and_no_other(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, missing: Act
) -> None:
    grant(gateway, [action for act, action in NEEDED.items() if act is not missing])
    use_key(monkeypatch, key(NOBODY))
    with pytest.raises(NotUsable) as refused:
        preflight(gateway.store)
    assert not refused.value.may_pass
    line = str(refused.value)
    given = f'object_store: given bucket "{BUCKET}" at {gateway.store.endpoint}'
    assert line.startswith(f"{given}: {missing} is denied (AccessDenied); ")
    left = gateway.keys()
    assert (len(left) == 1 and left[0] in line) if missing is Act.DELETE else left == []


@pytest.mark.parametrize(
    ("change", "account", "told"),
    [
        ({"bucket": "another"}, "operator", "there is no such bucket"),
        ({"region": "eu-central-1"}, "operator", "the store is in another region"),
        ({"endpoint": "http://127.0.0.1:1"}, "operator", "nothing answers there"),
        ({"endpoint": "http://s3.invalid"}, "operator", "the host's name does not resolve"),
        ({}, "unknown", "the store does not accept the key"),
    ],
)
def test_what_is_wrong_is_told_apart(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], account: str, told: str
) -> None:
    use_key(monkeypatch, key(account))
    with pytest.raises(NotUsable, match=told) as refused:
        preflight(dataclasses.replace(gateway.store, **change))
    assert "\n" not in str(refused.value)


def test_a_wrong_secret_is_told_and_not_shown(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    use_key(monkeypatch, Key("operator", "somebody-mistyped-this-secret-key-here"))
    with pytest.raises(NotUsable, match="does not accept the key") as refused:
        preflight(gateway.store)
    assert "mistyped" not in str(refused.value)


def test_the_setup_waits_for_a_gateway_that_is_starting(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    gateway.prepare()
    source = Path(__file__).parents[2] / "services" / "object-store-setup"
    setup = subprocess.Popen(
        [sys.executable, "-m", "object_store_setup", "ensure-bucket"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(source), **gateway.setup_environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert setup.stderr is not None
    said = setup.stderr.readline()
    assert said.startswith(f'waiting: object_store: bucket "{BUCKET}" at {gateway.store.endpoint}: nothing')
    with gateway.running():
        printed, _ = setup.communicate(timeout=30)
    assert setup.returncode == 0
    assert "every key may do what it must and nothing else" in printed
