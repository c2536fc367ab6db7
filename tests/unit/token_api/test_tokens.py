from __future__ import annotations

import time

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.token_api.support import KEY, SECRET
from token_api.tokens import MAX_TTL_SECONDS, ApiCredentials, Participant, Role, mint

CREDENTIALS = ApiCredentials(KEY, SECRET)

GRANTS: dict[Role, dict[str, object]] = {
    Role.VIEWER: {
        "roomJoin": True,
        "canSubscribe": True,
        "canPublish": False,
        "canPublishData": False,
        "canUpdateOwnMetadata": False,
        "hidden": False,
    },
    Role.PUBLISHER: {
        "roomJoin": True,
        "canSubscribe": True,
        "canPublish": True,
        "canPublishData": True,
        "canPublishSources": ["camera", "microphone", "screen_share", "screen_share_audio"],
        "canUpdateOwnMetadata": False,
        "hidden": False,
    },
}

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
optional = st.text(st.characters(codec="utf-8"), max_size=40)


@given(
    role=st.sampled_from(Role),
    room=names,
    participant=st.builds(
        Participant,
        identity=names,
        name=optional,
        metadata=optional,
        attributes=st.dictionaries(names, optional, max_size=3),
    ),
    ttl=st.integers(1, MAX_TTL_SECONDS),
)
def test_a_token_says_exactly_what_was_asked_for(
    role: Role, room: str, participant: Participant, ttl: int
) -> None:
    before = int(time.time())
    token = mint(CREDENTIALS, participant, room=room, role=role, ttl_seconds=ttl)
    after = int(time.time())
    # A second's life may be over on a busy machine: the time it ends is compared below.
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], options={"verify_exp": False})
    assert before + ttl <= claims.pop("exp") <= after + ttl
    assert before <= claims.pop("nbf") <= after
    # Equality, so that a grant or claim that the SDK adds some day fails here.
    wanted = {
        "iss": KEY,
        "sub": participant.identity,
        "video": {"room": room, **GRANTS[role]},
        "name": participant.name,
        "metadata": participant.metadata,
        "attributes": participant.attributes,
    }
    assert claims == {claim: value for claim, value in wanted.items() if value}
    assert jwt.get_unverified_header(token)["alg"] == "HS256"


@pytest.mark.parametrize("ttl", [-1, 0, MAX_TTL_SECONDS + 1])
def test_a_lifetime_out_of_bounds_is_refused(ttl: int) -> None:
    with pytest.raises(ValueError, match="ttl_seconds"):
        mint(CREDENTIALS, Participant("joe"), room="test_a", role=Role.VIEWER, ttl_seconds=ttl)


def test_the_credentials_do_not_show_the_secret() -> None:
    assert SECRET not in repr(CREDENTIALS)
