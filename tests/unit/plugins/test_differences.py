"""Property paths, differences between objects, and which of them need a new object."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.plugins.kubernetes import paths
from local.plugins.kubernetes.differences import Change, Difference, differences, without
from local.plugins.kubernetes.immutable import Mutability, must_replace, refused_as_immutable


@given(st.lists(st.text(min_size=1).filter(lambda s: s != "*") | st.integers(0, 99), min_size=1))
def test_a_path_is_read_as_it_was_written(steps: list[str | int]) -> None:
    if isinstance(steps[0], int):
        steps = ["spec", *steps]
    assert paths.parse(paths.format(tuple(steps))) == tuple(steps)


def test_paths_are_spelt_as_the_engine_does() -> None:
    assert paths.format(("spec", "ports", 0, "port")) == "spec.ports[0].port"
    assert paths.format(("metadata", "labels", "a.b/c")) == 'metadata.labels["a.b/c"]'


def test_an_unreadable_path_is_an_error() -> None:
    with pytest.raises(ValueError, match="from character 5 on"):
        paths.parse("spec[a")


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, [("a.b", Change.UPDATE)]),
        ({"a": {"b": 1}}, {"a": {}}, [("a.b", Change.DELETE)]),
        ({"a": []}, {"a": [{"b": 1}]}, [("a[0]", Change.ADD)]),
        ({"a": [1, 2]}, {"a": [1]}, [("a[1]", Change.DELETE)]),
        ({"a": {"b": 1}}, {"a": "b"}, [("a", Change.UPDATE)]),
        ({}, {"a": None}, [("a", Change.ADD)]),
    ],
)
def test_differences(old: Any, new: Any, found: list[tuple[str, Change]]) -> None:
    assert list(differences(old, new)) == [Difference(paths.parse(path), change) for path, change in found]


def test_ignored_paths_cover_what_is_within_them() -> None:
    found = [Difference(paths.parse(text), Change.UPDATE) for text in ("a.b[0].c", "a.d", "e")]
    left = without(found, [paths.parse("a.b[*]"), paths.parse("e")])
    assert [paths.format(one.path) for one in left] == ["a.d"]


@pytest.mark.parametrize(
    ("api_version", "kind", "path", "mutability", "replaced"),
    [
        ("v1", "ConfigMap", "data.a", Mutability(), True),
        ("v1", "ConfigMap", "data.a", Mutability(config_maps=True), False),
        ("v1", "ConfigMap", "metadata.labels.a", Mutability(), False),
        ("v1", "Secret", "data.a", Mutability(config_maps=True), True),
        ("v1", "Secret", "data.a", Mutability(secrets=True), False),
        ("v1", "Secret", "type", Mutability(secrets=True), True),
        ("v1", "Pod", "spec.nodeName", Mutability(), True),
        ("v1", "Pod", "spec.containers[0].image", Mutability(), False),
        ("apps/v1", "Deployment", "spec.selector.matchLabels.a", Mutability(), True),
        ("apps/v1", "Deployment", "spec.template", Mutability(), False),
        ("example.org/v1", "Deployment", "spec.selector", Mutability(), False),
        ("example.org/v1", "Any", "metadata.namespace", Mutability(), True),
    ],
)
def test_what_must_be_replaced(
    api_version: str, kind: str, path: str, mutability: Mutability, *, replaced: bool
) -> None:
    obj = {"apiVersion": api_version, "kind": kind}
    assert must_replace(obj, paths.parse(path), mutability) is replaced


def test_a_map_that_says_it_is_immutable_is() -> None:
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "immutable": True}
    assert must_replace(obj, ("data", "a"), Mutability(config_maps=True))


def test_only_refusals_of_a_change_are_taken_for_immutability() -> None:
    assert refused_as_immutable('spec.selector: Invalid value: {"a"}: field is immutable')
    assert not refused_as_immutable("spec.replicas: Invalid value: -1: must be greater than or equal to 0")
