"""The exit codes of `python -m recorder`."""

from __future__ import annotations

import pytest

from recorder import __main__
from recorder.compose import fonts
from recorder.compose.fonts import FontsMissing


def test_a_worker_without_fonts_does_not_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> None:
        raise FontsMissing("Debian packages are missing to draw text: fonts-noto-core")

    monkeypatch.setattr(fonts, "check_installed", missing)
    monkeypatch.setattr(__main__, "load", lambda _environment: object())
    assert __main__.main([]) == __main__.EX_CONFIG
    assert "fonts-noto-core" in capsys.readouterr().err


def test_an_unknown_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["record"]) == __main__.EX_USAGE
    assert "'record' is not a command; allowed: serve, handle" in capsys.readouterr().err


def test_a_configuration_is_required(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("EGRESS_CONFIG_BODY", "EGRESS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    assert __main__.main(["serve"]) == __main__.EX_CONFIG
    assert "EGRESS_CONFIG_FILE" in capsys.readouterr().err
