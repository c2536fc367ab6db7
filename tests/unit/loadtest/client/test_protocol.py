import pytest
from pydantic import SecretStr, ValidationError

from loadtest.client.protocol import (
    ClientConfig,
    Failed,
    Join,
    Joined,
    Leave,
    Measured,
    Simulate,
    command_adapter,
    event_adapter,
)
from loadtest.client.samples import FrameSample, VideoSecond
from loadtest.definition.scenario import ActionKind, Camera, Publish


def test_a_configuration_crosses_the_pipe_whole_and_is_shown_without_its_token() -> None:
    config = ClientConfig(
        url="ws://10.99.0.11:7880", token=SecretStr("hidden"), publish=Publish(camera=Camera(fps=30))
    )
    assert ClientConfig.model_validate_json(config.model_dump_json()) == config
    assert "hidden" not in repr(config)


@pytest.mark.parametrize(
    "wrong",
    [{"url": "http://10.99.0.11"}, {"transport": "tcp"}, {"publish": {"camera": {"width": 641}}}, {"fps": 1}],
)
def test_a_wrong_configuration_is_refused(wrong: dict[str, object]) -> None:
    good: dict[str, object] = {"url": "ws://10.99.0.11:7880", "token": "t"}
    ClientConfig.model_validate(good)
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        ClientConfig.model_validate({**good, **wrong})


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"url": "ws://sfu"},
        {"token": "hidden"},
        {"url": "ws://sfu", "token": "hidden", "wait_for_join": True},
    ],
)
def test_a_client_joins_by_its_configuration_or_waits_and_an_error_shows_no_token(
    wrong: dict[str, object],
) -> None:
    ClientConfig.model_validate({"wait_for_join": True})
    with pytest.raises(ValidationError, match="wait_for_join is") as caught:
        ClientConfig.model_validate(wrong)
    assert "hidden" not in str(caught.value)


def test_commands_and_events_are_told_apart_by_their_names() -> None:
    join = Join(url="wss://sfu", token=SecretStr("hidden"))
    for command in (join, Leave(), Simulate(kind=ActionKind.MIGRATE)):
        assert command_adapter.validate_json(command.model_dump_json()) == command
    joined = Joined(identity="i", room="r", at_ms=2, join_ms=1.5, signalling_ms=1, ice_ms=0.5)
    frame = FrameSample(received_ms=1, latency_ms=2, frame=3, width=4, height=5)
    measured = Measured(
        from_ms=0, to_ms=1, video=(VideoSecond(publisher="p", source="screen", frames=(frame,)),)
    )
    for event in (joined, measured, Failed(reason="why")):
        assert event_adapter.validate_json(event.model_dump_json()) == event
    with pytest.raises(ValidationError, match="event"):
        event_adapter.validate_json('{"event": "unheard of"}')


@pytest.mark.parametrize(
    "line",
    ['{"command": "simulate", "kind": "kill-node"}', '{"command": "join", "url": "x", "token": "hidden"}'],
)
def test_a_wrong_command_is_refused_without_showing_its_token(line: str) -> None:
    with pytest.raises(ValidationError) as caught:
        command_adapter.validate_json(line)
    assert "hidden" not in str(caught.value)
