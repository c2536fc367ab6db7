"""Short digests that go into pod annotations, so that a pod restarts when what it reads has changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from livekit_platform.config import Secrets

# Enough that two configurations do not meet by chance; an annotation is no place for more.
_HEX_DIGITS = 16


def fingerprint(value: object) -> str:
    """A digest of a JSON-like value that holds no secret."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_HEX_DIGITS]


def secrets_fingerprint(secrets: Secrets, *used: str) -> str:
    """What stands for the secrets `used` (field names of `Secrets`): known at preview, and telling nothing.

    A generated secret is known only after it was made, so its generation stands for it. A given one goes
    through scrypt: who reads annotations but not Secrets cannot try out guesses at any useful rate.
    """
    given: Mapping[str, str] = {
        name: _stretched(name, value.get_secret_value())
        for name, value in secrets.given().items()
        if name in used
    }
    return fingerprint({name: given.get(name, secrets.generation) for name in used})


def _stretched(name: str, secret: str) -> str:
    # 16 MiB and some 50 ms each, the parameters that RFC 7914 gives for interactive use.
    return hashlib.scrypt(secret.encode(), salt=name.encode(), n=2**14, r=8, p=1, dklen=16).hex()
