"""The generator as a process of its own, against a server in the test's event loop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from loadtest.api_load.process import GeneratorDied, NoTokenApi, drive, run_api_load
from loadtest.api_load.protocol import GeneratorConfig
from loadtest.definition.scenario import ApiLoad
from loadtest.result import ApiSecond
from loadtest.targets.target import target_of_url
from tests.unit.loadtest.api_load.token_server import SECRET, SERVICE_KEY, token_server


async def test_it_makes_the_load_and_tells_each_second() -> None:
    seconds: list[ApiSecond] = []
    async with token_server() as server:
        # Not whole seconds: its end and the end of its last second would come at once, in either order.
        config = server.config(per_s=20, duration_s=2.5)
        result = await asyncio.to_thread(drive, config, on_second=seconds.append, stop=threading.Event())
    assert (result.requests, result.errors) == (50, {})
    assert result.offered_per_s == pytest.approx(20)
    # Responses after the time of the last request are not counted. On a busy machine there are some.
    assert 10 < result.achieved_per_s <= 20
    assert sum(second.answers for second in seconds) == 50
    assert [second.at_s for second in seconds][:2] == [1, 2]
    assert result.seconds == tuple(seconds)


async def test_told_to_stop_it_gives_what_was_done() -> None:
    stop = threading.Event()
    async with token_server() as server:
        config = server.config(per_s=20, duration_s=60)
        began = time.monotonic()
        result = await asyncio.to_thread(drive, config, on_second=lambda _: stop.set(), stop=stop)
    assert time.monotonic() - began < 60 / 2
    assert 0 < result.requests < 20 * 60 / 2
    # The rate is over the time until the stop; requests that were in progress then are not counted.
    assert 10 < result.offered_per_s <= 21


async def test_a_generator_that_is_killed_is_told_apart_from_an_api_that_fails() -> None:
    def kill(_: ApiSecond) -> None:
        [child] = _children("loadtest.api_load")
        os.kill(child, signal.SIGKILL)

    async with token_server() as server:
        config = server.config(per_s=5, duration_s=60)
        with pytest.raises(GeneratorDied, match="ended before it was done"):
            await asyncio.to_thread(drive, config, on_second=kill, stop=threading.Event())


def test_what_kept_it_from_starting_is_in_the_message() -> None:
    config = _config("http://192.0.2.1/v1/token", ca_certificate="no certificate")
    with pytest.raises(GeneratorDied, match="SSLError") as died:
        drive(config, on_second=lambda _: None, stop=threading.Event())
    assert SECRET not in str(died.value)
    assert SERVICE_KEY not in str(died.value)


def test_a_server_given_by_its_url_has_no_token_api() -> None:
    load = ApiLoad(per_s=1, duration_s=1)
    with (
        target_of_url("ws://192.0.2.1:7880", key="key", secret=SecretStr("secret")) as target,
        pytest.raises(NoTokenApi, match=r"ws://192\.0\.2\.1:7880 has no token API"),
    ):
        run_api_load(target, load, on_second=lambda _: None, stop=threading.Event())


def test_secrets_reach_the_generator_and_no_message() -> None:
    config = _config("http://192.0.2.1/v1/token")
    written = json.loads(config.model_dump_json())
    assert written["secret"] == SECRET
    assert written["endpoint"]["service_key"] == SERVICE_KEY
    assert SECRET not in repr(config)
    assert SERVICE_KEY not in repr(config)


def _config(url: str, ca_certificate: str = "") -> GeneratorConfig:
    return GeneratorConfig.model_validate(
        {
            "endpoint": {
                "url": url,
                "service_key": SERVICE_KEY,
                "names": {},
                "ca_certificate": ca_certificate,
            },
            "load": {"per_s": 10, "duration_s": 1},
            "key": "key",
            "secret": SECRET,
            "room": "room",
            "connections": 10,
        }
    )


def _children(module: str) -> list[int]:
    """Processes that this one started with `python -m module`."""
    pids = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    found = [int(pid) for file in pids for pid in file.read_text().split()]
    return [pid for pid in found if module in Path(f"/proc/{pid}/cmdline").read_text().split("\0")]
