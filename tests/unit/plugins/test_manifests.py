"""Objects of manifests: read, ordered, normalized, and told apart from hooks."""

from __future__ import annotations

import pytest
from pulumi.runtime.rpc import UNKNOWN

from local.plugins.kubernetes import helm, objects
from local.plugins.kubernetes.order import BadManifest, ordered
from local.plugins.kubernetes.values import Json


def make(kind: str, name: str, namespace: str = "", api_version: str = "v1", after: str = "") -> Json:
    metadata: Json = {"name": name, "annotations": {"config.kubernetes.io/depends-on": after}}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


DEFINITION: Json = {
    **make("CustomResourceDefinition", "things.example.org", api_version="apiextensions.k8s.io/v1"),
    "spec": {"group": "example.org", "names": {"kind": "Thing"}},
}


def test_objects_stand_behind_what_they_wait_for() -> None:
    found = ordered(
        [
            make("Thing", "t", "n", "example.org/v1"),
            make("ConfigMap", "first", "n", after="apps/namespaces/n/Deployment/second"),
            make("Deployment", "second", "n", "apps/v1"),
            make("Namespace", "n"),
            DEFINITION,
        ]
    )
    names = [one.obj["metadata"]["name"] for one in found]
    waits = {one.obj["metadata"]["name"]: {names[index] for index in one.after} for one in found}
    assert waits == {
        "n": set(),
        "things.example.org": set(),
        "t": {"n", "things.example.org"},
        "second": {"n"},
        "first": {"n", "second"},
    }
    for position, one in enumerate(found):
        assert all(index < position for index in one.after)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ([make("ConfigMap", "a"), make("ConfigMap", "a")], "there twice"),
        ([make("ConfigMap", "a", after="nonsense")], "'nonsense'"),
        (
            [make("ConfigMap", "a", after="/ConfigMap/b"), make("ConfigMap", "b", after="/ConfigMap/a")],
            "each other",
        ),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(manifest: list[Json], message: str) -> None:
    with pytest.raises(BadManifest, match=message):
        ordered(manifest)


def test_lists_are_taken_apart_and_empty_documents_left_out() -> None:
    items = "[{kind: A, apiVersion: v1, metadata: {name: a}}]"
    text = f"---\n# nothing\n---\nkind: List\napiVersion: v1\nitems: {items}"
    assert [obj["kind"] for obj in helm.manifest(text)] == ["A"]


@pytest.mark.parametrize("text", ["{unclosed", "just text", "kind: A", "{kind: A, apiVersion: v1}"])
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(BadManifest):
        helm.manifest(text)


def test_hooks_are_told_apart() -> None:
    hook = make("Job", "h")
    hook["metadata"]["annotations"]["helm.sh/hook"] = "pre-install"
    kept, left_out = helm.without_hooks([hook, make("ConfigMap", "c")])
    assert [obj["kind"] for obj in kept] == ["ConfigMap"]
    assert left_out == ["Job h"]


def test_what_is_applied_has_no_nulls_nothing_of_the_server_s_and_one_spelling_of_secrets() -> None:
    inputs = {
        "kind": "Secret",
        "metadata": {"name": "s", "uid": "u", "managedFields": [], "annotations": None},
        "data": {"a": "YQ=="},
        "stringData": {"b": "b", "c": UNKNOWN},
        "status": {},
    }
    assert objects.wanted(inputs) == {
        "kind": "Secret",
        "metadata": {"name": "s"},
        "data": {"a": "YQ==", "b": "Yg==", "c": UNKNOWN},
    }
    assert "stringData" in inputs, "the inputs themselves stay"


def test_a_preview_s_made_up_values_are_unknown() -> None:
    would = {
        "kind": "Service",
        "metadata": {"name": "s", "uid": "made up", "managedFields": []},
        "spec": {"clusterIP": "10.0.0.1", "type": "ClusterIP"},
        "status": {},
    }
    assert objects.previewed(would, {"spec": {}}) == {
        "kind": "Service",
        "metadata": {"name": "s", "uid": UNKNOWN},
        "spec": {"clusterIP": UNKNOWN, "type": "ClusterIP"},
    }
    assert objects.previewed(would, {"spec": {"clusterIP": "10.0.0.1"}})["spec"]["clusterIP"] == "10.0.0.1"


@pytest.mark.parametrize(
    ("token", "found"),
    [
        ("kubernetes:core/v1:Secret", ("v1", "Secret")),
        ("kubernetes:helm.sh/v4:Chart$kubernetes:apps/v1:Deployment", ("apps/v1", "Deployment")),
        ("kubernetes:example.org/v1:Thing", ("example.org/v1", "Thing")),
    ],
)
def test_the_type_in_a_urn_is_read_and_written(token: str, found: tuple[str, str]) -> None:
    assert objects.type_of_urn(f"urn:pulumi:s::p::{token}::name") == found
    assert token.endswith(objects.type_token(*found))


@pytest.mark.parametrize("token", ["helm.sh/v3:Release", "apps/v1:DeploymentPatch", "core/v1:ConfigMapList"])
def test_types_that_only_the_official_provider_has_are_refused(token: str) -> None:
    with pytest.raises(objects.UnsupportedResource, match="official Kubernetes provider"):
        objects.type_of_urn(f"urn:pulumi:s::p::kubernetes:{token}::name")
