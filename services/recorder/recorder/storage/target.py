"""Where finished objects go: a bucket of an S3-compatible store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class S3Target:
    """A bucket and how it is reached.

    The fields are those of livekit/egress' `storage.s3` (`S3Config` of livekit/storage) and `storage.prefix`.

    Attributes:
        region: us-east-1 if it is empty.
        endpoint: a URL; https:// is put in front of a bare host. Amazon's own if it is empty.
        access_key: without it or `secret`, the AWS credential chain is asked (environment, web identity,
            instance).
        max_retries: attempts, with the first one, of a request that fails although the store answers. A store
            that does not answer is tried for longer (`UploadQueue.patience`).
        min_retry_delay: seconds, as `max_retry_delay`.
        tagging: a query string such as "a=1&b=2".
        content_disposition: "inline" if it is empty.
        prefix: put in front of each key.
    """

    bucket: str
    region: str = ""
    endpoint: str = ""
    access_key: str = ""
    secret: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    force_path_style: bool = False
    max_retries: int = 5
    min_retry_delay: float = 0.1
    max_retry_delay: float = 5.0
    metadata: Mapping[str, str] = field(default_factory=dict)
    tagging: str = ""
    content_disposition: str = ""
    prefix: str = ""
