"""The requests to a store that uploads need."""

from __future__ import annotations

import io
import ipaddress
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from botocore.session import Session

from recorder.errors import Code, EgressError
from recorder.storage.names import object_key
from recorder.storage.s3_errors import Meaning, StoreError, store_error
from recorder.storage.target import S3Target
from recorder.storage.upload_state import StoredPart

_T = TypeVar("_T")
# botocore makes its clients' methods at run time: there is no type to name.
_Client: TypeAlias = Any

_REGION = "us-east-1"
_CONNECT_SECONDS = 5.0
_READ_SECONDS = 60.0
# While a store puts the parts together it answers nothing. versitygw copies them.
_COPIED_BYTES_PER_SECOND = 50 * 1024 * 1024


class Bucket:
    """A bucket of an S3-compatible store. May be used by several threads.

    Paths are names without the target's prefix. Each method makes one request, which is not repeated, and
    raises `StoreError`.
    """

    def __init__(self, target: S3Target) -> None:
        """Make a client. This takes some 0.1 s and asks the store nothing.

        Raises:
            EgressError: INVALID_ARGUMENT; the endpoint is no URL.
        """
        self.target = target
        # The default session of the library is shared and keeps the credentials that it found first.
        self._session = Session()
        self._client = self._new_client(_READ_SECONDS)

    def put(self, path: str, body: io.RawIOBase, content_type: str) -> None:
        """Store an object with one request."""
        self._request(
            lambda: self._client.put_object(Body=body, **self._object(path), **self._properties(content_type))
        )

    def begin(self, path: str, content_type: str) -> str:
        """Create a multipart upload; its id."""
        answer = self._request(
            lambda: self._client.create_multipart_upload(
                **self._object(path), **self._properties(content_type)
            )
        )
        return str(answer["UploadId"])

    def put_part(self, path: str, upload_id: str, number: int, body: io.RawIOBase) -> str:
        """Upload a part; its ETag, without quotes."""
        answer = self._request(
            lambda: self._client.upload_part(
                Body=body, PartNumber=number, UploadId=upload_id, **self._object(path)
            )
        )
        return str(answer["ETag"]).strip('"')

    def parts(self, path: str, upload_id: str) -> dict[int, StoredPart]:
        """The parts that the store has, by number."""
        found: dict[int, StoredPart] = {}
        marker = 0
        while True:
            answer = self._request(
                lambda: self._client.list_parts(
                    UploadId=upload_id,
                    PartNumberMarker=marker,  # noqa: B023 - called at once
                    **self._object(path),
                )
            )
            for one in answer.get("Parts", []):
                found[one["PartNumber"]] = StoredPart(one["Size"], one["ETag"].strip('"'))
            if not answer.get("IsTruncated"):
                return found
            marker = answer["NextPartNumberMarker"]

    def complete(self, path: str, upload_id: str, etags: Mapping[int, str], size: int) -> None:
        """Make an object of `size` bytes of the parts with these ETags, by number."""
        client = self._new_client(_READ_SECONDS + size / _COPIED_BYTES_PER_SECOND)
        parts = [{"PartNumber": number, "ETag": etags[number]} for number in sorted(etags)]
        try:
            self._request(
                lambda: client.complete_multipart_upload(
                    UploadId=upload_id, MultipartUpload={"Parts": parts}, **self._object(path)
                )
            )
        finally:
            client.close()

    def abort(self, path: str, upload_id: str) -> None:
        """Delete a multipart upload and its parts. It may have ended before."""
        try:
            self._request(
                lambda: self._client.abort_multipart_upload(UploadId=upload_id, **self._object(path))
            )
        except StoreError as error:
            if error.meaning is not Meaning.NO_UPLOAD:
                raise

    def _object(self, path: str) -> dict[str, str]:
        return {"Bucket": self.target.bucket, "Key": object_key(self.target, path)}

    def _properties(self, content_type: str) -> dict[str, Any]:
        properties: dict[str, Any] = {
            "ContentType": content_type,
            "ContentDisposition": self.target.content_disposition or "inline",
            "Metadata": dict(self.target.metadata),
        }
        if self.target.tagging:
            properties["Tagging"] = self.target.tagging
        return properties

    def _new_client(self, read_seconds: float) -> _Client:
        target = self.target
        has_key = bool(target.access_key and target.secret)
        try:
            return self._session.create_client(
                "s3",
                region_name=target.region or _REGION,
                endpoint_url=_url(target.endpoint) if target.endpoint else None,
                aws_access_key_id=target.access_key if has_key else None,
                aws_secret_access_key=target.secret if has_key else None,
                aws_session_token=(target.session_token or None) if has_key else None,
                config=Config(
                    signature_version="s3v4",
                    s3={"addressing_style": "path" if target.force_path_style else "virtual"},
                    connect_timeout=_CONNECT_SECONDS,
                    read_timeout=read_seconds,
                    # Whether and when a request is repeated is decided by the queue.
                    retries={"total_max_attempts": 1},
                    # Many compatible stores refuse the checksums that newer libraries add by themselves.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    tcp_keepalive=True,
                    # As in Go, proxies of the environment are not for this machine's own addresses.
                    proxies={} if _is_loopback(target.endpoint) else None,
                ),
            )
        except ValueError as error:
            raise EgressError(Code.INVALID_ARGUMENT, f"S3 endpoint {target.endpoint!r}: {error}") from error

    @staticmethod
    def _request(request: Callable[[], _T]) -> _T:
        try:
            return request()
        except (BotoCoreError, ClientError, ResponseParserError) as error:
            raise store_error(error) from error


class FileSlice(io.RawIOBase):
    """Some bytes of a file as a body that is read while it is sent."""

    def __init__(self, path: Path, offset: int = 0, size: int | None = None) -> None:
        """Open the file: `size` bytes from `offset`, or all of them.

        Raises:
            FileNotFoundError: there is none.
        """
        super().__init__()
        self._descriptor = os.open(path, os.O_RDONLY)
        self._offset = offset
        self.size = os.fstat(self._descriptor).st_size - offset if size is None else size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        wanted = memoryview(buffer)[: max(0, self.size - self._position)]
        count = os.preadv(self._descriptor, [wanted], self._offset + self._position) if wanted else 0
        self._position += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = origin + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def sync(self) -> None:
        """Bring the file to the disk: what a store has must not be lost here, by a crash of the machine."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


def _url(endpoint: str) -> str:
    return endpoint if "://" in endpoint else f"https://{endpoint}"


def _is_loopback(endpoint: str) -> bool:
    host = urlsplit(_url(endpoint)).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
