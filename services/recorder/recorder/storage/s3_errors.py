"""What a failed request to the store means for an upload. Pure.

Sources: Amazon S3 API Reference, "Error responses"; the exceptions of botocore.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from botocore import exceptions
from botocore.parsers import ResponseParserError


class Meaning(Enum):
    """What to do after a failure."""

    UNREACHABLE = "the store is away or overloaded: repeat for as long as one can wait"
    DOUBTFUL = "it may not have been the store's last word: repeat a few times"
    NO_UPLOAD = "the store does not have the multipart upload: begin another one"
    REFUSED = "the same request would fail again"


class StoreError(Exception):
    """A request to the store failed. The text is for the API's user."""

    def __init__(self, meaning: Meaning, text: str) -> None:
        super().__init__(text)
        self.meaning = meaning


# `InvalidPart`: the store does not have a part, or not with this ETag.
_NO_UPLOAD = {"NoSuchUpload", "InvalidPart", "InvalidPartOrder"}
_OVERLOADED = {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"}
# The transfer failed, or another request to the same key was in progress.
_DOUBTFUL = {
    "RequestTimeout",
    "OperationAborted",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "BadDigest",
    "XAmzContentSHA256Mismatch",
}
_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500
_NOT_IMPLEMENTED = 501


def store_error(error: Exception) -> StoreError:
    """What `error`, raised by botocore, means."""
    match error:
        case exceptions.ClientError():
            return _answered(error.response)
        case exceptions.SSLError() if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return _failed(Meaning.REFUSED, "the store's certificate is not trusted", error)
        case exceptions.ConnectionError() | exceptions.HTTPClientError():
            return _failed(Meaning.UNREACHABLE, "the store does not answer", error)
        case exceptions.CredentialRetrievalError() | exceptions.MetadataRetrievalError():
            return _failed(Meaning.UNREACHABLE, "no credentials", error)
        case ResponseParserError():
            return _failed(Meaning.DOUBTFUL, "the answer is not S3's", error)
    return _failed(Meaning.REFUSED, type(error).__name__, error)


def _answered(answer: dict[str, Any]) -> StoreError:
    status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = str(answer.get("Error", {}).get("Code", ""))
    message = str(answer.get("Error", {}).get("Message", ""))
    text = _text(code, message)
    if code in _NO_UPLOAD:
        return StoreError(Meaning.NO_UPLOAD, text)
    overloaded = status == _TOO_MANY_REQUESTS or code in _OVERLOADED
    if overloaded or (status >= _SERVER_ERROR and status != _NOT_IMPLEMENTED):
        return StoreError(Meaning.UNREACHABLE, text)
    # Something in front of the store answers without S3's codes. botocore makes a code of the status then.
    if code in _DOUBTFUL or code in ("", str(status)):
        return StoreError(Meaning.DOUBTFUL, text)
    return StoreError(Meaning.REFUSED, text)


def _failed(meaning: Meaning, what: str, error: Exception) -> StoreError:
    return StoreError(meaning, _text(what, str(error)))


def _text(what: str, details: str) -> str:
    # An answer's message may have several lines.
    return f"S3 upload failed: {what}: {' '.join(details.split())}"
