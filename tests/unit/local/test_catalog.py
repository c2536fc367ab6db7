"""The images of a local stack are those that charts, program, kubeadm and manifests ask for."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from livekit_platform.config import Images
from local.cluster.cluster import Cluster
from local.cluster.topology import Topology
from local.images import catalog
from local.images.catalog import Image, PythonPackages, Source
from local.paths import CHECKOUT, Instance
from tests.deployment.kubectl import BUSYBOX

_REFERENCE = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+(/[a-z0-9._-]+)+:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_KNOWN = {image.reference for image in catalog.all_images()}


def test_every_image_has_a_full_reference_with_a_tag() -> None:
    # Without a registry's host in front, containerd and the kubelet would not find it under this name.
    assert [ref for ref in _KNOWN if not _REFERENCE.fullmatch(ref) or ref.endswith(":latest")] == []


def test_what_an_image_installs_is_said_without_conditions() -> None:
    """pip judges a condition by the interpreter that builds: one of 3.11.7 omits what 3.11.2 needs."""
    files = {
        part.requirements
        for image in (*catalog.all_images(), catalog.loadtest())
        for part in image.parts
        if isinstance(part, PythonPackages)
    }
    assert {file.parent.name for file in files} >= {"token-api", "turn-exporter", "loadtest"}
    conditional = [
        line for file in files for line in file.read_text().splitlines() if re.match(r"\S+==\S+ ;", line)
    ]
    assert conditional == [], "compiled by `make lock` for the image's interpreter alone"


def test_no_reference_is_there_twice() -> None:
    counted = Counter(image.reference for image in catalog.all_images())
    assert [reference for reference, times in counted.items() if times > 1] == []


def test_every_image_can_be_built_and_is_marked_as_built_here() -> None:
    for image in catalog.all_images():
        assert image.parts, f"{image.reference} has no recipe"
        config = image.config()
        assert config.labels[catalog.BUILT_HERE_LABEL] == "true"
        assert config.labels["org.opencontainers.image.version"] == image.tag
        assert image.reference == f"{image.repository}:{image.tag}"


def test_only_the_platforms_own_images_are_never_looked_for_in_a_registry() -> None:
    assert [image.repository for image in catalog.all_images() if image.ours] == [
        "docker.io/livekit-platform/token-api",
        "docker.io/livekit-platform/object-store-setup",
        "docker.io/livekit-platform/turn-exporter",
        "docker.io/livekit-platform/recorder",
    ]


def test_what_only_a_test_runs_is_in_no_stack() -> None:
    postgres = catalog.postgres()
    assert postgres.reference not in _KNOWN
    assert _REFERENCE.fullmatch(postgres.reference)
    # No registry has it.
    assert postgres.ours


def _images_in(node: Any) -> set[str]:
    """Values of every key `image`, however deep."""
    if isinstance(node, dict):
        here = {value for key, value in node.items() if key == "image" and isinstance(value, str) and value}
        return here.union(*map(_images_in, node.values()))
    if isinstance(node, list):
        return set().union(*map(_images_in, node))
    return set()


def test_the_charts_default_images_are_known() -> None:
    named = {
        path.parent.name: _images_in(yaml.safe_load(path.read_text()))
        for path in (CHECKOUT / "charts").glob("*/values.yaml")
    }
    # Ours have no default: they are tagged by content.
    assert {chart: len(images) for chart, images in named.items()} == {
        "coturn": 3,
        "edge": 1,
        "egress": 0,
        "livekit-server": 1,
        "object-store": 1,
        "redis": 1,
        "token-api": 0,
    }
    assert set().union(*named.values()) - _KNOWN == set()


def test_no_chart_names_an_image_beside_its_values() -> None:
    for template in (CHECKOUT / "charts").glob("*/templates/**/*.yaml"):
        for line in re.findall(r"^\s*-?\s*image:.*$", template.read_text(), re.MULTILINE):
            assert re.search(r"\.Values\.([a-z]+\.)?image\b", line), f"{template}: {line.strip()}"


def test_the_programs_default_images_are_known() -> None:
    elsewhere = {"registry", "pull_secrets"}
    defaults = {
        name: field.default
        for name, field in Images.model_fields.items()
        if not field.is_required() and field.default is not None and name not in elsewhere
    }
    assert set(defaults) == {"livekit", "coturn", "nftables", "redis", "haproxy", "versitygw", "egress"}
    # livekit/egress cannot be built from package registries. Local stacks have the recorder instead.
    assert set(defaults.values()) - _KNOWN == {defaults["egress"]}


def test_the_image_of_test_pods_is_known() -> None:
    assert BUSYBOX in _KNOWN


def test_manifests_name_known_images_and_keep_no_placeholder(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied: list[str] = []

    def kubectl(_: Cluster, *words: str, timeout: float = 60.0, input: str | None = None) -> str:
        applied.append(input or "")
        return ""

    monkeypatch.setattr(Cluster, "kubectl", kubectl)
    Cluster(instance, Topology("abc123", "10.213.0.0/24", 2)).install_addons()
    sources = "".join(path.read_text() for path in (CHECKOUT / "local/cluster/manifests").glob("*.yaml"))
    assert "\n".join(applied).count("\nkind: ") == sources.count("\nkind: ")
    named: list[str] = []
    for text in applied:
        assert re.findall(r"@[A-Z_]+@", text) == []
        documents = list(yaml.safe_load_all(text))
        # The provisioner's helper pod is a document within a ConfigMap.
        pods = [
            yaml.safe_load(document["data"]["helperPod.yaml"])
            for document in documents
            if document["kind"] == "ConfigMap"
        ]
        named += [image for document in [*documents, *pods] for image in _images_in(document)]
    assert len(named) == 3
    assert set(named) - _KNOWN == set()


def test_nodes_start_pods_on_the_pause_image_of_the_catalog() -> None:
    assert catalog.PAUSE_IMAGE in _KNOWN
    configuration = (CHECKOUT / "local/cluster/node/containerd.toml").read_text()
    assert 'sandbox_image = "@PAUSE_IMAGE@"' in configuration


@pytest.fixture
def token_api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the service that a test may change, as the catalog's own."""
    copy = tmp_path / "token-api"
    shutil.copytree(CHECKOUT / "services/token-api", copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(catalog, "_TOKEN_API", copy)
    return copy


def test_the_copy_of_the_service_is_the_same_image(token_api: Path) -> None:
    (original,) = [ref for ref in _KNOWN if "/token-api:" in ref]
    assert catalog.token_api().reference == original


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "token_api/cli.py").write_text("# another\n"),
        lambda root: (root / "token_api/new.py").write_text(""),
        lambda root: (root / "token_api/cli.py").unlink(),
        lambda root: (root / "token_api/cli.py").rename(root / "token_api/other.py"),
        lambda root: (root / "requirements.txt").write_text("# nothing\n"),
    ],
    ids=["changed", "added", "removed", "renamed", "other packages"],
)
def test_a_change_of_the_service_is_another_image(token_api: Path, change: Any) -> None:
    before = catalog.token_api()
    change(token_api)
    after = catalog.token_api()
    assert after.repository == before.repository
    assert after.tag != before.tag


def test_what_is_not_in_the_image_does_not_change_its_tag(token_api: Path) -> None:
    before = catalog.token_api().tag
    (token_api / "README.md").write_text("another\n")
    cached = token_api / "token_api/__pycache__"
    cached.mkdir()
    (cached / "cli.cpython-311.pyc").write_bytes(b"byte code")
    (token_api / "token_api/cli.py").touch()
    assert catalog.token_api().tag == before


def test_a_files_end_and_the_next_ones_beginning_are_told_apart(tmp_path: Path) -> None:
    """Hashed one after another without their lengths, these two trees would be the same."""
    for name, files in {"one": {"a": "bc", "d": ""}, "two": {"a": "b", "cd": ""}}.items():
        (tmp_path / name).mkdir()
        for file, content in files.items():
            (tmp_path / name / file).write_text(content)
    assert Source(tmp_path / "one", "app").key != Source(tmp_path / "two", "app").key


def test_every_recipe_part_has_a_key_of_its_own() -> None:
    parts = {part for image in catalog.all_images() for part in image.parts}
    assert len({part.key for part in parts}) == len(parts)


def test_kubernetes_components_share_one_layer() -> None:
    layers = {
        image.repository.rpartition("/")[2]: [part.key for part in image.parts]
        for image in catalog.cluster_images()
    }
    (shared,) = layers["kube-apiserver"]
    for name in ("kube-controller-manager", "kube-scheduler", "etcd", "kube-proxy"):
        assert layers[name][-1] == shared


def test_tags_are_the_pinned_versions() -> None:
    def of(name: str) -> Image:
        (image,) = [i for i in catalog.all_images() if i.repository.endswith(f"/{name}")]
        return image

    go_mod = (CHECKOUT / "local/toolchain/go/go.mod").read_text()
    for name, module, tag in (
        ("kube-apiserver", "k8s.io/kubernetes", r"\1"),
        ("etcd", "go.etcd.io/etcd/server/v3", r"\1-0"),
    ):
        pinned = re.search(rf"^\s*(?:require )?{re.escape(module)} (v\S+)", go_mod, re.MULTILINE)
        assert pinned
        expected = pinned.expand(tag)
        assert of(name).tag == (expected.removeprefix("v") if name == "etcd" else expected)
