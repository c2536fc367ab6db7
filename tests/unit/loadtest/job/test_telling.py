"""What a pod tells arrives as it was meant, and seconds of clients come together."""

from __future__ import annotations

import io
import time
from datetime import timedelta

import pytest

from loadtest.definition.scenario import ApiLoad, Arrival, Group
from loadtest.job.framing import Decoder
from loadtest.job.messages import (
    Acted,
    ClientLost,
    ClientSeconds,
    Done,
    PhaseBegan,
    PodMessage,
    Ready,
    pod_messages,
)
from loadtest.job.planning import lasts_s, revealed
from loadtest.job.telling import Forwarder, Speaker
from loadtest.result import Second
from loadtest.run.observer import ActionTaken, ClientEnded, ClientSecond, PhaseStarted
from loadtest.targets.outputs import StackOutputs
from tests.unit.loadtest.job.parts import START, client, result, scenario

_OUTPUTS = {
    "namespace": "livekit",
    "domain": "lk.example.com",
    "signal_url": "wss://sfu.lk.example.com",
    "signal_urls": ["ws://192.0.2.11:7880"],
    "turn_urls": [],
    "api_url": "https://api.lk.example.com",
    "edge_addresses": ["192.0.2.11"],
    "ca_certificate": "",
    "s3_endpoint": "https://s3.lk.example.com",
    "s3_bucket": "recordings",
    "s3_access_key": "s3-key",
    "s3_secret_key": "s3-secret",
    "livekit_api_key": "platform",
    "livekit_api_secret": "api-secret",
    "api_service_key": "service-key",
    "kubeconfig_path": "/somewhere/kubeconfig",
    "client_network": {
        "netns": "a-net",
        "bridge": "br0",
        "gateway": "192.0.2.1",
        "addresses": "192.0.2.128/25",
        "prefix": 24,
    },
}


def heard(out: io.StringIO) -> list[PodMessage]:
    return [pod_messages.validate_json(each) for each in Decoder().take(out.getvalue().splitlines())]


def test_what_is_said_is_heard() -> None:
    said: list[PodMessage] = [Ready(), Done(result=result(clients=(client("viewers-1"),)))]
    out = io.StringIO()
    speaker = Speaker(out)
    for message in said:
        speaker.say(message)
    assert heard(out) == said


def test_events_of_the_run_go_on_and_seconds_are_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    out = io.StringIO()
    forwarder = Forwarder(Speaker(out))
    forwarder(PhaseStarted("joining", 3))
    forwarder(ClientSecond("viewers-1", "viewers", Second(at_s=1)))
    forwarder(ClientSecond("viewers-2", "viewers", Second(at_s=1)))
    now = 101.5
    forwarder(ClientSecond("viewers-1", "viewers", Second(at_s=2)))
    forwarder(ClientEnded("viewers-2", "viewers", "it died"))
    forwarder(ActionTaken(4.0, "reconnect"))
    forwarder(ClientSecond("viewers-1", "viewers", Second(at_s=3)))
    forwarder.flush()
    phase, three, lost, acted, last = heard(out)
    assert isinstance(phase, PhaseBegan)
    assert abs(phase.at - START) > timedelta(0)
    assert (phase.name, phase.seconds) == ("joining", 3)
    assert isinstance(three, ClientSeconds)
    assert [(each.client, each.second.at_s) for each in three.seconds] == [
        ("viewers-1", 1),
        ("viewers-2", 1),
        ("viewers-1", 2),
    ]
    assert lost == ClientLost(client="viewers-2", group="viewers", reason="it died")
    assert acted == Acted(at_s=4.0, what="reconnect")
    assert isinstance(last, ClientSeconds)
    assert len(last.seconds) == 1


def test_a_pod_is_given_the_outputs_with_their_secrets_and_without_this_machine_s_bridge() -> None:
    outputs = StackOutputs.model_validate(_OUTPUTS)
    given = StackOutputs.model_validate_json(revealed(outputs))
    assert given.livekit_api_secret.get_secret_value() == "api-secret"
    assert given.api_service_key.get_secret_value() == "service-key"
    assert given.client_network is None
    assert given == outputs.model_copy(update={"client_network": None, "browser_urls": None})


def test_a_run_s_deadline_covers_its_last_arrival_and_its_requests() -> None:
    short = lasts_s(scenario())
    late = Group(name="late", count=11, subscribe=True, arrival=Arrival(after_s=5, per_s=1))
    assert lasts_s(scenario(groups=(*scenario().groups, late))) == short + 15
    assert lasts_s(scenario(api=ApiLoad(per_s=1, duration_s=60, timeout_s=10))) == short + 70
