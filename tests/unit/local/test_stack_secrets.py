"""How `local` runs the program that completes a stack's secrets; tests/stack_secrets tests that program."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from local import cli, stack_secrets
from local.paths import CHECKOUT, Instance
from local.stack import Stack
from local.stack_secrets import Refused, Request
from local.toolchain import venv

# Replaces Python: it records its arguments and environment.
_RECORDER = """\
#!/bin/sh
{{ printf '%s\\n' "$@"; }} >"{seen}/words"
echo "${{PULUMI_CONFIG_PASSPHRASE-none}}|$PYTHONPATH|$PWD" >"{seen}/environment"
cat "{seen}/stdout"
cat "{seen}/stderr" >&2
exit "$(cat "{seen}/code")"
"""


class Program:
    """A replacement of the program: it records its input and returns the configured answer."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.answers()

    def answers(self, code: int = 0, *, out: str = "", err: str = "") -> None:
        for name, text in (("code", str(code)), ("stdout", out), ("stderr", err)):
            (self.directory / name).write_text(text)

    @property
    def words(self) -> list[str]:
        return (self.directory / "words").read_text().splitlines()

    @property
    def environment(self) -> list[str]:
        return (self.directory / "environment").read_text().strip().split("|")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    python = tmp_path / "python"
    python.write_text(_RECORDER.format(seen=tmp_path))
    python.chmod(0o755)
    monkeypatch.setattr(venv, "python", lambda: python)
    return Program(tmp_path)


def test_the_local_stack_s_own_file_and_passphrase_are_used(
    instance: Instance, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "of another stack")
    program.answers(out="created secrets.a\ncreated secrets.b\n")
    done = stack_secrets.complete(instance, Stack(instance).environment(), Request())
    assert done == ["created secrets.a", "created secrets.b"]
    where = ["--config-file", str(instance.stack_config), "--backups", str(instance.root / "backups")]
    assert program.words == ["-m", "stack_secrets", "--stack", "local", *where]
    passphrase, path, directory = program.environment
    assert passphrase == "none"
    assert path.split(os.pathsep)[:2] == [str(CHECKOUT), str(CHECKOUT / "infra")]
    assert directory == str(CHECKOUT)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request(rotate="turn_secret"), ["--rotate", "turn_secret"]),
        (Request(take_over_only=True), ["--take-over-only"]),
    ],
)
def test_a_request_is_passed_on(
    instance: Instance, program: Program, request_: Request, words: list[str]
) -> None:
    stack_secrets.complete(instance, {}, request_)
    assert program.words[-len(words) :] == words


def test_wrong_input_and_a_failure_are_told_apart(instance: Instance, program: Program) -> None:
    program.answers(2, err="ROTATE: given 'x', allowed are a, b\n")
    with pytest.raises(Refused, match=r"^ROTATE: given 'x', allowed are a, b$"):
        stack_secrets.complete(instance, {}, Request(rotate="x"))
    program.answers(1, out="half a secret", err="the engine failed\n")
    with pytest.raises(Exception, match="exited with 1:\nthe engine failed") as caught:
        stack_secrets.complete(instance, {}, Request())
    assert "half a secret" not in str(caught.value)


def test_make_secrets_of_the_local_stack(
    instance: Instance, program: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LKP_INSTANCE", instance.id)
    monkeypatch.setattr(Stack, "exists", True)
    program.answers(out="replaced secrets.turn_secret\n")
    assert cli.main(["secrets", "--rotate", "turn_secret"]) == 0
    printed = capsys.readouterr().err
    assert "replaced secrets.turn_secret" in printed
    assert "`make up` deploys" in printed
    program.answers(2, err="ROTATE: given 'x', allowed are a, b\n")
    assert cli.main(["secrets", "--rotate", "x"]) == 2
    assert "allowed are a, b" in capsys.readouterr().err


def test_make_secrets_without_a_local_stack_says_so(
    instance: Instance, program: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LKP_INSTANCE", instance.id)
    with pytest.raises(SystemExit) as ended:
        cli.main(["secrets"])
    assert ended.value.code == 4
    assert "`make up` makes one" in capsys.readouterr().err


def test_another_stack_has_the_users_own_backend_and_passphrase(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `make test` runs in the environment of the local stack.
    for name in [name for name in os.environ if name.startswith("PULUMI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LKP_INSTANCE", "abc123")
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://state")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "mine")
    become: list[Any] = []
    monkeypatch.setattr(cli, "_become", lambda command, environment: become.append((command, environment)))
    cli.main(["secrets", "--stack", "staging", "--rotate", "turn_secret"])
    [(command, environment)] = become
    assert command[1:5] == ["-m", "stack_secrets", "--stack", "staging"]
    assert command[-2:] == ["--rotate", "turn_secret"]
    # The checkout's file, which the user commits.
    assert "--config-file" not in command
    assert (environment["PULUMI_BACKEND_URL"], environment["PULUMI_CONFIG_PASSPHRASE"]) == (
        "s3://state",
        "mine",
    )
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in environment
    assert str(CHECKOUT / "infra") in environment["PYTHONPATH"].split(os.pathsep)
