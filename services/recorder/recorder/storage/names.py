"""Names of objects in a bucket, as livekit/egress makes them. Pure."""

from __future__ import annotations

import posixpath
from urllib.parse import quote

from recorder.storage.target import S3Target

# What Go's net/url leaves unescaped in a path, besides letters, digits and "-_.~".
_SAFE = "/$&+,:;=@"


def object_key(target: S3Target, path: str) -> str:
    """The key of an object: prefix and path, joined by the rules of Go's `path.Join`."""
    joined = posixpath.normpath("/".join(part for part in (target.prefix, path) if part))
    # normpath keeps two leading slashes.
    return f"/{joined.lstrip('/')}" if joined.startswith("//") else joined


def location(target: S3Target, path: str) -> str:
    """The URL that an EgressInfo names (livekit/storage, `s3.go`): https, whatever the endpoint is."""
    key = object_key(target, path)
    endpoint = target.endpoint or "s3.amazonaws.com"
    host = endpoint.removeprefix("https://").removeprefix("http://").rstrip("/")
    if target.force_path_style:
        return f"https://{host}/{quote(posixpath.normpath(f'{target.bucket}/{key}'), safe=_SAFE)}"
    return f"https://{target.bucket}.{host}/{quote(key.removeprefix('/'), safe=_SAFE)}"
