"""A preview is of the configuration of now, and changes no file."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import yaml

from local import stack
from local.cluster.topology import Topology
from local.given import NotReady
from local.paths import CHECKOUT, Instance
from local.stack import Stack
from local.toolchain import tools
from local.up import preview

_SALT = "v1:c2FsdA==:v1:abc:def"
_OF_THE_LAST_UP = f"config:\n  livekit-platform:domain: old.test\nencryptionsalt: {_SALT}\n"
# Stands for the engine: it notes its words, and keeps the file that it is given.
_RECORDER = """\
#!/bin/sh
printf '%s\\n' "$@" >"{seen}/words"
while [ "$1" != --config-file ]; do shift; done
cp "$2" "{seen}/config.yaml"
echo "${{PULUMI_CONFIG_PASSPHRASE-none}}" >"{seen}/passphrase"
exit 7
"""


@pytest.fixture
def seen(instance: Instance, tmp_path: Path) -> Path:
    """What the engine saw: `words`, `config.yaml` and `passphrase`; the stack is there as after an `up`."""
    Topology(instance.id, "10.213.0.0/24", 2).save(instance.record)
    instance.stack_config.write_text(_OF_THE_LAST_UP)
    pulumi = tools.directory(instance) / "pulumi"
    pulumi.parent.mkdir(parents=True)
    pulumi.write_text(_RECORDER.format(seen=tmp_path))
    pulumi.chmod(0o755)
    return tmp_path


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Pulumi.local.yaml that was edited since."""
    file = tmp_path / "Pulumi.local.yaml"
    file.write_text("config:\n  livekit-platform:domain: new.test\n  livekit-platform:nonsense: 1\n")
    monkeypatch.setattr(stack, "_CHECKED_IN", file)
    return file


def test_it_is_of_the_checkouts_configuration_as_it_is_now(
    instance: Instance, seen: Path, checkout: Path
) -> None:
    assert preview(instance, expect_no_changes=True) == 7
    given = yaml.safe_load((seen / "config.yaml").read_text())
    assert given["config"]["livekit-platform:domain"] == "new.test"
    assert given["config"]["livekit-platform:nonsense"] == 1
    assert given["config"]["livekit-platform:kubeconfig"] == str(instance.kubeconfig)
    assert [node["name"] for node in given["config"]["livekit-platform:nodes"]] == ["node1", "node2"]
    # Else no secret of the state could be read.
    assert given["encryptionsalt"] == _SALT
    words = (seen / "words").read_text().split()
    # The engine compares with the state; `--refresh` brings the state up to date with the cluster first.
    assert words[:3] == ["preview", "--refresh", "--diff"]
    assert "--expect-no-changes" in words
    assert words[words.index("--cwd") + 1] == str(CHECKOUT)


def test_an_overlay_lies_over_it(
    instance: Instance, seen: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlay = seen / "overlay.yaml"
    overlay.write_text("config:\n  livekit-platform:domain: tried.test\n")
    monkeypatch.setenv("LKP_OVERLAY", str(overlay))
    preview(instance, expect_no_changes=False)
    given = yaml.safe_load((seen / "config.yaml").read_text())
    assert given["config"]["livekit-platform:domain"] == "tried.test"
    assert "--expect-no-changes" not in (seen / "words").read_text()


def test_the_instance_s_own_files_stay_as_they_are(instance: Instance, seen: Path, checkout: Path) -> None:
    before = {path: path.read_bytes() for path in instance.root.rglob("*") if path.is_file()}
    preview(instance, expect_no_changes=False)
    assert {path: path.read_bytes() for path in instance.root.rglob("*") if path.is_file()} == before
    words = (seen / "words").read_text().split()
    given = Path(words[words.index("--config-file") + 1])
    assert given != instance.stack_config
    assert not given.exists()


def test_a_passphrase_of_another_stack_is_not_taken_for_this_one_s(
    instance: Instance, seen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine would prefer it to the file."""
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "of staging")
    preview(instance, expect_no_changes=False)
    assert (seen / "passphrase").read_text() == "none\n"


def test_a_wrong_overlay_is_named_before_the_engine_starts(
    instance: Instance, seen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LKP_OVERLAY", "/not/there")
    with pytest.raises(NotReady, match="LKP_OVERLAY: given '/not/there'"):
        preview(instance, expect_no_changes=False)
    assert not (seen / "words").exists()


def test_a_given_cluster_is_the_one_that_is_previewed(
    instance: Instance, seen: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig = seen / "kubeconfig"
    kubeconfig.touch()
    monkeypatch.setenv("LKP_KUBECONFIG", str(kubeconfig))
    with pytest.raises(NotReady, match="is on a local cluster"):
        preview(instance, expect_no_changes=False)
    instance.record.unlink()
    preview(instance, expect_no_changes=False)
    given = yaml.safe_load((seen / "config.yaml").read_text())
    assert given["config"]["livekit-platform:kubeconfig"] == str(kubeconfig)
    assert "livekit-platform:nodes" not in given["config"]


def test_without_either_it_is_said_which_variable_is_missing(instance: Instance, seen: Path) -> None:
    instance.record.unlink()
    with pytest.raises(RuntimeError, match="LKP_KUBECONFIG"):
        preview(instance, expect_no_changes=False)


def test_a_stack_of_the_old_provider_is_not_previewed_and_not_destroyed(
    instance: Instance, seen: Path, checkout: Path
) -> None:
    state = instance.pulumi_backend / ".pulumi" / "stacks" / "livekit-platform" / "local.json"
    state.parent.mkdir(parents=True)
    state.write_text('{"__provider": "livekit-platform/local"}')
    for command in (partial(preview, instance, expect_no_changes=False), Stack(instance).destroy):
        with pytest.raises(
            RuntimeError, match="run `make up` once, which converts its state; nothing was changed"
        ):
            command()
    assert not (seen / "words").exists()
    state.write_text('{"__fieldManager": "livekit-platform"}')
    assert preview(instance, expect_no_changes=False) == 7
