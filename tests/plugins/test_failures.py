"""Runs that go wrong: an object that is never ready, a cancelled run, state that another provider made."""

from __future__ import annotations

import copy
from typing import Any

import pulumi
import pytest
from pulumi import automation

from local.plugins.state import MARK_KEY, ForeignState, Provider, require
from tests.plugins.stack import Program, Stack, k8s

Deployment: Any = k8s.apps.v1.Deployment
ConfigMap: Any = k8s.core.v1.ConfigMap
Job: Any = k8s.batch.v1.Job

BUSYBOX = "docker.io/library/busybox:1.35.0"
# Of a registry that no machine has, so that its pod waits for ever.
NOWHERE = "registry.invalid/nothing:none"


def web(scratch: Stack, replicas: int, **metadata: Any) -> Program:
    """A program of a Deployment that cannot become ready with any replica, and a ConfigMap behind it."""

    def program(options: pulumi.ResourceOptions) -> None:
        made = Deployment(
            "web",
            metadata={"name": "web", "namespace": scratch.namespace, **metadata},
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
        behind = pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(depends_on=[made]))
        ConfigMap("behind", metadata={"name": "behind", "namespace": scratch.namespace}, opts=behind)

    return program


def test_an_object_that_is_not_ready_is_kept_explained_and_retried(scratch: Stack, apps: Any) -> None:
    impatient = {"annotations": {"pulumi.com/timeoutSeconds": "4"}}
    with pytest.raises(automation.CommandError, match="is not ready after 4 s: 0 of 1 replicas") as failed:
        scratch.up(web(scratch, 1, **impatient))
    assert "condition Available is False" in str(failed.value)
    kept = scratch.resource("web")
    assert kept["id"] == f"{scratch.namespace}/web"
    assert "is not ready" in kept["initErrors"][0]
    assert not any("behind" in urn for urn in scratch.urns()), "what depends on it must wait"

    uid = apps.read_namespaced_deployment("web", scratch.namespace).metadata.uid
    assert scratch.up(web(scratch, 0, **impatient)) == {"update": 1, "create": 1}
    assert apps.read_namespaced_deployment("web", scratch.namespace).metadata.uid == uid
    assert "initErrors" not in scratch.resource("web")


def test_a_job_that_failed_is_made_anew_where_it_may_be(scratch: Stack, core: Any) -> None:
    """Nothing in the program changes: what made it fail is put right elsewhere, as a right on a bucket."""

    def program(options: pulumi.ResourceOptions) -> None:
        optional = {"configMapKeyRef": {"name": "right", "key": "granted", "optional": True}}
        container = {
            "name": "check",
            "image": BUSYBOX,
            "command": [
                "sh",
                "-c",
                'test -n "$GRANTED" || { echo "not granted" >/dev/termination-log; exit 1; }',
            ],
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

    with pytest.raises(automation.CommandError, match="not granted"):
        scratch.up(program)
    core.create_namespaced_config_map(
        scratch.namespace, {"metadata": {"name": "right"}, "data": {"granted": "1"}}
    )
    assert scratch.up(program) == {"replace": 1}
    assert scratch.up(program) == {"same": 1}


def test_an_object_that_is_not_to_be_awaited_is_not(scratch: Stack) -> None:
    program = web(scratch, 1, annotations={"pulumi.com/skipAwait": "true"})
    assert scratch.up(program) == {"create": 2}
    assert scratch.up(program) == {"same": 2}


def test_state_of_the_other_provider_is_refused_and_left_as_it_is(scratch: Stack, core: Any) -> None:
    def program(colour: str) -> Program:
        def run(options: pulumi.ResourceOptions) -> None:
            place = {"name": "settings", "namespace": scratch.namespace}
            ConfigMap("settings", metadata=place, data={"colour": colour}, opts=options)

        return run

    scratch.up(program("red"))
    ours = scratch.deployment()
    require({"deployment": ours}, Provider.EMBEDDED)
    with pytest.raises(ForeignState, match="::settings"):
        require({"deployment": ours}, Provider.OFFICIAL)

    theirs = copy.deepcopy(ours)
    for resource in theirs["resources"]:
        if resource["urn"].endswith("::settings"):
            del resource["outputs"][MARK_KEY]
            resource["outputs"]["__fieldManager"] = "pulumi-kubernetes-1a2b3c4d"
    scratch.replace_deployment(theirs)
    before = core.read_namespaced_config_map("settings", scratch.namespace)
    for operation in (lambda: scratch.up(program("blue")), scratch.refresh, scratch.destroy):
        with pytest.raises(automation.CommandError, match="that the official Kubernetes provider made"):
            operation()
    assert core.read_namespaced_config_map("settings", scratch.namespace) == before
    with pytest.raises(ForeignState, match="take a stack of another name"):
        require({"deployment": theirs}, Provider.EMBEDDED)
    scratch.replace_deployment(ours)
    scratch.destroy()
