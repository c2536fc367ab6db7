"""How often one may call: the buckets, whose address a request comes from, and what callers are told."""

from __future__ import annotations

from ipaddress import ip_network

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.token_api.api import Api, problem
from tests.unit.token_api.support import AUTHORIZED
from token_api.client_address import client_of
from token_api.rate_limits import ADDRESS_QUOTAS, USER_QUOTAS, Buckets, Class, Quota, class_of


class Watch:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_a_burst_passes_the_next_waits_and_one_comes_back_at_a_time() -> None:
    watch, quota = Watch(), Quota(3, 60)
    buckets = Buckets(watch)
    assert [buckets.take(Class.READS, "a", quota).remaining for _ in range(3)] == [2, 1, 0]
    refused = buckets.take(Class.READS, "a", quota)
    assert not refused.allowed
    assert refused.wait == pytest.approx(20)
    assert buckets.take(Class.READS, "b", quota).allowed
    assert buckets.take(Class.WRITES, "a", quota).allowed
    watch.seconds += refused.wait
    assert buckets.take(Class.READS, "a", quota).allowed
    assert not buckets.take(Class.READS, "a", quota).allowed


@given(st.lists(st.floats(0, 100), max_size=80), st.integers(1, 10), st.floats(1, 100))
def test_never_more_than_the_burst_and_what_came_back_since(
    pauses: list[float], burst: int, per: float
) -> None:
    watch = Watch()
    buckets, quota = Buckets(watch), Quota(burst, per)
    passed = []
    for pause in pauses:
        watch.seconds += pause
        if buckets.take(Class.READS, "a", quota).allowed:
            passed.append(watch.seconds)
    for first, begin in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= burst + (passed[last] - begin) * burst / per + 1e-3


def test_memory_is_bounded_and_what_is_forgotten_first_is_empty() -> None:
    watch = Watch()
    buckets, quota = Buckets(watch, limit=3), Quota(1, 60)
    for who in "ab":
        buckets.take(Class.READS, who, quota)
    watch.seconds += 61
    buckets.take(Class.READS, "c", quota)
    buckets.take(Class.READS, "d", quota)
    assert len(buckets) == 2
    assert not buckets.take(Class.READS, "c", quota).allowed
    for number in range(20):
        buckets.take(Class.READS, str(number), quota)
        assert len(buckets) <= 3


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("POST", "/v1/token", Class.TOKENS),
        ("POST", "/v1/streams/{stream_id}/video-token", Class.TOKENS),
        ("POST", "/v1/streams/{stream_id}/chat/messages", Class.CHAT),
        ("POST", "/v1/streams/{stream_id}/stage/requests", Class.CHAT),
        ("POST", "/v1/streams/{stream_id}/telemetry", Class.TELEMETRY),
        ("POST", "/v1/streams/{stream_id}/go-live", Class.WRITES),
        ("DELETE", "/v1/streams/{stream_id}", Class.WRITES),
        ("GET", "/v1/streams/{stream_id}/chat/messages", Class.READS),
    ],
)
def test_the_class_of_a_route(method: str, path: str, kind: Class) -> None:
    assert class_of(method, path) is kind


PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        # From one whom nobody trusts: made up.
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        # The client's own header before the edge's.
        ("10.0.0.1", ["1.2.3.4, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.2.3.4", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("fd00::1", ["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", [], "2001:db8:1:2::/64"),
        ("testclient", [], "unknown"),
        (None, [], "unknown"),
    ],
)
def test_the_clients_address(peer: str | None, forwarded: list[str], client: str) -> None:
    assert client_of(peer, forwarded, PROXIES) == client


@given(st.text(), st.lists(st.text(), max_size=3))
def test_no_header_breaks_the_search_for_the_address(peer: str, forwarded: list[str]) -> None:
    assert client_of(peer, forwarded, PROXIES)
    assert client_of("10.0.0.1", forwarded, PROXIES)


sqlite_is_enough = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


@sqlite_is_enough
async def test_a_user_who_calls_too_often_is_told_when_to_come_back(api: Api) -> None:
    stream_id = await api.live_stream()
    path, headers = f"/v1/streams/{stream_id}/video-token", api.user("creator")
    quota = USER_QUOTAS[Class.TOKENS]
    for left in reversed(range(quota.burst)):
        answer = await api.client.post(path, headers=headers)
        assert answer.status_code == 201
        assert answer.headers["ratelimit-policy"] == f'"tokens";q={quota.burst};w=60'
        # The test itself takes time, in which some come back.
        assert int(answer.headers["ratelimit"].split(";r=")[1].split(";")[0]) >= left
    answers = [await api.client.post(path, headers=headers) for _ in range(quota.burst)]
    refused = [answer for answer in answers if answer.status_code != 201]
    assert len(refused) > quota.burst / 2
    assert problem(refused[0]) == (429, "rate-limited")
    assert 1 <= int(refused[0].headers["retry-after"]) <= 3
    # Other requests of theirs, other users, and the host application go on.
    read = await api.client.get(f"/v1/streams/{stream_id}", headers=headers)
    assert read.headers["ratelimit-policy"].startswith('"reads"')
    await api.call("PUT", "/spaces/space/team/other", json={}, status=201)
    assert (await api.client.post(path, headers=api.user("other"))).status_code == 201
    answer = await api.client.post(path, headers=api.service("creator"))
    assert answer.status_code == 201
    assert "ratelimit" not in answer.headers


@sqlite_is_enough
async def test_a_refusal_of_what_is_asked_counts_too_and_tells_what_is_left(api: Api) -> None:
    answer = await api.client.get("/v1/streams/nothing", headers=api.user("u"))
    assert problem(answer) == (404, "not-found")
    assert answer.headers["ratelimit"]


@sqlite_is_enough
async def test_users_of_one_address_share_what_it_may(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ADDRESS_QUOTAS, Class.READS, Quota(3, 60))
    statuses = [
        (await api.client.get("/v1/streams", headers=api.user(f"u{number}"))).status_code
        for number in range(5)
    ]
    assert statuses == [200, 200, 200, 429, 429]
    assert (await api.client.get("/v1/streams", headers=AUTHORIZED)).status_code == 200


async def test_guessing_credentials_is_slowed_down(client: httpx.AsyncClient) -> None:
    quota = USER_QUOTAS[Class.REFUSED]
    guess = {"Authorization": "Bearer guess"}
    statuses = {(await client.get("/v1/streams", headers=guess)).status_code for _ in range(quota.burst)}
    assert statuses == {401}
    answers = [await client.get("/v1/streams", headers=guess) for _ in range(quota.burst)]
    assert problem(answers[-1]) in {(429, "rate-limited"), (401, "unauthenticated")}
    assert sum(answer.status_code == 429 for answer in answers) > quota.burst / 2
