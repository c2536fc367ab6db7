from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.unit.token_api.support import ENVIRONMENT, SECRET, SERVICE_KEY
from token_api.settings import BadEnvironment, EnvironmentProblem, load_settings


def only_problem() -> EnvironmentProblem:
    with pytest.raises(BadEnvironment) as caught:
        load_settings()
    (problem,) = caught.value.problems
    return problem


def test_a_good_environment_is_read(environment: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    assert settings.livekit_http_url == "http://sfu.test:7880"
    assert settings.server_url == "ws://sfu.test:7880"
    assert settings.livekit_secrets == {ENVIRONMENT["LIVEKIT_API_KEY"]: SECRET}
    assert (settings.listen_host, settings.listen_port, settings.log_level) == ("0.0.0.0", 8080, "info")
    assert (settings.egress_kind, settings.recordings_retention_days) == ("livekit", 0)


@pytest.mark.parametrize(
    ("livekit_url", "public_url", "called", "told"),
    [
        ("wss://sfu.test", "", "https://sfu.test", "wss://sfu.test"),
        ("https://sfu.test/", "", "https://sfu.test", "wss://sfu.test"),
        ("http://10.0.0.1:7880", "wss://sfu.test", "http://10.0.0.1:7880", "wss://sfu.test"),
        ("ws://[fd00::1]:7880", "http://sfu.test:80", "http://[fd00::1]:7880", "ws://sfu.test:80"),
    ],
)
def test_what_is_called_is_http_and_what_clients_are_told_is_ws(
    environment: pytest.MonkeyPatch, livekit_url: str, public_url: str, called: str, told: str
) -> None:
    environment.setenv("LIVEKIT_URL", livekit_url)
    environment.setenv("LIVEKIT_PUBLIC_URL", public_url)
    settings = load_settings()
    assert (settings.livekit_http_url, settings.server_url) == (called, told)


@pytest.mark.parametrize("variable", list(ENVIRONMENT))
@pytest.mark.parametrize("value", [None, ""])
def test_what_is_missing_is_named(environment: pytest.MonkeyPatch, variable: str, value: str | None) -> None:
    if value is None:
        environment.delenv(variable)
    else:
        environment.setenv(variable, value)
    problem = only_problem()
    assert (problem.variable, problem.given) == (variable, "nothing")
    assert problem.allowed


@pytest.mark.parametrize(
    ("variable", "value", "given", "reason"),
    [
        ("LIVEKIT_URL", "sfu.test:7880", "'sfu.test:7880'", "scheme"),
        ("LIVEKIT_URL", "ftp://sfu.test", "'ftp://sfu.test'", "scheme"),
        ("LIVEKIT_URL", "ws://", "'ws://'", "host"),
        ("LIVEKIT_URL", "ws://:7880", "'ws://:7880'", "host"),
        ("LIVEKIT_URL", "ws://sfu .test", "'ws://sfu .test'", "host"),
        ("LIVEKIT_URL", "ws://sfu.test:70000", "'ws://sfu.test:70000'", "no URL"),
        ("LIVEKIT_URL", "ws://sfu.test:0", "'ws://sfu.test:0'", "port 0"),
        ("LIVEKIT_URL", "ws://[::1", "'ws://[::1'", "no URL"),
        ("LIVEKIT_URL", "ws://sfu.test/rtc", "'ws://sfu.test/rtc'", "path"),
        ("LIVEKIT_URL", "ws://sfu.test?a=b", "'ws://sfu.test?a=b'", "path"),
        ("LIVEKIT_URL", "ws://joe:pass@sfu.test", "'<hidden>@sfu.test'", "password"),
        ("LIVEKIT_PUBLIC_URL", "sfu.test", "'sfu.test'", "scheme"),
        ("LIVEKIT_API_KEY", "a b", "3 characters", "not allowed"),
        ("LIVEKIT_API_KEY", "APItest\n", "8 characters", "not allowed"),
        ("LIVEKIT_API_SECRET", "secret", "6 characters", "everyone knows"),
        ("LIVEKIT_API_SECRET", "devkey", "6 characters", "everyone knows"),
        ("LIVEKIT_API_SECRET", SECRET[:31], "31 characters", "too short"),
        ("LIVEKIT_API_SECRET", SECRET * 20, f"{len(SECRET) * 20} characters", "too long"),
        ("LIVEKIT_API_SECRET", "ab" * 20, "40 characters", "too few different"),
        ("LIVEKIT_API_SECRET", SECRET + "\n", f"{len(SECRET) + 1} characters", "line end"),
        ("TOKEN_API_SERVICE_KEY", SERVICE_KEY[:31], "31 characters", "too short"),
        ("TOKEN_API_SERVICE_KEY", SERVICE_KEY + " é", f"{len(SERVICE_KEY) + 2} characters", "ASCII"),
        ("TOKEN_API_SERVICE_KEY", SECRET, f"{len(SECRET)} characters", "same as LIVEKIT_API_SECRET"),
        ("TOKEN_API_LISTEN_PORT", "tcp://10.0.0.1:80", "'tcp://10.0.0.1:80'", "not allowed"),
        ("TOKEN_API_LISTEN_PORT", "0", "'0'", "not allowed"),
        ("TOKEN_API_LISTEN_PORT", "65536", "'65536'", "not allowed"),
        ("TOKEN_API_LOG_LEVEL", "loud", "'loud'", "not allowed"),
        ("TOKEN_API_SHUTDOWN_SECONDS", "0", "'0'", "not allowed"),
        ("TOKEN_API_EGRESS_KIND", "Recorder", "'Recorder'", "not allowed"),
        ("TOKEN_API_RECORDINGS_RETENTION_DAYS", "-1", "'-1'", "not allowed"),
        ("TOKEN_API_RECORDINGS_RETENTION_DAYS", "36501", "'36501'", "not allowed"),
    ],
)
def test_what_is_wrong_is_named_with_what_was_given_and_what_is_allowed(
    environment: pytest.MonkeyPatch, variable: str, value: str, given: str, reason: str
) -> None:
    environment.setenv(variable, value)
    problem = only_problem()
    assert (problem.variable, problem.given) == (variable, given)
    assert reason in problem.reason
    assert problem.allowed


def test_recordings_are_deleted_by_age_only_where_there_is_a_store(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("TOKEN_API_RECORDINGS_RETENTION_DAYS", "30")
    with pytest.raises(BadEnvironment) as caught:
        load_settings()
    assert [problem.variable for problem in caught.value.problems] == [
        *(
            "TOKEN_API_S3_ENDPOINT",
            "TOKEN_API_S3_BUCKET",
            "TOKEN_API_S3_ACCESS_KEY",
            "TOKEN_API_S3_SECRET_KEY",
        )
    ]
    assert "TOKEN_API_RECORDINGS_RETENTION_DAYS" in caught.value.problems[0].reason


def test_all_problems_are_told_at_once(environment: pytest.MonkeyPatch) -> None:
    for variable in ENVIRONMENT:
        environment.delenv(variable)
    environment.setenv("TOKEN_API_LISTEN_PORT", "x")
    with pytest.raises(BadEnvironment) as caught:
        load_settings()
    named = [problem.variable for problem in caught.value.problems]
    assert named == [*ENVIRONMENT, "TOKEN_API_LISTEN_PORT"]


@examples(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(secret=st.text(st.characters(codec="ascii", exclude_characters="\x00"), min_size=1, max_size=80))
def test_no_secret_is_in_a_message_or_a_repr(environment: pytest.MonkeyPatch, secret: str) -> None:
    marked = f"{secret}~Zq7~"
    for variable in ("LIVEKIT_API_SECRET", "TOKEN_API_SERVICE_KEY"):
        environment.setenv(variable, marked)
    try:
        printed = repr(load_settings())
    except BadEnvironment as error:
        printed = f"{error}{error!r}{error.__context__!r}"
    assert "~Zq7~" not in printed
