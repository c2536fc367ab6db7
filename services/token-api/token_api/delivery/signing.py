"""Signatures as Standard Webhooks has them: https://www.standardwebhooks.com, symmetric, version 1."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime

SECRET_PREFIX = "whsec_"  # noqa: S105 (what secrets begin with)
# The specification allows 24 to 64.
_SECRET_BYTES = 32


def new_secret() -> str:
    """A secret for an endpoint, in the form that Standard Webhooks' libraries take."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signed_headers(message_id: str, sent_at: datetime, body: bytes, keys: Sequence[str]) -> dict[str, str]:
    """The headers of a message: with a signature by each of `keys`, of which the receiver needs one."""
    timestamp = str(int(sent_at.timestamp()))
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = [f"v1,{base64.b64encode(_digest(key, signed)).decode()}" for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(signatures),
    }


def _digest(secret: str, signed: bytes) -> bytes:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    return hmac.new(key, signed, hashlib.sha256).digest()
