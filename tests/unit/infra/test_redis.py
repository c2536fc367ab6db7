"""Redis of all three kinds: what it, its Sentinels and LiveKit are given, and what is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from livekit_platform.values import livekit, redis
from tests.unit.infra.conftest import ConfigMaker
from tests.unit.infra.program import CHART, Deployment, minimal_config, parse_completed, run

PASSWORD = "0123456789abcdefghijklmnopqrstuv"
# As an owner may give it: printable, and of no use to a parser.
AWKWARD = "a\"b\\c#d'e-0123456789-abcdefghijk"
EXTERNAL = {"address": "redis.example.com:6380", "username": "platform"}
SENTINELS = {"sentinel_master_name": "mymaster", "sentinel_addresses": ["a.example.com:26379"]}
OWN_SECRET = {"secrets": {"redis_password": PASSWORD}}


def _server(config: Any, password: str = PASSWORD) -> dict[str, Any]:
    """LiveKit's `redis`, with its secrets."""
    server = livekit.with_secrets(
        livekit.server_config(config), api_key="k", api_secret="s", redis_password=password, turn_secret="t"
    )
    found = server["redis"]
    assert isinstance(found, dict)
    return found


def _users(acl: str) -> dict[str, set[str]]:
    """The rules of an ACL file, by user."""
    return {line.split()[1]: set(line.split()[2:]) for line in acl.splitlines()}


def test_livekit_asks_the_sentinels_and_waits_as_long_as_it_is_told(make_config: ConfigMaker) -> None:
    config = make_config(
        namespace="calls",
        redis={"kind": "sentinel", "timeout_ms": 1500},
        ports={"redis_sentinel": 26380},
    )
    assert _server(config) == {
        "sentinel_master_name": "livekit",
        "sentinel_addresses": [f"redis-{ordinal}.redis-pods.calls.svc:26380" for ordinal in range(3)],
        "sentinel_username": "livekit",
        "sentinel_password": PASSWORD,
        "username": "livekit",
        "password": PASSWORD,
        "dial_timeout": 1500,
        "read_timeout": 1500,
        "write_timeout": 1500,
    }


def test_an_external_server_is_reached_by_its_address(make_config: ConfigMaker) -> None:
    config = make_config(redis={"kind": "external", "external": EXTERNAL}, **OWN_SECRET)
    assert _server(config) == {
        "address": "redis.example.com:6380",
        "username": "platform",
        "password": PASSWORD,
        "db": 0,
        "tls": {"enabled": True},
    }


@pytest.mark.parametrize("auth", [False, True])
def test_external_sentinels_are_asked_with_a_password_only_where_they_want_one(
    make_config: ConfigMaker, auth: bool
) -> None:
    external = {**SENTINELS, "username": "platform", "db": 3, "tls": False, "sentinel_auth": auth}
    server = _server(make_config(redis={"kind": "external", "external": external}, **OWN_SECRET))
    own = {"sentinel_username": "platform", "sentinel_password": PASSWORD} if auth else {}
    assert server == {
        "sentinel_master_name": "mymaster",
        "sentinel_addresses": ["a.example.com:26379"],
        "dial_timeout": 2000,
        "read_timeout": 2000,
        "write_timeout": 2000,
        "username": "platform",
        "password": PASSWORD,
        "db": 3,
        **own,
    }


def test_one_server_needs_no_more_than_its_users(make_config: ConfigMaker) -> None:
    assert set(redis.secret_files(make_config(), PASSWORD, AWKWARD)) == {"users.acl"}


def test_three_log_on_to_each_other_by_what_their_acl_files_know(make_config: ConfigMaker) -> None:
    files = redis.secret_files(make_config(redis={"kind": "sentinel"}), PASSWORD, AWKWARD)
    masteruser, masterauth = (line.split()[-1] for line in files["replication.conf"].splitlines())
    auth = dict(line.rsplit(" ", 1) for line in files["sentinel-auth.conf"].splitlines())
    servers, sentinels = _users(files["users.acl"]), _users(files["sentinel.acl"])

    def knows(users: dict[str, set[str]], user: str, password: str) -> bool:
        return f"#{hashlib.sha256(password.encode()).hexdigest()}" in users[user]

    assert knows(servers, masteruser, masterauth)
    assert knows(servers, auth["sentinel auth-user livekit"], auth["sentinel auth-pass livekit"])
    assert knows(sentinels, auth["sentinel sentinel-user"], auth["sentinel sentinel-pass"])
    assert knows(servers, "livekit", PASSWORD)
    assert knows(sentinels, "livekit", PASSWORD)


def test_no_file_of_redis_has_what_its_parser_might_misread_or_a_given_password(
    make_config: ConfigMaker,
) -> None:
    files = redis.secret_files(make_config(redis={"kind": "sentinel"}), AWKWARD, AWKWARD[::-1])
    for name, text in files.items():
        assert not set(text) & set("\"'\\"), name
        assert AWKWARD not in text, name
        assert AWKWARD[::-1] not in text, name


def test_only_probes_need_no_password_and_they_may_hardly_anything(make_config: ConfigMaker) -> None:
    files = redis.secret_files(make_config(redis={"kind": "sentinel"}), PASSWORD, AWKWARD)
    for acl, allowed in (
        ("users.acl", {"+ping", "+role"}),
        ("sentinel.acl", {"+ping", "+sentinel|get-master-addr-by-name"}),
    ):
        users = _users(files[acl])
        assert [user for user, rules in users.items() if "nopass" in rules] == ["probe"]
        assert {rule for rule in users["probe"] if rule.startswith("+")} == allowed
        assert users["default"] >= {"off", "-@all"}
        for user, rules in users.items():
            # Everything is taken away before something is given.
            assert "-@all" in rules, user


def test_the_chart_gets_three_and_the_times(make_config: ConfigMaker) -> None:
    assert redis.chart_values(make_config())["sentinel"]["enabled"] is False
    three = redis.chart_values(make_config(redis={"kind": "sentinel", "failover_ms": 8000}))["sentinel"]
    assert (three["enabled"], three["downAfterMs"], three["failoverTimeoutMs"]) == (True, 8000, 8000)
    short = redis.chart_values(make_config(redis={"kind": "sentinel", "failover_ms": 1000}))["sentinel"]
    assert short["failoverTimeoutMs"] == 5000


def test_a_second_attempt_to_fail_over_comes_before_clients_give_up(make_config: ConfigMaker) -> None:
    failover_ms = make_config(redis={"kind": "sentinel"}).redis.failover_ms
    assert redis.failover_seconds(failover_ms, attempts=2) <= 30


@pytest.mark.parametrize("failover_ms", [1000, 5000, 20000, 60000])
def test_an_empty_master_waits_longer_than_two_attempts_to_replace_it(
    make_config: ConfigMaker, failover_ms: int
) -> None:
    """With a shorter wait it would start as master, and its replicas would copy its empty data."""
    config = make_config(redis={"kind": "sentinel", "failover_ms": failover_ms})
    grace = redis.chart_values(config)["sentinel"]["restartGraceSeconds"]
    assert grace >= max(60, redis.failover_seconds(failover_ms, attempts=2))
    # The startup probe of charts/redis gives up after 300 s.
    assert grace < 300


def test_the_three_restart_with_a_new_password_of_their_own(make_config: ConfigMaker) -> None:
    def checksum(kind: str, **secrets: str) -> str:
        found = redis.chart_values(make_config(redis={"kind": kind}, secrets=secrets))["aclChecksum"]
        assert isinstance(found, str)
        return found

    own = {"redis_replication_password": PASSWORD}
    assert checksum("sentinel") != checksum("sentinel", **own)
    assert checksum("single") == checksum("single", **own)


REFUSED: list[tuple[dict[str, Any], str, str, str]] = [
    ({"kind": "external"}, "redis.external", "nothing", "an object"),
    ({"kind": "sentinel", "external": EXTERNAL}, "redis.external", "a value", "nothing"),
    ({"kind": "external", "external": {}}, "redis.external", "no address", "either `address`"),
    (
        {"kind": "external", "external": {**EXTERNAL, **SENTINELS}},
        "redis.external",
        "`address`, `sentinel_master_name`, `sentinel_addresses`",
        "either `address`",
    ),
    (
        {"kind": "external", "external": {"sentinel_master_name": "mymaster"}},
        "redis.external",
        "`sentinel_master_name`",
        "with `sentinel_addresses`",
    ),
    (
        {"kind": "external", "external": {**EXTERNAL, "sentinel_master_name": "mymaster"}},
        "redis.external",
        "`address`, `sentinel_master_name`",
        "either `address`",
    ),
    (
        {"kind": "external", "external": {**EXTERNAL, "sentinel_auth": True}},
        "redis.external.sentinel_auth",
        "true",
        "unless Sentinels are given",
    ),
    (
        {"kind": "external", "external": {"address": "redis.example.com"}},
        "redis.external.address",
        '"redis.example.com"',
        'a "host:port"',
    ),
    (
        {"kind": "external", "external": {"address": "redis.example.com:70000"}},
        "redis.external.address",
        '"redis.example.com:70000"',
        'a "host:port"',
    ),
    ({"failover_ms": 100}, "redis.failover_ms", "100", "from 1000 to 60000"),
    ({"timeout_ms": 100}, "redis.timeout_ms", "100", "from 200 to 30000"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case[1]}={case[2]}")
def test_what_makes_no_sense_is_refused(kubeconfig: Path, case: tuple[dict[str, Any], str, str, str]) -> None:
    section, key, given, allowed = case
    values = {**minimal_config(kubeconfig), "redis": section, **OWN_SECRET}
    config, [mistake] = parse_completed(values)
    assert config is None
    assert mistake.key == key
    assert mistake.given.startswith(given)
    assert allowed in mistake.allowed


def test_an_external_redis_needs_its_password(kubeconfig: Path) -> None:
    values = {**minimal_config(kubeconfig), "redis": {"kind": "external", "external": EXTERNAL}}
    [mistake] = parse_completed(values)[1]
    assert (mistake.key, mistake.given) == ("secrets.redis_password", "nothing")
    assert "pulumi config set --secret --path" in mistake.allowed


def _charts(deployment: Deployment) -> set[str]:
    return {chart.name for chart in deployment.of_type(CHART)}


def test_an_external_redis_puts_nothing_into_the_cluster(kubeconfig: Path) -> None:
    own = {**minimal_config(kubeconfig), "redis": {"kind": "sentinel"}}
    external = {
        **minimal_config(kubeconfig),
        "redis": {"kind": "external", "external": EXTERNAL},
        **OWN_SECRET,
    }
    with_own, without = run(own), run(external)
    assert _charts(with_own) - _charts(without) == {"redis"}
    assert not [entry.name for entry in without.resources.values() if entry.name.startswith("redis")]


def test_what_livekit_reads_is_plain_data(make_config: ConfigMaker) -> None:
    server = _server(make_config(redis={"kind": "sentinel"}))
    assert yaml.safe_load(yaml.safe_dump(server)) == json.loads(json.dumps(server)) == server
