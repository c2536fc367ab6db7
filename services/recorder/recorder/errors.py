"""Errors that users of the Egress API see, with psrpc's codes.

Facts: livekit/psrpc v0.7.2, `errors.go` (codes and their HTTP statuses); livekit/egress v1.14, `pkg/errors`.
"""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """The codes of psrpc that this worker uses."""

    INVALID_ARGUMENT = "invalid_argument"
    NOT_FOUND = "not_found"
    ALREADY_EXISTS = "already_exists"
    PERMISSION_DENIED = "permission_denied"
    RESOURCE_EXHAUSTED = "resource_exhausted"
    FAILED_PRECONDITION = "failed_precondition"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"

    @property
    def http_status(self) -> int:
        """What `EgressInfo.error_code` carries."""
        return _HTTP_STATUS[self]


_HTTP_STATUS = {
    Code.INVALID_ARGUMENT: 400,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 412,
    Code.UNAVAILABLE: 503,
    Code.INTERNAL: 500,
}


class EgressError(Exception):
    """An egress cannot begin, go on or be saved. `code` and text go to the API's user."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code


def invalid_field(field: str, given: object, allowed: str) -> EgressError:
    """A request's field that has a wrong value."""
    return EgressError(
        Code.INVALID_ARGUMENT,
        f"request has missing or invalid field: {field} is {given!r}, allowed is {allowed}",
    )


def not_supported(feature: str) -> EgressError:
    """What livekit/egress can do and this worker cannot."""
    return EgressError(Code.INVALID_ARGUMENT, f"{feature} is not yet supported")
