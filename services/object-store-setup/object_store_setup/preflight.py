"""`preflight`: writes, reads, lists and deletes a probe object in a given bucket; says what is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from object_store_setup import acts
from object_store_setup.client import S3Client, Store, client
from object_store_setup.failures import Cause, Failure
from object_store_setup.rights import Act

# In the words of S3's policies, in the order in which they are tried.
NEEDED = {
    Act.PUT: "s3:PutObject",
    Act.GET: "s3:GetObject",
    Act.LIST: "s3:ListBucket",
    Act.DELETE: "s3:DeleteObject",
}


class NotUsable(Exception):
    """The store cannot be used as it was given. The message is one line."""

    def __init__(self, message: str, *, may_pass: bool) -> None:
        super().__init__(message)
        self.may_pass = may_pass


def preflight(store: Store) -> None:
    """Try `store` out, with the key that the library finds. What was written is deleted again.

    Raises:
        NotUsable: with what is wrong, or which permission is missing.
    """
    bucket, prefix, one = store.bucket, acts.probe_prefix(), client(store, None)
    key = f"{prefix}probe"
    failed: dict[Act, Failure] = {}

    def attempt(act: Act) -> bool:
        reason = acts.attempt(lambda: _REQUESTS[act](one, bucket, key, prefix))
        if reason is not None:
            failed[act] = reason
        return reason is None

    written, listed = attempt(Act.PUT), False
    if written or failed[Act.PUT].cause is Cause.DENIED:
        listed = attempt(Act.LIST)
        # Who may not list is not told that an object is missing, but denied: that says nothing of reading.
        if written or listed:
            attempt(Act.GET)
        attempt(Act.DELETE)
    message = verdict(store, failed, left_behind=key if written and Act.DELETE in failed else None)
    if message is not None:
        raise NotUsable(message, may_pass=all(reason.cause.may_pass for reason in failed.values()))


def _get(one: S3Client, bucket: str, key: str, _prefix: str) -> None:
    try:
        acts.get(one, bucket, key)
    except one.exceptions.NoSuchKey:
        # Writing was denied, so there is nothing to read; asking for it was allowed.
        return


_REQUESTS: dict[Act, Callable[[S3Client, str, str, str], object]] = {
    Act.PUT: lambda one, bucket, key, _: acts.put(one, bucket, key),
    Act.GET: _get,
    Act.LIST: lambda one, bucket, _, prefix: acts.keys(one, bucket, prefix),
    Act.DELETE: lambda one, bucket, key, _: acts.delete(one, bucket, key),
}


def verdict(store: Store, failed: Mapping[Act, Failure], *, left_behind: str | None) -> str | None:
    """One line on what is wrong, None where nothing is. Pure."""
    if not failed:
        return None
    given = f'object_store: given bucket "{store.bucket}" at {store.endpoint}'
    denied = [act for act in NEEDED if act in failed and failed[act].cause is Cause.DENIED]
    others = [act for act in NEEDED if act in failed and act not in denied]
    if others:
        reason = failed[others[0]]
        return f"{given}: {others[0]}: {reason}; allowed is {_allowed(store, reason.cause)}"
    verb = "is" if len(denied) == 1 else "are"
    stays = f"; the probe object {left_behind} stays there" if left_behind else ""
    return (
        f"{given}: {', '.join(denied)} {verb} denied ({failed[denied[0]].detail}); "
        f"allowed is a key with {', '.join(NEEDED.values())}{stays}"
    )


def _allowed(store: Store, cause: Cause) -> str:
    if cause is Cause.WRONG_REGION:
        return f'the region of the bucket, where object_store.region says "{store.region}"'
    return _ALLOWED.get(
        cause, "the address of an S3 store that the cluster reaches (object_store.external.endpoint)"
    )


_ANY_KEY = "a key of that store (object_store.external.secret_name or its identity)"
_ALLOWED = {
    Cause.NO_BUCKET: "a bucket that is there (the platform makes none in a given store)",
    Cause.NO_KEY: _ANY_KEY,
    Cause.WRONG_KEY: _ANY_KEY,
    Cause.TLS: "an endpoint whose certificate a public authority has signed",
    Cause.CLOCK: "clocks less than 15 minutes apart",
    Cause.OTHER: "a store that does what S3 does",
}
