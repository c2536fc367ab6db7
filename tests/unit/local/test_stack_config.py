"""The generated stack configuration: the checkout's own, with what only the cluster knows laid over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from local.paths import CHECKOUT
from local.stack import ClusterFacts, merge_config, overlay_file

_FACTS = ClusterFacts(
    Path("/state/kubeconfig"),
    context="a-context",
    nodes=(("node1", "10.213.0.11"), ("node2", "10.213.0.12")),
    images=(("token_api", "docker.io/livekit-platform/token-api:abc"),),
)
_SALT = "v1:c2FsdA==:v1:abc:def"


def _merged(checked_in: Any, previous: str | None = None, facts: ClusterFacts = _FACTS) -> dict[str, Any]:
    text = checked_in if isinstance(checked_in, str) else yaml.safe_dump(checked_in)
    return dict(yaml.safe_load(merge_config(text, previous, facts)))


def _key(name: str) -> str:
    return f"livekit-platform:{name}"


def test_facts_are_laid_over_the_checkouts_configuration() -> None:
    merged = _merged({"config": {_key("domain"): "lk.example.org"}})
    assert merged == {
        "config": {
            _key("domain"): "lk.example.org",
            _key("kubeconfig"): "/state/kubeconfig",
            _key("context"): "a-context",
            _key("nodes"): [
                {"name": "node1", "address": "10.213.0.11"},
                {"name": "node2", "address": "10.213.0.12"},
            ],
            _key("images"): {"token_api": "docker.io/livekit-platform/token-api:abc"},
        }
    }


def test_facts_win_over_what_the_checkout_says() -> None:
    given = {
        _key("kubeconfig"): "/another",
        _key("context"): "another",
        _key("nodes"): [{"name": "another", "address": "192.0.2.1"}],
    }
    config = _merged({"config": given})["config"]
    assert config[_key("kubeconfig")] == "/state/kubeconfig"
    assert config[_key("context")] == "a-context"
    # A list is one value: nodes of another cluster are none of this one's.
    assert [node["name"] for node in config[_key("nodes")]] == ["node1", "node2"]


def test_images_are_merged_one_by_one() -> None:
    given = {"redis": "docker.io/library/redis:8", "token_api": "docker.io/another:1"}
    config = _merged({"config": {_key("images"): given}})["config"]
    assert config[_key("images")] == {
        "redis": "docker.io/library/redis:8",
        "token_api": "docker.io/livekit-platform/token-api:abc",
    }


def test_what_the_cluster_does_not_know_is_left_to_the_checkout() -> None:
    given = {
        _key("context"): "mine",
        _key("nodes"): [{"name": "a", "address": "192.0.2.1"}],
        _key("images"): {"token_api": "registry.test/token-api:1"},
    }
    config = _merged({"config": given}, facts=ClusterFacts(Path("/mine")))["config"]
    assert config == {**given, _key("kubeconfig"): "/mine"}


def test_the_salt_lives_on_with_the_state() -> None:
    """Without it, no secret in the state could be read again."""
    first = merge_config("config: {}", f"encryptionsalt: {_SALT}\n", _FACTS)
    again = merge_config("config: {a: b}", first, _FACTS)
    assert [yaml.safe_load(text)["encryptionsalt"] for text in (first, again)] == [_SALT, _SALT]


_OWN: dict[str, dict[str, Any]] = {
    _key("secrets"): {"turn_secret": {"secure": "v1:a:b"}, "redis_password": {"secure": "v1:c:d"}},
    _key("certificates"): {"ca_certificate": "PEM\n", "ca_private_key": {"secure": "v1:e:f"}},
}


def test_of_an_earlier_file_only_the_salt_secrets_and_certificates_are_kept() -> None:
    """A key that was deleted in the checkout must not come back. The kept values have no other copy."""
    before = yaml.safe_dump({"config": {_key("domain"): "old", **_OWN}, "encryptionsalt": _SALT})
    first = merge_config("config: {}", before, _FACTS)
    config = _merged("config: {}", first)["config"]
    assert _key("domain") not in config
    assert {key: config[key] for key in _OWN} == _OWN


def test_no_other_layer_replaces_the_instance_s_own_secrets() -> None:
    before = yaml.safe_dump({"config": _OWN})
    other = {"turn_secret": {"secure": "v1:x:y"}, "api_service_key": {"secure": "v1:z:z"}}
    checked_in, overlay = {"config": {_key("secrets"): other}}, {_key("secrets"): {"redis_password": "tried"}}
    merged = yaml.safe_load(merge_config(yaml.safe_dump(checked_in), before, _FACTS, overlay))["config"]
    kept = _OWN[_key("secrets")]
    assert merged[_key("secrets")] == {**kept, "api_service_key": other["api_service_key"]}
    # A secret that was only tried out is dropped: the program refuses plain text.
    tried = yaml.safe_dump({"config": {_key("secrets"): {"turn_secret": "in plain text"}}})
    assert _merged("config: {}", tried)["config"][_key("secrets")] == {}


@pytest.mark.parametrize("previous", [None, "", "config: {}"])
def test_without_an_earlier_salt_there_is_none(previous: str | None) -> None:
    assert "encryptionsalt" not in _merged("config: {}", previous)


@pytest.mark.parametrize("checked_in", ["", "config:\n", "config: {}\n", "# only a comment\n"])
def test_a_checkout_without_configuration_is_enough(checked_in: str) -> None:
    assert _merged(checked_in)["config"][_key("kubeconfig")] == "/state/kubeconfig"


def test_the_checkouts_real_configuration_is_kept_whole() -> None:
    checked_in = (CHECKOUT / "Pulumi.local.yaml").read_text()
    expected = yaml.safe_load(checked_in)["config"]
    config = _merged(checked_in)["config"]
    assert {key: config[key] for key in expected} == expected


def test_an_overlay_lies_over_the_checkouts_configuration_and_under_the_facts() -> None:
    checked_in = {"config": {_key("turn"): {"kind": "coturn", "drain_seconds": 30}}}
    overlay = {_key("turn"): {"kind": "embedded"}, _key("kubeconfig"): "/another"}
    merged = yaml.safe_load(merge_config(yaml.safe_dump(checked_in), None, _FACTS, overlay))["config"]
    assert merged[_key("turn")] == {"kind": "embedded", "drain_seconds": 30}
    assert merged[_key("kubeconfig")] == "/state/kubeconfig"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        ("{", "allowed is a YAML file"),
        ("[]", "with `config:`"),
        ("config: 1", "with `config:`"),
    ],
)
def test_a_wrong_overlay_is_named(
    content: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "overlay.yaml"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("LKP_OVERLAY", str(file))
    with pytest.raises(ValueError, match="LKP_OVERLAY: given") as caught:
        overlay_file()
    assert said in str(caught.value)
