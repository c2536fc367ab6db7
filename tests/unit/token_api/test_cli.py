from __future__ import annotations

import contextlib
import io
import logging
import socket
from collections.abc import Iterator

import pytest
import structlog

from tests.unit.token_api.support import (
    ENVIRONMENT,
    LATEST_REVISION,
    OTHER_SECRET,
    SECRET,
    SERVICE_KEY,
    StandInServer,
)
from token_api.cli import main
from token_api.settings import variables


@pytest.fixture(autouse=True)
def _logging_is_restored() -> Iterator[None]:
    """`main` configures logging for its whole process, which runs other tests after these."""
    ours, root = structlog.get_config(), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.configure(**ours)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_check_env_says_ok_for_each_variable_and_shows_no_secret(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-env"]) == 0
    printed = capsys.readouterr()
    assert [line.split()[1].rstrip(":") for line in printed.out.splitlines()] == list(variables())
    assert all(line.startswith("OK ") for line in printed.out.splitlines())
    assert f"OK LIVEKIT_API_SECRET: {len(SECRET)} characters" in printed.out
    assert SECRET not in printed.out
    assert SERVICE_KEY not in printed.out
    assert printed.err == ""


@pytest.mark.parametrize("command", ["check-env", "serve"])
def test_a_bad_environment_is_told_in_full_and_ends_with_78(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    environment.delenv("LIVEKIT_URL")
    environment.setenv("LIVEKIT_API_SECRET", "secret")
    environment.setenv("TOKEN_API_LISTEN_PORT", "x")
    assert main([command]) == 78
    printed = capsys.readouterr()
    assert printed.out == ""
    *problems, summary = printed.err.splitlines()
    assert [line.split(":")[0] for line in problems] == [
        "LIVEKIT_URL",
        "LIVEKIT_API_SECRET",
        "TOKEN_API_LISTEN_PORT",
    ]
    assert all("; given: " in line and "; allowed: " in line for line in problems)
    assert summary == "3 problems in the environment"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("LIVEKIT_API_KEY", "APIother", "does not know LIVEKIT_API_KEY"),
        ("LIVEKIT_API_SECRET", OTHER_SECRET, "LIVEKIT_API_SECRET is wrong"),
    ],
)
def test_connect_says_which_credential_livekit_refuses(
    environment: pytest.MonkeyPatch, livekit: StandInServer, *, variable: str, value: str, said: str
) -> None:
    environment.setenv("LIVEKIT_URL", livekit.url)
    environment.setenv(variable, value)
    stderr = io.StringIO()
    with contextlib.redirect_stderr(stderr):
        assert main(["check-env", "--connect"]) == 77
    assert said in stderr.getvalue()


def test_connect_says_that_livekit_accepts_us(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], livekit: StandInServer
) -> None:
    environment.setenv("LIVEKIT_URL", livekit.url)
    assert main(["check-env", "--connect"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == "OK LiveKit answers, and accepts the key and secret"
    assert printed.err == ""


def test_connect_says_that_nobody_answers(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        environment.setenv("LIVEKIT_URL", f"ws://127.0.0.1:{closed.getsockname()[1]}")
        assert main(["check-env", "--connect"]) == 69
    assert "LIVEKIT_URL does not answer" in capsys.readouterr().err


def test_connect_says_that_something_else_answers(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], livekit: StandInServer
) -> None:
    livekit.answer = (404, "text/html", "<html>")
    environment.setenv("LIVEKIT_URL", livekit.url)
    assert main(["check-env", "--connect"]) == 76
    assert "404" in capsys.readouterr().err


def test_migrate_goes_up_and_down_and_names_what_it_cannot(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["migrate"]) == 0
    assert main(["migrate", "--to", "base"]) == 0
    assert main(["migrate", "--to", "7777"]) == 64
    environment.setenv("TOKEN_API_DATABASE_URL", "postgresql://joe:pass-Zq7@127.0.0.1:1/none")
    assert main(["migrate"]) == 69
    printed = capsys.readouterr()
    assert printed.out == (
        f"OK migrated from nothing to {LATEST_REVISION}\nOK migrated from {LATEST_REVISION} to nothing\n"
    )
    assert "7777" in printed.err
    assert "the database cannot be migrated" in printed.err
    assert "pass-Zq7" not in printed.err


def test_wrong_usage_ends_with_2(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["frobnicate"])
    assert caught.value.code == 2


def test_the_test_environment_is_the_documented_one() -> None:
    assert set(ENVIRONMENT) <= set(variables())
