"""What the program registers for each kind of egress worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pulumi.runtime import rpc

from tests.unit.infra.egress.configs import BACKUP, KINDS, STORES, STRONG, changes
from tests.unit.infra.program import (
    CHART,
    GENERATED_VALUE,
    RECORDER_IMAGE,
    Deployment,
    minimal_config,
    run,
)
from tests.unit.infra.test_program import secret_data


def _deployed(kubeconfig: Path, kind: str, *others: dict[str, Any], **own: Any) -> Deployment:
    base = minimal_config(kubeconfig)
    return run(
        {**base, "images": {**base["images"], "recorder": RECORDER_IMAGE}, **changes(kind, *others, **own)}
    )


def test_without_workers_nothing_is_deployed_and_the_outputs_say_so(kubeconfig: Path) -> None:
    deployment = _deployed(kubeconfig, "none")
    assert not [entry for entry in deployment.resources.values() if "egress" in entry.name]
    assert deployment.outputs["egress_kind"] == "none"


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_is_in_a_secret_and_its_secrets_are_nowhere_else(kubeconfig: Path, kind: str) -> None:
    deployment = _deployed(kubeconfig, kind, STORES["embedded"], backup=BACKUP)
    assert deployment.outputs["egress_kind"] == kind
    file = yaml.safe_load(secret_data(deployment, "egress-config")["config.yaml"])
    secrets = (
        file["api_secret"],
        file["redis"]["password"],
        file["storage"]["s3"]["secret"],
        file["backup"]["s3"]["secret"],
    )
    assert secrets == (
        GENERATED_VALUE.format(name="livekit-api-secret"),
        GENERATED_VALUE.format(name="redis-password"),
        GENERATED_VALUE.format(name="s3-egress-secret-key"),
        f"backup-{STRONG}",
    )
    values = str(deployment.chart("egress").inputs)
    assert not any(secret in values for secret in secrets)
    assert [urn.split("::")[-1] for urn in deployment.chart("egress").dependencies] == ["egress-config"]
    assert not rpc.is_rpc_secret(deployment.chart("egress").inputs["values"])


def test_workers_come_after_redis_the_store_and_the_sfus(kubeconfig: Path) -> None:
    deployment = _deployed(kubeconfig, "recorder")
    [component] = [
        entry for entry in deployment.resources.values() if entry.type.endswith(":components:Egress")
    ]
    for chart in ("redis", "object-store", "livekit-server"):
        assert any(urn.endswith(f"{CHART}::{chart}") for urn in component.dependencies), chart
