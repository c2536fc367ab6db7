"""Who may do what with the bucket: the policy that grants it, and the same as a list to prove. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Act(StrEnum):
    """What is tried out, by the S3 request's name."""

    PUT = "PutObject"
    MULTIPART = "CreateMultipartUpload"
    PARTS = "ListParts"
    UPLOADS = "ListMultipartUploads"
    GET = "GetObject"
    LIST = "ListObjectsV2"
    DELETE = "DeleteObject"
    # Stands for everything that concerns the bucket itself.
    POLICY = "GetBucketPolicy"


@dataclass(frozen=True)
class Right:
    """What an account may do: S3's own actions, and the acts by which that is proven."""

    on_objects: tuple[str, ...]
    on_bucket: tuple[str, ...]
    acts: frozenset[Act]


OPERATOR = "operator"
# Everybody else may do nothing, which is proven by a request without a key and one with a wrong secret.
RIGHTS: Mapping[str, Right] = {
    OPERATOR: Right(("s3:*",), ("s3:*",), frozenset(Act)),
    # The recording worker: it writes, in parts too, and takes back an upload that it cannot finish. It lists
    # the parts of an upload whose id it knows, to continue one that a process began which has died since.
    "egress": Right(
        ("s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"),
        (),
        frozenset({Act.PUT, Act.MULTIPART, Act.PARTS}),
    ),
    # token-api: presigned URLs to read, recordings to list and to delete.
    "token-api": Right(
        ("s3:GetObject", "s3:DeleteObject"),
        ("s3:ListBucket",),
        frozenset({Act.GET, Act.LIST, Act.DELETE}),
    ),
}


def policy(bucket: str) -> str:
    """The bucket's policy. With one, the gateway grants what it names and nothing else, to the owner too."""
    statements = []
    for account, right in RIGHTS.items():
        for actions, resource in ((right.on_objects, f"{bucket}/*"), (right.on_bucket, bucket)):
            if actions:
                statements.append(
                    {
                        "Effect": "Allow",
                        "Principal": {"AWS": [account]},
                        "Action": list(actions),
                        "Resource": f"arn:aws:s3:::{resource}",
                    }
                )
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def cors(origins: Sequence[str]) -> dict[str, Any]:
    """Scripts of pages at `origins` may read what a presigned URL leads to, in ranges too; nothing else."""
    return {
        "CORSRules": [
            {
                "AllowedOrigins": list(origins),
                "AllowedMethods": ["GET", "HEAD"],
                "AllowedHeaders": ["range"],
                "ExposeHeaders": ["Accept-Ranges", "Content-Length", "Content-Range", "ETag"],
                "MaxAgeSeconds": 3600,
            }
        ]
    }


def mistakes(who: str, expected: frozenset[Act], found: Mapping[Act, str | None]) -> list[str]:
    """Where `found` (act -> the refusal, None where it was granted) is not as `expected`."""
    return [
        f"{who} may {act}, which it must not"
        if refusal is None
        else f"{who} may not {act}, which it must: {refusal}"
        for act, refusal in found.items()
        if (refusal is None) != (act in expected)
    ]
