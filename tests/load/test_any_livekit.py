"""A LiveKit server that is known by its URL and key alone: the running stack's, past all that is ours."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from pydantic import SecretStr

from loadtest.client.process import Surroundings, client_process
from loadtest.client.protocol import ClientConfig, FirstVideo
from loadtest.client.samples import now_ms
from loadtest.definition.profile import load_profile
from loadtest.definition.scenario import Camera, Publish
from loadtest.figures import Window, video_results
from loadtest.net.host import HostNamespace
from loadtest.net.link import client_links
from loadtest.result import VideoResult
from loadtest.targets.rooms import TargetUnusable
from loadtest.targets.target import Target, target_of_url
from tests.running import RunningStack
from tests.support.speed import scaled

_MEASURED_SECONDS = 6.0
_FIRST_VIDEO_SECONDS = 60.0
_CAMERA = Publish(camera=Camera(width=320, height=180))


@pytest.fixture
def target(stack: RunningStack) -> Iterator[Target]:
    outputs = stack.outputs
    with target_of_url(
        outputs.signal_urls[0], key=outputs.livekit_api_key, secret=outputs.livekit_api_secret
    ) as made:
        yield made


def _refusal(url: str, key: str, secret: SecretStr, ca_file: Path | None = None) -> str:
    with (
        target_of_url(url, key=key, secret=secret, ca_file=ca_file) as target,
        pytest.raises(TargetUnusable) as refused,
    ):
        target.check()
    return str(refused.value)


def test_a_server_that_takes_the_key_is_usable(target: Target) -> None:
    target.check()
    target.rooms.delete(["load_that_is_not_there"])


def test_what_keeps_a_server_from_being_usable_is_told_apart(stack: RunningStack) -> None:
    outputs = stack.outputs
    url, key, secret = outputs.signal_urls[0], outputs.livekit_api_key, outputs.livekit_api_secret
    edge = outputs.edge_addresses[0]
    found = {
        "secret": _refusal(url, key, SecretStr(secrets.token_hex(32))),
        "key": _refusal(url, "nobody", secret),
        "port": _refusal(f"ws://{edge}:9", key, secret),
        "host": _refusal("wss://sfu.invalid", key, secret),
        "trust": _refusal(f"wss://{edge}", key, secret),
        "no LiveKit": _refusal(f"ws://{edge}", key, secret),
    }
    assert f"{url} refuses API key '{key}' with this secret" in found["secret"]
    assert "refuses API key 'nobody'" in found["key"]
    assert f"ws://{edge}:9 cannot be reached" in found["port"]
    assert "the host of wss://sfu.invalid is not known" in found["host"]
    assert "is not trusted" in found["trust"]
    assert "--ca FILE" in found["trust"]
    assert "does not answer as LiveKit does" in found["no LiveKit"]
    assert not [text for text in found.values() if secret.get_secret_value() in text]


@pytest.mark.parametrize("profile", ["ideal", "4g"])
def test_a_call_with_nothing_of_ours_but_the_clients(target: Target, profile: str, tmp_path: Path) -> None:
    link = load_profile(profile)
    room = f"load_test_{secrets.token_hex(4)}"
    try:
        video = _call(target, room, profile, tmp_path)
    finally:
        target.rooms.delete([room])
    assert room not in target.rooms.list_names()
    assert video.latency_ms is not None
    assert video.delivered > _MEASURED_SECONDS * 5, video
    assert video.latency_ms.p50 < 3000
    # The way there and back leads through the links, where there are any.
    assert video.latency_ms.minimum > link.up.delay_ms + link.down.delay_ms - link.up.jitter_ms - 5


def _call(target: Target, room: str, profile: str, logs: Path) -> VideoResult:
    """What the subscriber of a call saw of its one publisher."""
    link = load_profile(profile)
    publisher = target.admission(room, "publisher", publish=True, subscribe=False)
    subscriber = target.admission(room, "subscriber", publish=False, subscribe=True)
    sends = ClientConfig(url=publisher.url, token=publisher.token, publish=_CAMERA)
    receives = ClientConfig(url=subscriber.url, token=subscriber.token, subscribe=True)
    with ExitStack() as held:
        network = held.enter_context(target.client_network(links=not link.is_ideal))
        assert isinstance(network, HostNamespace) == link.is_ideal
        places: Sequence[Surroundings] = (
            (network, network)
            if isinstance(network, HostNamespace)
            else held.enter_context(client_links(network, link, 2, seed=1, logs=logs)).clients
        )
        for name, config, place in zip(("publisher", "subscriber"), (sends, receives), places, strict=True):
            receiving = held.enter_context(
                client_process(name, config, namespace=place, log=logs / f"{name}.log")
            )
        receiving.wait_for(FirstVideo, timeout=scaled(_FIRST_VIDEO_SECONDS))
        assert room in target.rooms.list_names()
        started_ms = now_ms()
        receiving.run_for(_MEASURED_SECONDS)
        window = Window(started_ms, now_ms(), run_start_ms=started_ms)
        receiving.finish(timeout=scaled(15))
        [video] = video_results(receiving.recording, window)
    return video
