"""The features of the Kubernetes provider that the platform needs, tested on a few objects."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest
from pulumi import automation

from local.old_state import converted
from tests.plugins.stack import Program, Stack, k8s

Deployment: Any = k8s.apps.v1.Deployment
ConfigMap: Any = k8s.core.v1.ConfigMap
Secret: Any = k8s.core.v1.Secret
Job: Any = k8s.batch.v1.Job

BUSYBOX = "docker.io/library/busybox:1.35.0"
# An image of a registry that does not exist, so that its pod waits forever.
NOWHERE = "registry.invalid/nothing:none"
_OLD_PROVIDER = "livekit-platform"


def _web(scratch: Stack, replicas: int) -> Program:
    """A program of a Deployment whose replicas never become ready, and a ConfigMap that depends on it."""

    def program(options: pulumi.ResourceOptions) -> None:
        made = Deployment(
            "web",
            metadata={
                "name": "web",
                "namespace": scratch.namespace,
                "annotations": {"pulumi.com/timeoutSeconds": "4"},
            },
            spec={
                "replicas": replicas,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "web", "image": NOWHERE}]},
                },
            },
            opts=options,
        )
        after = pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(depends_on=[made]))
        ConfigMap("after", metadata={"name": "after", "namespace": scratch.namespace}, opts=after)

    return program


def test_an_object_that_is_not_ready_fails_the_run_and_the_next_run_updates_it(
    scratch: Stack, apps: Any
) -> None:
    with pytest.raises(automation.CommandError, match="Minimum number of"):
        scratch.up(_web(scratch, 1))
    assert scratch.resource("web")["initErrors"]
    assert "after" not in scratch.names(), "a dependent must wait"

    uid = apps.read_namespaced_deployment("web", scratch.namespace).metadata.uid
    assert scratch.up(_web(scratch, 0)) == {"update": 1, "create": 1}
    assert apps.read_namespaced_deployment("web", scratch.namespace).metadata.uid == uid
    assert not scratch.resource("web").get("initErrors")


def test_a_failed_job_runs_again_with_the_next_up(scratch: Stack, core: Any) -> None:
    """The program does not change: the cause was fixed elsewhere, for example by a right on a bucket."""

    def program(options: pulumi.ResourceOptions) -> None:
        optional = {"configMapKeyRef": {"name": "right", "key": "granted", "optional": True}}
        container = {
            "name": "check",
            "image": BUSYBOX,
            "command": ["sh", "-c", 'test -n "$GRANTED"'],
            "env": [{"name": "GRANTED", "valueFrom": optional}],
        }
        Job(
            "check",
            metadata={
                "name": "check",
                "namespace": scratch.namespace,
                "annotations": {"pulumi.com/replaceUnready": "true"},
            },
            spec={
                "backoffLimit": 0,
                "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
            },
            opts=options,
        )

    with pytest.raises(automation.CommandError, match="check"):
        scratch.up(program)
    core.create_namespaced_config_map(
        scratch.namespace, {"metadata": {"name": "right"}, "data": {"granted": "1"}}
    )
    assert scratch.up(program) == {"replace": 1}
    assert scratch.up(program) == {"same": 1}


def _settings(scratch: Stack, data: dict[str, str]) -> Program:
    def program(options: pulumi.ResourceOptions) -> None:
        place = {"name": "settings", "namespace": scratch.namespace}
        ConfigMap("settings", metadata=place, data=data, opts=options)
        encoded = pulumi.Output.secret({"key": "dmFsdWU="})
        Secret("keys", metadata={**place, "name": "keys"}, data=encoded, opts=options)

    return program


def test_a_stack_of_the_old_provider_is_taken_over_in_place(scratch: Stack, core: Any) -> None:
    """The objects stay and keep their field manager's name, so fields that the program drops are removed."""
    scratch.up(_settings(scratch, {"colour": "red", "size": "1"}))
    before = scratch.deployment()
    # Make the state and the objects' managed fields look as the old provider left them.
    for resource in before["resources"]:
        if resource["type"] in ("kubernetes:core/v1:ConfigMap", "kubernetes:core/v1:Secret"):
            outputs = resource["outputs"]
            ours = outputs.pop("__fieldManager")
            for key in ("__inputs", "__initialApiVersion"):
                outputs.pop(key)
            outputs["__provider"] = "livekit-platform/local"
            _rename_manager(core, resource["type"].rpartition(":")[2], scratch.namespace, ours)
    assert before != scratch.deployment()
    uid = core.read_namespaced_config_map("settings", scratch.namespace).metadata.uid

    after, count = converted({"deployment": before})
    assert count == 2
    scratch.replace_deployment(after["deployment"])
    assert scratch.up(_settings(scratch, {"colour": "blue"})) == {"update": 1, "same": 1}
    live = core.read_namespaced_config_map("settings", scratch.namespace)
    assert live.data == {"colour": "blue"}
    assert live.metadata.uid == uid
    assert scratch.up(_settings(scratch, {"colour": "blue"})) == {"same": 2}


def _rename_manager(core: Any, kind: str, namespace: str, manager: str) -> None:
    """Make the old provider's name the manager of the fields that `manager` applied."""
    name = {"ConfigMap": "settings", "Secret": "keys"}[kind]
    word = {"ConfigMap": "config_map", "Secret": "secret"}[kind]
    live = getattr(core, f"read_namespaced_{word}")(name, namespace)
    for entry in live.metadata.managed_fields:
        if entry.manager == manager:
            entry.manager = _OLD_PROVIDER
    getattr(core, f"replace_namespaced_{word}")(name, namespace, live)
