import pytest
from pydantic import SecretStr, ValidationError

from loadtest.client.protocol import ClientConfig, Failed, Joined, Publish, event_adapter


def test_a_configuration_crosses_the_pipe_whole_and_is_shown_without_its_token() -> None:
    config = ClientConfig(url="ws://10.99.0.11:7880", token=SecretStr("hidden"), publish=Publish(fps=30))
    assert ClientConfig.model_validate_json(config.model_dump_json()) == config
    assert "hidden" not in repr(config)


@pytest.mark.parametrize(
    "wrong", [{"url": "http://10.99.0.11"}, {"transport": "tcp"}, {"publish": {"width": 641}}, {"fps": 1}]
)
def test_a_wrong_configuration_is_refused(wrong: dict[str, object]) -> None:
    good: dict[str, object] = {"url": "ws://10.99.0.11:7880", "token": "t"}
    ClientConfig.model_validate(good)
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        ClientConfig.model_validate({**good, **wrong})


def test_events_are_told_apart_by_their_name() -> None:
    joined = Joined(identity="i", room="r", join_ms=1.5)
    assert event_adapter.validate_json(joined.model_dump_json()) == joined
    assert event_adapter.validate_json('{"event": "failed", "reason": "why"}') == Failed(reason="why")
    with pytest.raises(ValidationError, match="event"):
        event_adapter.validate_json('{"event": "unheard of"}')
