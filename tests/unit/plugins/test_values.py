"""Secrets and unknowns through the provider's conversions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pulumi import FileAsset
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime.rpc import UNKNOWN

from local.plugins.kubernetes import values

SECRET = PropertyValue("hush", is_secret=True)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["spec", "data", "x-kubernetes-int-or-string", "a/b"]), json_values))
def test_an_object_comes_back_from_the_wire_as_it_went(obj: values.Json) -> None:
    sent = values.serialize(values.marked_object(obj, {}))
    assert values.plain(values.parse(sent)) == obj


def test_numbers_without_a_fraction_are_integers() -> None:
    assert repr(values.plain({"port": PropertyValue(80.0), "share": PropertyValue(0.5)})) == (
        "{'port': 80, 'share': 0.5}"
    )


def test_secrecy_is_carried_field_by_field_and_taints_lists_as_a_whole() -> None:
    like = {
        "data": PropertyValue({"a": SECRET, "b": PropertyValue("open")}),
        "list": PropertyValue([PropertyValue("open"), SECRET]),
    }
    out = values.marked_object({"data": {"a": "new", "b": "new"}, "list": ["moved"], "more": {}}, like)
    data: Any = out["data"].value
    assert data["a"].is_secret
    assert not data["b"].is_secret
    assert not out["data"].is_secret
    assert out["list"].is_secret
    assert not out["more"].contains_secret()


def test_what_a_secret_object_holds_is_secret_whatever_the_inputs_said() -> None:
    obj = {"kind": "Secret", "data": {"a": "Yg=="}, "stringData": {"c": "d"}, "type": "Opaque"}
    out = values.marked_object(obj, {})
    assert out["data"].is_secret
    assert out["stringData"].is_secret
    assert not out["type"].is_secret


def test_unknowns_are_found_at_any_depth() -> None:
    assert values.has_unknown({"a": [{"b": UNKNOWN}]})
    assert not values.has_unknown({"a": [{"b": "known"}]})


def test_messages_lose_every_secret_but_no_short_word() -> None:
    properties = {
        "a": PropertyValue({"b": SECRET}),
        "c": PropertyValue([PropertyValue("on", is_secret=True)]),
    }
    assert values.redacted('is "hush", on purpose', values.secret_texts(properties)) == (
        'is "[secret]", on purpose'
    )


def test_an_asset_is_refused() -> None:
    with pytest.raises(TypeError, match="FileAsset"):
        values.plain({"a": PropertyValue(FileAsset("x"))})
