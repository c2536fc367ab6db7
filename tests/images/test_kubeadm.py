"""The real kubeadm on our documents: it takes them, and asks for no image that the catalog lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.commands import run
from local.cluster.kubeadm import JoinToken, Versions, init_config, join_config
from local.cluster.topology import Topology
from local.images import catalog

_TOPOLOGY = Topology("abc123", "10.213.7.0/24", 2)


@pytest.fixture
def kubeadm(kubernetes: Path, tmp_path: Path) -> Path:
    """The one Kubernetes binary runs the component by whose name it is called."""
    link = tmp_path / "kubeadm"
    link.symlink_to(kubernetes)
    return link


@pytest.fixture
def init(tmp_path: Path) -> Path:
    versions = Versions(catalog.kubernetes_version(), catalog.etcd_tag(), catalog.coredns_tag())
    path = tmp_path / "init.yaml"
    path.write_text(init_config(_TOPOLOGY, versions))
    return path


def test_every_image_that_kubeadm_wants_is_in_the_catalog(kubeadm: Path, init: Path) -> None:
    listed = run([kubeadm, "config", "images", "list", f"--config={init}"], timeout=60).stdout.split()
    assert {reference.rpartition("/")[2].partition(":")[0] for reference in listed} == {
        *("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"),
        *("coredns", "pause", "etcd"),
    }
    assert set(listed) - {image.reference for image in catalog.cluster_images()} == set()


def test_kubeadm_takes_what_it_is_told(kubeadm: Path, init: Path, tmp_path: Path) -> None:
    join = tmp_path / "join.yaml"
    token = JoinToken("abcdef.0123456789abcdef", "sha256:" + "0123456789abcdef" * 4)
    join.write_text(join_config(_TOPOLOGY, _TOPOLOGY.nodes[1], token))
    for path in (init, join):
        done = run([kubeadm, "config", "validate", f"--config={path}"], timeout=60)
        # A misspelt field is only warned of.
        assert "unknown field" not in done.stdout + done.stderr


def test_a_wrong_document_is_refused(kubeadm: Path, init: Path) -> None:
    """So that the test above says something."""
    init.write_text(init.read_text().replace("bindPort: 6443", "bindPort: 644300"))
    done = run([kubeadm, "config", "validate", f"--config={init}"], timeout=60, check=False)
    assert not done.ok
    assert "bindPort" in done.stderr
