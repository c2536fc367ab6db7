"""How often one identity joins, and how many TURN connections one address has: both cost allocations."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest

from common.waiting import wait_until
from tests.edge_client import token
from tests.manifests.edge.conftest import DOMAIN, Start
from tests.manifests.edge.haproxy import Edge
from tests.websocket import ask_to_upgrade

_SFU = f"sfu.{DOMAIN}"


def _join(edge: Edge, target: str, *headers: str, host: str = _SFU, source: str = "127.0.0.1") -> int:
    """The status of the answer to one who wants to join."""
    with edge.connect(name=host, source=source) as connection:
        return int(ask_to_upgrade(connection, host, target, *headers).split()[1])


@pytest.fixture(scope="module")
def limited(start: Start) -> Edge:
    return start(ready=("sfu", "turn_servers"), joins=3, turn_connections=2)


def _by_query(edge: Edge, identity: str) -> int:
    return _join(edge, f"/rtc?access_token={token(identity)}")


def _by_header(edge: Edge, identity: str) -> int:
    # LiveKit does not look at the query then.
    other = token("another")
    return _join(edge, f"/rtc/v1?access_token={other}", f"Authorization: Bearer {token(identity)}")


def _escaped(edge: Edge, identity: str) -> int:
    return _join(edge, f"/rtc?access_token={token(identity).replace('.', '%2E')}")


def _by_path(edge: Edge, identity: str) -> int:
    return _join(edge, f"/rtc?access_token={token(identity)}", host=DOMAIN)


@pytest.mark.parametrize("join", [_by_query, _by_header, _escaped, _by_path])
def test_an_identity_joins_so_often_and_no_more(limited: Edge, join: Callable[[Edge, str], int]) -> None:
    identity = f"u:{join.__name__}"
    # Each with another token, as token-api gives.
    assert [join(limited, identity) for _ in range(5)] == [101] * 3 + [429] * 2
    # Others do, from the same address.
    assert join(limited, f"{identity}:other") == 101
    # The same by another way.
    assert _by_query(limited, identity) == 429


def test_who_is_refused_hears_when_to_come_back_and_may_do_all_else(limited: Edge) -> None:
    given = token("u:patient")
    for _ in range(3):
        _join(limited, f"/rtc?access_token={given}")
    refused = limited.ask(_SFU, f"/rtc?access_token={given}")
    assert (refused.status, refused.headers["retry-after"]) == (429, "60")
    # By it the SDK tells a refusal for good from one for now.
    assert limited.ask(_SFU, f"/rtc/validate?access_token={given}").status == 200
    bearer = {"Authorization": f"Bearer {given}"}
    assert (
        limited.ask(_SFU, "/twirp/livekit.RoomService/ListRooms", method="POST", headers=bearer).status == 200
    )


def test_what_livekit_refuses_costs_the_identity_nothing(limited: Edge) -> None:
    """Anybody can put another's identity into a token that LiveKit then refuses."""
    forged = token("u:victim")
    for _ in range(5):
        # The service behind answers 200 to what is no WebSocket: not admitted.
        assert limited.ask(_SFU, f"/rtc?access_token={forged}").status == 200
    assert _by_query(limited, "u:victim") == 101


@pytest.mark.parametrize(
    "query",
    [
        "%61ccess_token={other}&access_token={token}",
        "x=1;access_token={token}&access_token={other}",
        "access_token={token}&access_token={other}",
    ],
)
def test_livekit_takes_the_token_that_the_edge_counts_for(limited: Edge, query: str) -> None:
    """Go and HAProxy do not read every query alike, but both read this header in one way."""
    counted = token("u:counted")
    seen = limited.ask(_SFU, f"/rtc?{query.format(token=counted, other=token('u:real'))}").seen
    assert seen["headers"]["authorization"] == f"Bearer {counted}"


def test_the_rest_of_a_query_is_not_changed(limited: Edge) -> None:
    given = token("u:rest")
    seen = limited.ask(_SFU, f"/rtc?protocol=9&access_token={given}&join_request=a%2Fb%3D").seen
    assert seen["path"] == "/rtc?protocol=9&&join_request=a%2Fb%3D"
    assert seen["headers"]["authorization"] == f"Bearer {given}"


def test_livekit_s_agents_connect_without_an_identity(limited: Edge) -> None:
    for _ in range(5):
        assert _join(limited, "/agent", "Authorization: Bearer x.e30.x") == 101
    assert _join(limited, "/%61gent", "Authorization: Bearer x.e30.x") == 404


@pytest.mark.parametrize("query", ["publish=1", "x&%70ubl%69sh=1", "protocol=9&publish=%23"])
def test_no_client_joins_with_an_identity_that_differs_from_its_token(limited: Edge, query: str) -> None:
    """LiveKit appends `publish` to the identity of who may publish: each value would be another identity."""
    given = token("u:many")
    assert _join(limited, f"/rtc?access_token={given}&{query}") == 403
    assert _join(limited, f"/rtc?{query}", f"Authorization: Bearer {given}") == 403
    assert _join(limited, f"/rtc?unpublish=1&access_token={given}") == 101


@pytest.mark.parametrize("target", ["/rtc", "/rtc?access_token=x", "/rtc?access%5Ftoken={token}"])
def test_nobody_is_admitted_whose_identity_the_edge_does_not_find(limited: Edge, target: str) -> None:
    assert _join(limited, target.format(token=token("u:hidden"))) == 502


def test_an_address_has_so_many_turn_connections_and_no_more(limited: Edge) -> None:
    name = f"turn.{DOMAIN}"
    held = [limited.connect(name=name) for _ in range(2)]
    with pytest.raises((ConnectionError, ssl.SSLError)):
        limited.connect(name=name)
    # It goes on with all else, and others with TURN.
    limited.connect(name=_SFU).close()
    limited.connect(name=name, source="127.0.0.2").close()
    held.pop().close()

    def connects() -> bool:
        try:
            held.append(limited.connect(name=name))
        except (ConnectionError, ssl.SSLError):
            return False
        return True

    wait_until(connects, timeout=10, describe="a place to be free again")
    for connection in held:
        connection.close()
