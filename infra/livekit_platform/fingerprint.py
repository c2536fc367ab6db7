"""Short digests that go into pod annotations, so that a pod restarts when what it reads has changed."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache

from livekit_platform.config import Secrets

# Enough to distinguish two configurations, and short enough for an annotation.
_HEX_DIGITS = 16


def fingerprint(value: object) -> str:
    """A digest of a JSON-like value that holds no secret."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_HEX_DIGITS]


def secrets_fingerprint(secrets: Secrets, *used: str) -> str:
    """A digest of the secrets `used` (field names of `Secrets`), known at preview.

    Each value goes through scrypt, because an owner may have chosen a weak value. scrypt is slow, so users
    who can read annotations but not Secrets cannot guess the value at a useful rate.

    Raises:
        KeyError: a secret is missing; the rules of the configuration prevent this.
    """
    values = secrets.present()
    return fingerprint({name: _stretched(name, values[name].get_secret_value()) for name in used})


# Cached because several parts read the same secret, and scrypt is slow on purpose.
@lru_cache(maxsize=64)
def _stretched(name: str, secret: str) -> str:
    # 16 MiB and some 50 ms each, the parameters that RFC 7914 gives for interactive use.
    return hashlib.scrypt(secret.encode(), salt=name.encode(), n=2**14, r=8, p=1, dklen=16).hex()
