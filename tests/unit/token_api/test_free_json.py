"""Stored JSON of the host application: whatever is accepted can be rendered in every later answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from tests.unit.token_api.api import Api, problem
from token_api.database.tables import Stream
from token_api.free_json import MAX_BYTES, MAX_DEPTH, depth, from_stored, to_stored
from token_api.page_safe import to_json

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters())
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=30
)


def nested(levels: int) -> dict[str, Any]:
    """An object of this depth."""
    inner: Any = []
    for _ in range(levels - 2):
        inner = [inner]
    return {"a": inner}


@given(st.dictionaries(st.text(), _VALUES))
def test_what_is_accepted_can_be_rendered(value: dict[str, Any]) -> None:
    try:
        stored = to_stored(value)
    except ValueError:
        return
    assert from_stored(stored) == value
    assert json.loads(to_json(from_stored(stored)).encode()) == value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (nested(MAX_DEPTH + 1), f"{MAX_DEPTH + 1} levels.*at most {MAX_DEPTH}"),
        ({"a": "b" * MAX_BYTES}, f"at most {MAX_BYTES}"),
        ({"a": float("nan")}, "NaN"),
        ({"a": float("-inf")}, "infinity"),
        ({"\ud800": 1}, "surrogates"),
    ],
    ids=["deep", "long", "nan", "infinite", "surrogate"],
)
def test_what_cannot_be_rendered_everywhere_is_refused(value: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        to_stored(value)


def test_depth_counts_objects_and_arrays() -> None:
    assert [depth(value) for value in (1, {}, {"a": 1}, {"a": [], "b": {"c": []}})] == [0, 1, 1, 3]
    assert depth(nested(MAX_DEPTH)) == MAX_DEPTH
    assert from_stored(to_stored(nested(MAX_DEPTH))) == nested(MAX_DEPTH)


async def test_deep_metadata_is_refused_and_nothing_is_changed(api: Api) -> None:
    stream_id = await api.stream(metadata={"good": 1})
    body = {"metadata": nested(300)}
    for method, path, fields in (
        ("PATCH", f"/v1/streams/{stream_id}", {}),
        ("POST", "/v1/streams", {"title": "T", "owner_id": "creator", "space_id": "space"}),
    ):
        response = await api.client.request(method, path, headers=api.service(), json={**fields, **body})
        assert problem(response) == (422, "validation")
        [error] = response.json()["errors"]
        assert error["pointer"] == "#/metadata"
        assert "300 levels" in error["detail"]
    assert (await api.call("GET", f"/streams/{stream_id}"))["metadata"] == {"good": 1}


async def test_a_stream_with_metadata_that_an_earlier_release_stored_can_be_read_and_repaired(
    api: Api,
) -> None:
    stream_id = await api.stream()
    await api.grant("viewer", "stream", stream_id)
    async with api.services.database.begin() as transaction:
        await transaction.execute(
            update(Stream).where(Stream.id == stream_id).values(details=json.dumps(nested(300)))
        )
    assert (await api.call("GET", f"/streams/{stream_id}"))["metadata"] == {}
    assert [item["id"] for item in (await api.call("GET", "/streams"))["items"]] == [stream_id]
    await api.call("GET", f"/streams/{stream_id}/stream-info", api.service("viewer"))
    await api.call("POST", f"/streams/{stream_id}/go-live")
    changed = await api.call("PATCH", f"/streams/{stream_id}", json={"metadata": {"new": 1}})
    assert changed["metadata"] == {"new": 1}


@pytest.mark.parametrize("levels", [300, 990, 30_000])
@pytest.mark.parametrize("field", ["metadata", "unknown"])
async def test_no_depth_of_a_body_makes_the_service_fail(api: Api, field: str, levels: int) -> None:
    stream_id = await api.stream()
    # Written by hand: json.dumps has a limit of its own.
    body = f'{{"{field}": {"[" * levels}{"]" * levels}}}'
    headers = {**api.service(), "Content-Type": "application/json"}
    response = await api.client.patch(f"/v1/streams/{stream_id}", headers=headers, content=body)
    assert response.status_code in {400, 413, 422}, response.text
