"""What went wrong with a request to the store: the client library's errors as causes in words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

from botocore import exceptions
from botocore.parsers import ResponseParserError
from urllib3.exceptions import NameResolutionError


class Cause(Enum):
    """What somebody has to change, as far as the answer tells."""

    NAME = "the host's name does not resolve"
    UNREACHABLE = "nothing answers there"
    TLS = "no trusted TLS connection comes about"
    UNAVAILABLE = "the store answers that it cannot serve now"
    NOT_S3 = "what answers there is no S3 store"
    NO_KEY = "there is no key"
    WRONG_KEY = "the store does not accept the key"
    CLOCK = "this machine's clock is not the store's"
    WRONG_REGION = "the store is in another region"
    NO_BUCKET = "there is no such bucket"
    DENIED = "denied"
    OTHER = "the store refuses"

    @property
    def may_pass(self) -> bool:
        """Whether waiting may help: the store, the network or a policy on it is perhaps still starting."""
        return self in (Cause.NAME, Cause.UNREACHABLE, Cause.UNAVAILABLE)


@dataclass(frozen=True)
class Failure:
    """One failed request: its cause, and the answer's own words."""

    cause: Cause
    detail: str

    def __str__(self) -> str:
        return f"{self.cause.value} ({self.detail})"


CAUSE_OF_CODE = {
    "AccessDenied": Cause.DENIED,
    "AllAccessDisabled": Cause.DENIED,
    "InvalidAccessKeyId": Cause.WRONG_KEY,
    "InvalidClientTokenId": Cause.WRONG_KEY,
    "SignatureDoesNotMatch": Cause.WRONG_KEY,
    "InvalidToken": Cause.WRONG_KEY,
    "ExpiredToken": Cause.WRONG_KEY,
    "RequestTimeTooSkewed": Cause.CLOCK,
    "AuthorizationHeaderMalformed": Cause.WRONG_REGION,
    "IllegalLocationConstraintException": Cause.WRONG_REGION,
    "PermanentRedirect": Cause.WRONG_REGION,
    "NoSuchBucket": Cause.NO_BUCKET,
}
# The library's name for a connection, before the reason.
_CONNECTION = re.compile(r"^AWSHTTPS?Connection\([^)]*\): ")
# What failed was to get a key by workload identity: no right on the bucket is missing.
_IDENTITY_CALLS = ("AssumeRoleWithWebIdentity", "AssumeRole", "GetRoleCredentials")


class OtherContent(Exception):
    """What was read is not what was written."""


def failure(error: Exception) -> Failure:  # noqa: PLR0911 - one per kind of error
    """`error`, raised by a request, as a cause."""
    match error:
        case exceptions.ClientError():
            return _answered(error)
        case exceptions.SSLError():
            return Failure(Cause.TLS, _root(error))
        case exceptions.EndpointConnectionError():
            unresolved = isinstance(_inner(error), NameResolutionError)
            return Failure(Cause.NAME if unresolved else Cause.UNREACHABLE, _root(error))
        case exceptions.ConnectionError() | exceptions.HTTPClientError():
            return Failure(Cause.UNREACHABLE, _root(error))
        case exceptions.NoCredentialsError() | exceptions.PartialCredentialsError():
            return Failure(Cause.NO_KEY, "neither a key nor a workload identity was found")
        case exceptions.CredentialRetrievalError() | exceptions.UnauthorizedSSOTokenError():
            return Failure(Cause.NO_KEY, _one_line(error))
        case ResponseParserError():
            return Failure(Cause.NOT_S3, "its answer cannot be read")
        case OtherContent():
            return Failure(Cause.NOT_S3, "what was read is not what was written")
    return Failure(Cause.OTHER, f"{type(error).__name__}: {_one_line(error)}")


def _answered(error: exceptions.ClientError) -> Failure:
    answer: dict[str, Any] = error.response
    code = str(answer.get("Error", {}).get("Code", ""))
    status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    message = str(answer.get("Error", {}).get("Message", ""))
    if error.operation_name in _IDENTITY_CALLS:
        return Failure(Cause.NO_KEY, f"{error.operation_name}: {code}: {message}")
    if code in CAUSE_OF_CODE:
        cause = CAUSE_OF_CODE[code]
        return Failure(cause, code if cause is Cause.DENIED else f"{code}: {message}")
    # The library makes a code of the status where the answer is not S3's own XML, and 500 of a good status.
    is_s3 = bool(code) and not code.isdigit()
    if status > 500 or (status == 500 and is_s3):
        return Failure(Cause.UNAVAILABLE, f"{status} {code}")
    if not is_s3:
        return Failure(Cause.DENIED if status == 403 else Cause.NOT_S3, f"status {status}")
    return Failure(Cause.OTHER, f"{code}: {message}")


def _inner(error: Exception) -> object:
    """What the HTTP library raised, which botocore keeps among the words of its own message."""
    inner = getattr(error, "kwargs", {}).get("error")
    return getattr(inner, "reason", inner)


def _root(error: Exception) -> str:
    return _CONNECTION.sub("", _one_line(_inner(error) or error))


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
