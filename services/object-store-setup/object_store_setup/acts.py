"""Tries out what a key may do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from secrets import token_hex

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from object_store_setup.client import S3Client
from object_store_setup.failures import Failure, OtherContent, failure
from object_store_setup.rights import Act

CONTENT = b"livekit-platform: a probe, which goes at once\n"
_NO_UPLOAD = "no-upload-has-this-id"
ERRORS = (BotoCoreError, ClientError, ResponseParserError, OtherContent)


def probe_prefix() -> str:
    """Where the objects of one run of probes are: in nobody's way, and not to be guessed."""
    return f".livekit-platform-probe/{token_hex(8)}/"


def attempt(request: Callable[[], object]) -> Failure | None:
    """Why `request` fails; None where it does not."""
    try:
        request()
    except ERRORS as error:
        return failure(error)
    return None


def put(client: S3Client, bucket: str, key: str) -> None:
    client.put_object(Bucket=bucket, Key=key, Body=CONTENT)


def get(client: S3Client, bucket: str, key: str) -> None:
    if client.get_object(Bucket=bucket, Key=key)["Body"].read() != CONTENT:
        raise OtherContent


def keys(client: S3Client, bucket: str, prefix: str) -> list[str]:
    return [
        entry["Key"] for entry in client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    ]


def delete(client: S3Client, bucket: str, key: str) -> None:
    client.delete_object(Bucket=bucket, Key=key)


def multipart(client: S3Client, bucket: str, key: str) -> None:
    """An upload in parts that is begun and taken back."""
    upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    try:
        client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=CONTENT)
    finally:
        client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)


def parts(client: S3Client, bucket: str, key: str) -> None:
    """Asks for the parts of an upload that does not exist: who may not list them is told nothing else."""
    try:
        client.list_parts(Bucket=bucket, Key=key, UploadId=_NO_UPLOAD)
    except client.exceptions.NoSuchUpload:
        return


def try_all(client: S3Client, bucket: str, prefix: str, *, there: str, own: str) -> dict[Act, Failure | None]:
    """Every act, tried.

    Args:
        there: the key of an object that is there, to be read.
        own: a name for objects of this client's own; deleting is tried with a key that may well be empty.
    """
    requests: Iterable[tuple[Act, Callable[[], object]]] = (
        (Act.PUT, lambda: put(client, bucket, f"{prefix}{own}")),
        (Act.MULTIPART, lambda: multipart(client, bucket, f"{prefix}{own}-parts")),
        (Act.PARTS, lambda: parts(client, bucket, f"{prefix}{own}-parts")),
        (Act.UPLOADS, lambda: client.list_multipart_uploads(Bucket=bucket, Prefix=prefix)),
        (Act.GET, lambda: get(client, bucket, there)),
        (Act.LIST, lambda: keys(client, bucket, prefix)),
        (Act.DELETE, lambda: delete(client, bucket, f"{prefix}{own}")),
        (Act.POLICY, lambda: client.get_bucket_policy(Bucket=bucket)),
    )
    return {act: attempt(request) for act, request in requests}
