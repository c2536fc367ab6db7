"""A cluster of the user's own: named by a variable or by the configuration, never guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from local import given
from local.given import GivenCluster, NotReady, given_cluster


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    path = tmp_path / "a kubeconfig"
    path.write_text("apiVersion: v1\nkind: Config\n")
    return path


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout's configuration that a test may write."""
    root = tmp_path / "checkout"
    root.mkdir()
    (root / "Pulumi.local.yaml").write_text("config:\n  livekit-platform:domain: a.test\n")
    monkeypatch.setattr(given, "CHECKOUT", root)
    return root


def test_without_a_word_there_is_none_whatever_kubectl_would_take(
    kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    # Of the real checkout: what is checked in names no cluster.
    assert given_cluster() is None


def test_the_variables_name_one(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LKP_KUBECONFIG", str(kubeconfig))
    assert given_cluster() == GivenCluster(kubeconfig, None)
    monkeypatch.setenv("LKP_CONTEXT", "staging")
    assert given_cluster() == GivenCluster(kubeconfig, "staging")


def test_the_configuration_names_one(checkout: Path, kubeconfig: Path) -> None:
    (checkout / "Pulumi.local.yaml").write_text(
        f"config:\n  livekit-platform:kubeconfig: {kubeconfig}\n  livekit-platform:context: production\n"
    )
    assert given_cluster() == GivenCluster(kubeconfig, "production")


def test_variables_win_over_the_configuration(
    checkout: Path, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / "Pulumi.local.yaml").write_text("config: {livekit-platform:kubeconfig: /not/there}\n")
    monkeypatch.setenv("LKP_KUBECONFIG", str(kubeconfig))
    assert given_cluster() == GivenCluster(kubeconfig, None)


def test_a_relative_path_is_made_absolute(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(kubeconfig.parent)
    monkeypatch.setenv("LKP_KUBECONFIG", kubeconfig.name)
    assert given_cluster() == GivenCluster(kubeconfig, None)


def test_a_tilde_is_home(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(kubeconfig.parent))
    monkeypatch.setenv("LKP_KUBECONFIG", f"~/{kubeconfig.name}")
    assert given_cluster() == GivenCluster(kubeconfig, None)


@pytest.mark.parametrize("wrong", ["/not/there", "."])
def test_a_path_that_is_no_file_is_named(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a cluster of our own made instead: the user has said which one is meant."""
    monkeypatch.setenv("LKP_KUBECONFIG", wrong)
    with pytest.raises(NotReady, match=r"kubeconfig: given .*, which is no file; allowed is") as caught:
        given_cluster()
    assert repr(wrong) in str(caught.value)
