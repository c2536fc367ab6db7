"""docs/api.md and the example do what they say, against a running service."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.token_api.service import HOST_AUDIENCE, HOST_ISSUER, HOST_SECRET, Service, token_api
from tests.unit.token_api.livekit_double import livekit_double
from tests.unit.token_api.support import SERVICE_KEY

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text()
HOST_VARIABLES = {
    "TOKEN_API_SERVICE_KEY": SERVICE_KEY,
    "TOKEN_API_HOST_JWT_SECRET": HOST_SECRET,
    "TOKEN_API_HOST_JWT_ISSUER": HOST_ISSUER,
    "TOKEN_API_HOST_JWT_AUDIENCE": HOST_AUDIENCE,
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with (
        livekit_double() as double,
        token_api(
            tmp_path_factory.mktemp("token-api"),
            double.url,
            TOKEN_API_WEBHOOK_ALLOW="127.0.0.1/32",
        ) as running,
    ):
        yield running


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def run(words: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        env={"PATH": os.environ["PATH"], **HOST_VARIABLES, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_block_of_the_page_runs(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in HOST_VARIABLES.items():
        monkeypatch.setenv(variable, value)
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(block, names)  # noqa: S102
    script = "\n".join(["set -euo pipefail", *blocks("sh")])
    assert script.count("$API/v1") > 12
    done = run(
        ["bash", "-c", script],
        API=service.url,
        # Nobody listens: no test here waits for an event.
        EVENTS_URL="https://127.0.0.1:9/livekit",
        CREATOR_JWT=names["user_jwt"]("ada", "Ada"),
        VIEWER_JWT=names["user_jwt"]("bob", "Bob"),
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    # What the page shows on the way.
    for shown in (
        "viewer",
        "cancelled",
        "Welcome!",
        "whsec_",
        "urn:problem-type:livekit-platform:banned",
        "ended",
    ):
        assert shown in done.stdout


def test_the_example_plays_its_story(service: Service) -> None:
    done = run([sys.executable, str(ROOT / "examples" / "host_application.py")], TOKEN_API_URL=service.url)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.count("\n- ") > 5


def test_the_example_says_what_is_not_as_it_should_be(service: Service) -> None:
    example = [sys.executable, str(ROOT / "examples" / "host_application.py")]
    done = run(example, TOKEN_API_URL=service.url, TOKEN_API_SERVICE_KEY="wrong")
    assert done.returncode == 1
    assert "401" in done.stderr
    assert run(example).returncode == 2
