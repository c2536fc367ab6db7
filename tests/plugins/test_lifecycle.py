"""Objects come, change, are replaced and go, through the real engine and a real API server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kubernetes.client
import pulumi
import pytest
from kubernetes.client import ApiException
from pulumi import automation

from tests.plugins.stack import Program, Stack, k8s

Deployment: Any = k8s.apps.v1.Deployment
ConfigMap: Any = k8s.core.v1.ConfigMap
Namespace: Any = k8s.core.v1.Namespace
PersistentVolumeClaim: Any = k8s.core.v1.PersistentVolumeClaim
Secret: Any = k8s.core.v1.Secret


def config_map(namespace: str, name: str | None = "settings", **data: str) -> Program:
    """A program of one ConfigMap, whose Pulumi name is `settings`."""

    def program(options: pulumi.ResourceOptions) -> None:
        metadata = {"namespace": namespace, **({"name": name} if name else {})}
        made = ConfigMap("settings", metadata=metadata, data=data, opts=options)
        pulumi.export("name", made.metadata.name)
        pulumi.export("uid", made.metadata.uid)

    return program


def deployment(
    namespace: str,
    *,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    **spec: Any,
) -> Program:
    """A program of one Deployment without replicas, but for what `spec` says."""
    chosen = labels or {"app": "web"}
    container = {"name": "web", "image": "docker.io/library/busybox:1.35.0"}

    def program(options: pulumi.ResourceOptions) -> None:
        Deployment(
            "web",
            metadata={"name": "web", "namespace": namespace, "annotations": annotations or {}},
            spec={
                "replicas": 0,
                "selector": {"matchLabels": chosen},
                "template": {"metadata": {"labels": chosen}, "spec": {"containers": [container]}},
                **spec,
            },
            opts=options,
        )

    return program


def test_an_object_is_made_changed_in_place_and_deleted(scratch: Stack, core: Any) -> None:
    made = scratch.up(config_map(scratch.namespace, colour="red", size="1"))
    live = core.read_namespaced_config_map("settings", scratch.namespace)
    assert made == {"create": 1}
    assert live.data == {"colour": "red", "size": "1"}
    assert scratch.outputs()["uid"] == live.metadata.uid

    changed = scratch.up(config_map(scratch.namespace, colour="blue"))
    again = core.read_namespaced_config_map("settings", scratch.namespace)
    assert changed == {"update": 1}
    assert again.data == {"colour": "blue"}, "a key that the program no longer has must go"
    assert again.metadata.uid == live.metadata.uid

    assert scratch.up(config_map(scratch.namespace, colour="blue")) == {"same": 1}

    scratch.destroy()
    with pytest.raises(ApiException, match="Not Found"):
        core.read_namespaced_config_map("settings", scratch.namespace)


def test_a_name_of_one_s_own_is_generated_kept_and_changed_by_replacement(
    make_scratch: Callable[..., Stack], core: Any
) -> None:
    scratch = make_scratch(enable_config_map_mutable=False)
    scratch.up(config_map(scratch.namespace, name=None, colour="red"))
    first = scratch.outputs()["name"]
    assert first.startswith("settings-")
    assert len(first) == len("settings-") + 8

    assert scratch.up(config_map(scratch.namespace, name=None, colour="red")) == {"same": 1}
    assert scratch.up(config_map(scratch.namespace, name=None, colour="blue")) == {"replace": 1}
    second = scratch.outputs()["name"]
    assert second != first
    names = [one.metadata.name for one in core.list_namespaced_config_map(scratch.namespace).items]
    assert [name for name in names if name.startswith("settings-")] == [second]


def test_a_field_that_cannot_change_makes_a_new_object_of_that_name(scratch: Stack, apps: Any) -> None:
    scratch.up(deployment(scratch.namespace))
    first = apps.read_namespaced_deployment("web", scratch.namespace)
    assert scratch.up(deployment(scratch.namespace, labels={"app": "other"})) == {"replace": 1}
    second = apps.read_namespaced_deployment("web", scratch.namespace)
    assert second.metadata.uid != first.metadata.uid
    assert second.spec.selector.match_labels == {"app": "other"}


def test_a_preview_tells_and_does_nothing(scratch: Stack, core: Any) -> None:
    assert scratch.preview(config_map(scratch.namespace, colour="red")) == {"create": 1}
    with pytest.raises(ApiException, match="Not Found"):
        core.read_namespaced_config_map("settings", scratch.namespace)

    scratch.up(config_map(scratch.namespace, colour="red"))
    before = core.read_namespaced_config_map("settings", scratch.namespace)
    assert scratch.preview(config_map(scratch.namespace, colour="blue")) == {"update": 1}
    assert scratch.preview(config_map(scratch.namespace, name="other", colour="red")) == {"replace": 1}
    assert core.read_namespaced_config_map("settings", scratch.namespace) == before


def test_a_preview_of_things_to_come_does_not_need_them(scratch: Stack) -> None:
    """The namespace is not there, and the ConfigMap's data is known only when its uid is."""

    def program(options: pulumi.ResourceOptions) -> None:
        made = Namespace("later", metadata={"name": f"{scratch.namespace}-later"}, opts=options)
        inside = pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(depends_on=[made]))
        ConfigMap(
            "inside",
            metadata={"name": "inside", "namespace": f"{scratch.namespace}-later"},
            data={"uid": made.metadata.uid},
            opts=inside,
        )
        pulumi.export("uid", made.metadata.uid.apply(len))

    assert scratch.preview(program) == {"create": 2}
    assert scratch.up(program) == {"create": 2}
    assert scratch.outputs()["uid"] == 36, "a preview's made-up uid is no uid"
    scratch.destroy()


def test_drift_is_seen_by_refresh_and_undone_by_up_with_or_without_it(
    make_scratch: Callable[..., Stack], core: Any
) -> None:
    scratch = make_scratch(enable_config_map_mutable=True, enable_patch_force=True)
    program = config_map(scratch.namespace, colour="red")
    scratch.up(program)
    for refresh in (True, False):
        core.patch_namespaced_config_map(
            "settings", scratch.namespace, {"data": {"colour": "green"}}, field_manager="somebody"
        )
        if refresh:
            assert scratch.refresh() == {"update": 1}
            assert scratch.resource("settings")["inputs"]["data"] == {"colour": "green"}
        assert scratch.up(program) == {"update": 1}
        assert core.read_namespaced_config_map("settings", scratch.namespace).data == {"colour": "red"}


def test_what_somebody_deleted_leaves_the_state_at_refresh_and_comes_back(scratch: Stack, core: Any) -> None:
    scratch.up(config_map(scratch.namespace, colour="red"))
    core.delete_namespaced_config_map("settings", scratch.namespace)
    assert scratch.refresh() == {"delete": 1}
    assert scratch.up(config_map(scratch.namespace, colour="red")) == {"create": 1}

    core.delete_namespaced_config_map("settings", scratch.namespace)
    assert scratch.up(config_map(scratch.namespace, colour="red")) == {"update": 1}, "without a refresh, too"
    assert core.read_namespaced_config_map("settings", scratch.namespace).data == {"colour": "red"}


def test_a_field_that_somebody_took_over_is_not_fought_for_unasked(scratch: Stack, core: Any) -> None:
    scratch.up(config_map(scratch.namespace, colour="red"))
    core.patch_namespaced_config_map(
        "settings", scratch.namespace, {"data": {"colour": "green"}}, field_manager="somebody"
    )
    with pytest.raises(automation.CommandError, match="somebody") as refused:
        scratch.up(config_map(scratch.namespace, colour="red"))
    assert "enable_patch_force" in str(refused.value)
    assert core.read_namespaced_config_map("settings", scratch.namespace).data == {"colour": "green"}

    scratch.provider["enable_patch_force"] = True
    scratch.up(config_map(scratch.namespace, colour="red"))
    assert core.read_namespaced_config_map("settings", scratch.namespace).data == {"colour": "red"}


def test_ignored_changes_are_left_to_others(scratch: Stack, apps: Any) -> None:
    def program(options: pulumi.ResourceOptions) -> None:
        ignoring = pulumi.ResourceOptions(ignore_changes=["spec.replicas"])
        deployment(scratch.namespace)(pulumi.ResourceOptions.merge(options, ignoring))

    scratch.up(program)
    apps.patch_namespaced_deployment(
        "web", scratch.namespace, {"spec": {"paused": True}}, field_manager="hpa"
    )
    apps.patch_namespaced_deployment("web", scratch.namespace, {"spec": {"replicas": 3}}, field_manager="hpa")
    assert scratch.up(program) == {"same": 1}
    assert apps.read_namespaced_deployment("web", scratch.namespace).spec.replicas == 3


def test_what_exists_is_not_taken_over_but_imported(scratch: Stack, core: Any) -> None:
    core.create_namespaced_config_map(
        scratch.namespace, {"metadata": {"name": "settings"}, "data": {"colour": "red"}}
    )
    with pytest.raises(automation.CommandError, match="exists already") as refused:
        scratch.up(config_map(scratch.namespace, colour="blue"))
    assert f"import_='{scratch.namespace}/settings'" in str(refused.value)
    assert core.read_namespaced_config_map("settings", scratch.namespace).data == {"colour": "red"}

    def program(options: pulumi.ResourceOptions) -> None:
        taking = pulumi.ResourceOptions(import_=f"{scratch.namespace}/settings")
        config_map(scratch.namespace, colour="red")(pulumi.ResourceOptions.merge(options, taking))

    assert scratch.up(program) == {"import": 1}
    assert scratch.up(config_map(scratch.namespace, colour="red")) == {"same": 1}


def test_a_misspelt_field_is_an_error_already_in_the_preview(scratch: Stack, apps: Any) -> None:
    with pytest.raises(automation.CommandError, match="replicsa"):
        scratch.preview(deployment(scratch.namespace, replicsa=1))
    with pytest.raises(automation.CommandError, match="replicsa"):
        scratch.up(deployment(scratch.namespace, replicsa=1))
    assert apps.list_namespaced_deployment(scratch.namespace).items == []


def test_a_claim_that_waits_for_a_pod_holds_up_nothing(scratch: Stack, api: Any) -> None:
    storage: Any = kubernetes.client.StorageV1Api(api)
    name = scratch.namespace  # unique, and gone with the test
    storage.create_storage_class(
        {
            "metadata": {"name": name},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        }
    )

    def program(options: pulumi.ResourceOptions) -> None:
        PersistentVolumeClaim(
            "data",
            metadata={"name": "data", "namespace": scratch.namespace},
            spec={
                "storageClassName": name,
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Mi"}},
            },
            opts=pulumi.ResourceOptions.merge(
                options, pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create="5s"))
            ),
        )

    try:
        assert scratch.up(program) == {"create": 1}
    finally:
        storage.delete_storage_class(name)
    scratch.destroy()


def test_secrets_are_nowhere_in_plain(scratch: Stack, core: Any) -> None:
    """Not what is marked secret, not what any v1 Secret holds, not in its base64."""
    marked, unmarked = "marked-5f3a9", "unmarked-81c2e"

    def program(options: pulumi.ResourceOptions) -> None:
        place = {"namespace": scratch.namespace}
        made = Secret("keys", metadata={"name": "keys", **place}, string_data={"a": unmarked}, opts=options)
        ConfigMap(
            "settings",
            metadata={"name": "settings", **place},
            data={"b": pulumi.Output.secret(marked), "c": "public-c0ffee"},
            opts=options,
        )
        pulumi.export("data", made.data)

    scratch.up(program)
    scratch.refresh()
    assert scratch.up(program) == {"same": 2}
    assert core.read_namespaced_config_map("settings", scratch.namespace).data["b"] == marked
    assert core.read_namespaced_secret("keys", scratch.namespace).data == {"a": "dW5tYXJrZWQtODFjMmU="}
    assert scratch.outputs()["data"] == {"a": "dW5tYXJrZWQtODFjMmU="}
    written = scratch.files() + scratch.said
    assert "public-c0ffee" in written, "this test looks in the wrong place"
    for secret in (marked, unmarked, "dW5tYXJrZWQtODFjMmU="):
        assert secret not in written


def test_a_refusal_quotes_no_secret(scratch: Stack) -> None:
    def program(options: pulumi.ResourceOptions) -> None:
        ConfigMap(
            "settings",
            metadata={
                "name": "settings",
                "namespace": scratch.namespace,
                "labels": {"a": pulumi.Output.secret("not a label: 5f3a9")},
            },
            opts=options,
        )

    with pytest.raises(automation.CommandError, match=r"metadata\.labels") as refused:
        scratch.up(program)
    assert "5f3a9" not in str(refused.value)
