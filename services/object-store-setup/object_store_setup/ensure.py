"""`ensure-bucket`: the bucket, its owner, policy and CORS rule; then the proof of every key's rights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from botocore.exceptions import ClientError

from object_store_setup import acts, rights
from object_store_setup.client import Key, S3Client, client, set_bucket_owner
from object_store_setup.failures import Cause, Failure
from object_store_setup.settings import EnsureBucket

_THERE_ALREADY = ("BucketAlreadyExists", "BucketAlreadyOwnedByYou")
_WRONG_SECRET = "this-secret-key-was-never-given-to-anyone"  # noqa: S105


class NotAsGranted(Exception):
    """Keys that may more or less than they must, one line each."""

    def __init__(self, found: list[str]) -> None:
        super().__init__("; ".join(found))


def ensure_bucket(settings: EnsureBucket) -> None:
    """Make the bucket as it must be, whatever was there, and prove the rights on it. Idempotent.

    Raises:
        NotAsGranted: a key may more or less than it must.
        acts.ERRORS: a request failed.
    """
    bucket, root = settings.store.bucket, client(settings.store, settings.root)
    try:
        root.create_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _THERE_ALREADY:
            raise
    set_bucket_owner(settings.admin_endpoint, settings.store, settings.root, rights.OPERATOR)
    root.put_bucket_policy(Bucket=bucket, Policy=rights.policy(bucket))
    root.put_bucket_cors(Bucket=bucket, CORSConfiguration=rights.cors(settings.origins))
    _prove(settings)


def _prove(settings: EnsureBucket) -> None:
    bucket, prefix = settings.store.bucket, acts.probe_prefix()
    operator = client(settings.store, settings.accounts[rights.OPERATOR])
    there = f"{prefix}there"
    acts.put(operator, bucket, there)
    try:
        found = []
        for number, caller in enumerate(_callers(settings)):
            tried = acts.try_all(caller.client, bucket, prefix, there=there, own=f"caller-{number}")
            found += _mistakes(caller, tried)
    finally:
        for key in acts.keys(operator, bucket, prefix):
            acts.delete(operator, bucket, key)
    if found:
        raise NotAsGranted(found)


@dataclass(frozen=True)
class _Caller:
    """Somebody who knocks, and all that he may do."""

    who: str
    client: S3Client
    acts: frozenset[rights.Act]


def _callers(settings: EnsureBucket) -> list[_Caller]:
    store, wrong = settings.store, Key(rights.OPERATOR, _WRONG_SECRET)
    return [
        *(
            _Caller(f'account "{name}"', client(store, settings.accounts[name]), right.acts)
            for name, right in rights.RIGHTS.items()
        ),
        _Caller("who has a wrong secret", client(store, wrong), frozenset()),
        _Caller("who has no key", client(store, None, signed=False), frozenset()),
    ]


def _mistakes(caller: _Caller, tried: Mapping[rights.Act, Failure | None]) -> list[str]:
    # What failed for want of an answer proves nothing about rights.
    unproven = [
        f"whether {caller.who} may {act} is not known: {reason}"
        for act, reason in tried.items()
        if reason is not None and reason.cause not in (Cause.DENIED, Cause.WRONG_KEY)
    ]
    refusals = {act: None if reason is None else str(reason) for act, reason in tried.items()}
    return unproven or rights.mistakes(caller.who, caller.acts, refusals)
