"""Chat tokens: our own as a credential, and GetStream's as its SDKs make them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.token_api.api import START, Api, problem
from tests.unit.token_api.getstream_stand_in import SECRET as GETSTREAM_SECRET
from tests.unit.token_api.support import OTHER_SECRET, SECRET, SERVICE_KEY
from token_api.chat.builtin import ChatIdentity, NoChatToken, key_from, read_token, user_token
from token_api.domain.roles import StreamRole

KEY = key_from(SERVICE_KEY)
HOLDER = ChatIdentity("stream-1", "anna", "Anna", StreamRole.VIEWER)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def token_for(api: Api, stream_id: str, headers: dict[str, str]) -> Any:
    return await api.call("POST", f"/streams/{stream_id}/chat-token", headers, 201)


async def test_a_chat_token_writes_and_reads_as_its_user(api: Api) -> None:
    stream_id = await api.live_stream()
    await api.grant("anna", "stream", stream_id)
    made = await token_for(api, stream_id, api.user("anna", name="Anna\u202e"))
    assert (made["provider"], made["user_id"], made["role"]) == ("builtin", "anna", "viewer")
    assert made["exp"] == api.clock.now().timestamp() + 600
    path = made["messages_path"].removeprefix("/v1")
    written = await api.call("POST", path, bearer(made["token"]), 201, json={"text": "a"})
    assert (written["user_id"], written["name"]) == ("anna", "Anna")
    assert len((await api.call("GET", path, bearer(made["token"])))["items"]) == 1
    await api.call("DELETE", f"{path}/{written['id']}", bearer(made["token"]), 204)
    named = await api.call(
        "POST", f"/streams/{stream_id}/chat-token", api.service("anna"), 201, json={"name": "Anna A."}
    )
    written = await api.call("POST", path, bearer(named["token"]), 201, json={"text": "a"})
    assert written["name"] == "Anna A."


async def test_it_is_a_credential_for_its_streams_chat_and_nothing_else(api: Api) -> None:
    stream_id, other_id = await api.live_stream(), await api.live_stream()
    for scope in (stream_id, other_id):
        await api.grant("anna", "stream", scope)
    token = (await token_for(api, stream_id, api.user("anna")))["token"]
    elsewhere = await api.client.get(f"/v1/streams/{other_id}/chat/messages", headers=bearer(token))
    assert problem(elsewhere) == (404, "not-found")
    for method, path in (
        ("GET", f"/v1/streams/{stream_id}"),
        ("POST", f"/v1/streams/{stream_id}/video-token"),
        ("POST", f"/v1/streams/{stream_id}/chat-token"),
        ("GET", "/v1/streams"),
    ):
        answer = await api.client.request(method, path, headers=bearer(token))
        assert problem(answer) == (401, "unauthenticated"), path
    for_another = {**bearer(token), "X-On-Behalf-Of": "creator"}
    path = f"/v1/streams/{stream_id}/chat/messages"
    assert problem(await api.client.get(path, headers=for_another)) == (401, "unauthenticated")
    refused = await api.client.patch(
        f"/v1/streams/{stream_id}/chat/settings", json={"enabled": False}, headers=bearer(token)
    )
    assert problem(refused) == (403, "role-forbidden")
    # What the token says of its holder's role, and that it is not over, are not the last word.
    forged = user_token(
        KEY,
        ChatIdentity(stream_id, "nobody", "", StreamRole.CREATOR),
        now=api.clock.now(),
        expires_at=datetime.fromtimestamp(api.clock.now().timestamp() + 60, api.clock.now().tzinfo),
    )
    assert problem(await api.client.get(path, headers=bearer(forged))) == (404, "not-found")


async def test_it_ends_with_its_time_and_with_the_access_that_it_was_given_for(api: Api) -> None:
    stream_id = await api.live_stream()
    path = f"/v1/streams/{stream_id}/chat/messages"
    soon = datetime.fromtimestamp(api.clock.now().timestamp() + 60, api.clock.now().tzinfo).isoformat()
    await api.grant("short", "stream", stream_id, expires_at=soon)
    grant = await api.grant("anna", "stream", stream_id)
    short = await token_for(api, stream_id, api.user("short"))
    assert short["exp"] == api.clock.now().timestamp() + 60
    token = (await token_for(api, stream_id, api.user("anna")))["token"]
    await api.call("POST", f"/access-grants/{grant}/cancel")
    assert problem(await api.client.get(path, headers=bearer(token))) == (403, "grant-cancelled")
    token = (await token_for(api, stream_id, api.user("creator")))["token"]
    api.clock.advance(seconds=599)
    await api.call("GET", path.removeprefix("/v1"), bearer(token))
    api.clock.advance(seconds=1)
    assert problem(await api.client.get(path, headers=bearer(token))) == (401, "unauthenticated")
    refused = await api.client.post(f"/v1/streams/{stream_id}/chat-token", headers=api.user("short"))
    assert problem(refused) == (403, "grant-expired")
    unnamed = await api.client.post(f"/v1/streams/{stream_id}/chat-token", headers=api.service())
    assert problem(unnamed) == (400, "bad-request")


def claims(**changes: Any) -> dict[str, Any]:
    made = {
        **{"iss": "token-api", "aud": "token-api/chat", "sub": "anna", "stream_id": "stream-1"},
        **{"name": "Anna", "role": "viewer", "exp": int(START.timestamp()) + 60, **changes},
    }
    return {name: value for name, value in made.items() if value is not None}


def test_the_key_is_not_the_secret_that_it_is_made_from() -> None:
    assert read_token([KEY], jwt.encode(claims(), KEY), START) == HOLDER
    assert SERVICE_KEY.encode() not in KEY
    for secret in (SERVICE_KEY.encode(), SECRET.encode(), key_from(OTHER_SECRET)):
        with pytest.raises(NoChatToken):
            read_token([KEY], jwt.encode(claims(), secret), START)


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "other"},
        {"aud": "token-api"},
        {"exp": int(START.timestamp())},
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"stream_id": None},
        {"role": "god"},
        {"sub": None},
    ],
)
def test_a_token_with_a_wrong_claim_is_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(NoChatToken):
        read_token([KEY], jwt.encode(claims(**wrong), KEY), START)


@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
def test_no_other_algorithm_is_taken() -> None:
    for token in (jwt.encode(claims(), "", algorithm="none"), jwt.encode(claims(), KEY, "HS512")):
        with pytest.raises(NoChatToken):
            read_token([KEY], token, START)


@given(st.one_of(st.text(), st.from_regex(r"[\w-]+\.[\w-]+\.[\w-]*")))
def test_whatever_is_no_token_is_told_as_that(text: str) -> None:
    with pytest.raises(NoChatToken):
        read_token([KEY], text, START)


async def test_getstreams_token_is_as_its_sdk_makes_it(getstream_api: Api) -> None:
    api = getstream_api
    stream_id = await api.live_stream()
    await api.grant("anna", "stream", stream_id)
    made = await token_for(api, stream_id, api.user("anna"))
    told = jwt.decode(made["token"], GETSTREAM_SECRET, algorithms=["HS256"], options={"verify_exp": False})
    now = int(api.clock.now().timestamp())
    assert set(told) == {"user_id", "iat", "exp"}
    assert told["user_id"] == "anna"
    assert now - 60 < told["iat"] <= now
    assert told["exp"] == made["exp"] == now + 600
    assert (made["provider"], made["api_key"]) == ("getstream", "getstream-key")
    assert (made["channel_type"], made["channel_id"]) == ("livestream", f"livestream:{stream_id}")
    assert made["messages_path"] is None
    assert GETSTREAM_SECRET not in str(made)
    refused = await api.client.post(f"/v1/streams/{stream_id}/chat-token", headers=api.user("ben"))
    assert problem(refused) == (404, "not-found")
    await api.grant("a.b", "stream", stream_id)
    unfit = await api.client.post(f"/v1/streams/{stream_id}/chat-token", headers=api.user("a.b"))
    assert problem(unfit) == (409, "conflict")
    here = await api.client.get(f"/v1/streams/{stream_id}/chat/messages", headers=api.user("anna"))
    assert problem(here) == (409, "chat-closed")
