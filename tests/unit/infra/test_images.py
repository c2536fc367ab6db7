"""Where images are pulled from: `images.registry`, digests, and pull secrets, wherever a pod is made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from livekit_platform.config import Images
from livekit_platform.config.images import has_registry
from tests.unit.infra.program import CHART, Deployment, local_config, minimal_config, run

DIGEST = "sha256:" + "0123456789abcdef" * 4
REGISTRY = "registry.example.com/livekit-platform"


def images(registry: str | None) -> Images:
    return Images(
        registry=registry,
        token_api="r.example.com/token-api:1",
        object_store_setup="r.example.com/setup:1",
        turn_exporter="r.example.com/turn-exporter:1",
    )


@pytest.mark.parametrize(
    ("image", "complete"),
    [
        ("token-api:1", f"{REGISTRY}/token-api:1"),
        (f"token-api@{DIGEST}", f"{REGISTRY}/token-api@{DIGEST}"),
        (f"token-api:1@{DIGEST}", f"{REGISTRY}/token-api:1@{DIGEST}"),
        ("library/x:1", f"{REGISTRY}/library/x:1"),
        ("a/b/c:1", f"{REGISTRY}/a/b/c:1"),
        ("docker.io/x/y:1", "docker.io/x/y:1"),
        ("localhost/x:1", "localhost/x:1"),
        ("localhost:5000/x:1", "localhost:5000/x:1"),
        ("registry:5000/x:1", "registry:5000/x:1"),
        ("10.0.0.1:5000/x:1", "10.0.0.1:5000/x:1"),
        (f"r.example.com/x@{DIGEST}", f"r.example.com/x@{DIGEST}"),
    ],
)
def test_an_image_named_without_a_registry_gets_the_configured_one(image: str, complete: str) -> None:
    assert images(REGISTRY).complete(image) == complete
    assert images(None).complete(image) == image
    assert has_registry(image) == (image == complete)


def containers_images(values: Any) -> Iterator[str]:
    """All values of keys named `image`, or ending so."""
    if isinstance(values, dict):
        for key, value in values.items():
            if isinstance(value, str) and key.lower().endswith("image"):
                yield value
            else:
                yield from containers_images(value)
    elif isinstance(values, list):
        for value in values:
            yield from containers_images(value)


def of_charts(deployment: Deployment) -> dict[str, dict[str, Any]]:
    return {chart.name: chart.inputs["values"] for chart in deployment.of_type(CHART)}


@pytest.fixture
def elsewhere(kubeconfig: Path) -> Deployment:
    """The platform with every image in a registry of the owner's own."""
    names = set(Images.model_fields) - {"registry", "pull_secrets"}
    own = {name: f"{name.replace('_', '-')}:1@{DIGEST}" for name in names}
    config = local_config(kubeconfig) | {
        "images": {**own, "registry": REGISTRY, "pull_secrets": ["registry-login"]}
    }
    return run(config)


def test_every_chart_pulls_from_the_configured_registry(elsewhere: Deployment) -> None:
    for name, values in of_charts(elsewhere).items():
        found = list(containers_images(values))
        assert found, name
        for image in found:
            assert image.startswith(f"{REGISTRY}/"), f"{name}: {image}"
            assert image.endswith(f"@{DIGEST}"), f"{name}: {image}"


def test_every_chart_is_told_the_pull_secrets(elsewhere: Deployment, kubeconfig: Path) -> None:
    for name, values in of_charts(elsewhere).items():
        assert values["imagePullSecrets"] == ["registry-login"], name
    for name, values in of_charts(run(minimal_config(kubeconfig))).items():
        assert values["imagePullSecrets"] == [], name
