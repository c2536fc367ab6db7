"""What a failed request means. Answers of a real store are tested in tests/recorder/storage."""

from __future__ import annotations

import pytest
from botocore import exceptions
from botocore.parsers import ResponseParserError

from recorder.storage.s3_errors import Meaning, store_error

URL = "https://s3.example.com"


@pytest.mark.parametrize(
    ("status", "code", "meaning"),
    [
        (403, "AccessDenied", Meaning.REFUSED),
        (403, "InvalidAccessKeyId", Meaning.REFUSED),
        (403, "SignatureDoesNotMatch", Meaning.REFUSED),
        (403, "RequestTimeTooSkewed", Meaning.REFUSED),
        (400, "ExpiredToken", Meaning.REFUSED),
        (404, "NoSuchBucket", Meaning.REFUSED),
        (501, "NotImplemented", Meaning.REFUSED),
        (404, "NoSuchUpload", Meaning.NO_UPLOAD),
        (400, "InvalidPart", Meaning.NO_UPLOAD),
        (503, "SlowDown", Meaning.UNREACHABLE),
        (400, "Throttling", Meaning.UNREACHABLE),
        (429, "429", Meaning.UNREACHABLE),
        (500, "InternalError", Meaning.UNREACHABLE),
        (502, "502", Meaning.UNREACHABLE),
        (400, "RequestTimeout", Meaning.DOUBTFUL),
        (409, "OperationAborted", Meaning.DOUBTFUL),
        # A page of a proxy in front of the store.
        (404, "404", Meaning.DOUBTFUL),
        (403, "403", Meaning.DOUBTFUL),
    ],
)
def test_an_answer_is_judged_by_its_code(status: int, code: str, meaning: Meaning) -> None:
    answer = {
        "Error": {"Code": code, "Message": "The store's\nown words."},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    error = store_error(exceptions.ClientError(answer, "PutObject"))
    assert error.meaning is meaning
    assert str(error) == f"S3 upload failed: {code}: The store's own words."


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (exceptions.EndpointConnectionError(endpoint_url=URL), Meaning.UNREACHABLE),
        (exceptions.ConnectTimeoutError(endpoint_url=URL), Meaning.UNREACHABLE),
        (exceptions.ReadTimeoutError(endpoint_url=URL), Meaning.UNREACHABLE),
        (exceptions.ConnectionClosedError(endpoint_url=URL), Meaning.UNREACHABLE),
        (exceptions.ProxyConnectionError(proxy_url=URL), Meaning.UNREACHABLE),
        (exceptions.SSLError(endpoint_url=URL, error="unexpected end of file"), Meaning.UNREACHABLE),
        (
            exceptions.SSLError(endpoint_url=URL, error="[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"),
            Meaning.REFUSED,
        ),
        (exceptions.CredentialRetrievalError(provider="x", error_msg="timeout"), Meaning.UNREACHABLE),
        (exceptions.NoCredentialsError(), Meaning.REFUSED),
        (exceptions.ParamValidationError(report="Invalid bucket name"), Meaning.REFUSED),
        (ResponseParserError("not XML"), Meaning.DOUBTFUL),
    ],
)
def test_what_the_library_raises_is_judged_by_its_kind(error: Exception, meaning: Meaning) -> None:
    assert store_error(error).meaning is meaning
