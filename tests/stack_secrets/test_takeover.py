"""A stack with secrets as dynamic resources in its state keeps the values and needs no dynamic provider."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from tests.running import CHECKOUT
from tests.stack_secrets import legacy_program
from tests.stack_secrets.conftest import NAME, WITH_CERTIFICATES, Owner, new_owner

DOMAIN = WITH_CERTIFICATES["livekit-platform:domain"]
# The stack does not need the last of these secrets.
NAMES = ("livekit_api_secret", "turn_secret", "redis_password", "s3_secret_key")
_HEAD = f"NAMES = {NAMES!r}\nDOMAIN = {DOMAIN!r}\n"
_DYNAMIC = "pulumi-resource-pulumi-python"


def _program(owner: Owner, text: str) -> None:
    (owner.project / "infra" / "__main__.py").write_text(_HEAD + text)


@pytest.fixture(scope="module")
def deployed_once(
    pulumi: Path, tmp_path_factory: pytest.TempPathFactory, without_own_stack: None
) -> tuple[Owner, dict[str, str]]:
    """A stack that the earlier program deployed, and its values. The dynamic provider was then removed."""
    owner = new_owner(tmp_path_factory.mktemp("deployed"), pulumi)
    owner.project = owner.directory / "project"
    package = owner.project / "infra" / "livekit_platform"
    package.mkdir(parents=True)
    shutil.copy(CHECKOUT / "Pulumi.yaml", owner.project)
    certificates = CHECKOUT / "infra" / "livekit_platform" / "certificates.py"
    shutil.copy(certificates, owner.project / "infra" / "new_certificates.py")
    (package / "__init__.py").touch()
    (package / "random_secret.py").write_text(legacy_program.RANDOM_SECRET)
    (package / "certificates.py").write_text(legacy_program.CERTIFICATES)
    provider = owner.directory / "bin" / _DYNAMIC
    provider.write_text(f'#!/bin/sh\nexec "{sys.executable}" -u -m pulumi.dynamic "$@"\n')
    provider.chmod(0o755)
    owner.init(config=WITH_CERTIFICATES)
    del owner.variables["PYTHONPATH"]
    _program(owner, legacy_program.BEFORE)
    owner.engine("up", "--yes", "--skip-preview")
    shown = owner.pulumi("stack", "output", "values", "--show-secrets", "--json", "--stack", NAME)
    shutil.rmtree(package)
    _program(owner, legacy_program.AFTER)
    return owner, json.loads(shown.stdout)


@pytest.fixture
def deployed(deployed_once: tuple[Owner, dict[str, str]], owner: Owner) -> tuple[Owner, dict[str, str]]:
    """The test's own copy. It has neither the provider nor the module of the pickled class."""
    first, values = deployed_once
    owner.take_copy_of(first)
    return owner, values


def _steps(owner: Owner) -> dict[str, str]:
    """The operations that a preview plans, by the resource's name."""
    shown = owner.engine("preview", "--json")
    return {step["urn"].rpartition("::")[2]: step["op"] for step in json.loads(shown.stdout)["steps"]}


def _named(values: dict[str, str]) -> dict[str, str]:
    return {
        ("certificates." if "_certificate" in key or "private" in key else "secrets.") + key: value
        for key, value in values.items()
    }


def test_without_it_the_stack_cannot_be_updated(deployed: tuple[Owner, dict[str, str]]) -> None:
    """The takeover is needed because the engine needs the dynamic provider and the program's old module."""
    owner, values = deployed
    state = owner.state()["deployment"]["resources"]
    dynamic = [resource for resource in state if "pulumi-python:dynamic" in resource["type"]]
    assert len(dynamic) == len(NAMES) + 2
    # The configuration already contains the values, so only the state can make the engine fail.
    document = {**WITH_CERTIFICATES, "livekit-platform:secrets": {name: values[name] for name in NAMES}}
    document["livekit-platform:certificates"] = {k: v for k, v in values.items() if k not in NAMES}
    salt = owner.document()["encryptionsalt"]
    owner.file.write_text(json.dumps({"encryptionsalt": salt, "config": document}))
    assert not owner.engine("destroy", "--yes", "--skip-preview", check=False).ok


def test_values_are_kept_and_nothing_of_them_is_left_in_the_state(
    deployed: tuple[Owner, dict[str, str]],
) -> None:
    owner, values = deployed
    encrypted = owner.state()
    reports = owner.completed()
    assert _named(values).items() <= owner.values().items()
    assert "took secrets.turn_secret over from the state" in reports
    assert "created secrets.api_service_key" in reports
    state = json.dumps(owner.state())
    for trace in ("pulumi-python", "RandomSecret", "Certificate::", "edge-ca", "PlatformSecrets"):
        assert trace not in state
    assert set(_steps(owner).values()) == {"same"}
    owner.engine("up", "--yes", "--skip-preview")
    owner.engine("destroy", "--yes", "--skip-preview")
    [backup] = (owner.directory / "backups").iterdir()
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert json.loads(backup.read_text())["deployment"] == encrypted["deployment"]
    shown = [backup.read_text(), *reports, owner.calls, owner.file.read_text()]
    for key, value in _named(values).items():
        if not key.endswith("_certificate"):
            assert not [text for text in shown if value in text or value.replace("\n", "\\n") in text], key


def test_a_second_takeover_does_nothing(deployed: tuple[Owner, dict[str, str]]) -> None:
    owner, _ = deployed
    owner.completed()
    before = owner.file.read_bytes(), owner.state()
    assert owner.completed() == []
    assert owner.completed("--take-over-only") == []
    assert (owner.file.read_bytes(), owner.state()) == before


def test_an_interrupt_between_file_and_state_loses_nothing(deployed: tuple[Owner, dict[str, str]]) -> None:
    owner, values = deployed
    before = owner.state()
    owner.trap.write_text('case "$*" in "stack import"*) echo "killed" >&2; exit 9;; esac\n')
    done = owner.secrets()
    assert done.returncode == 1
    assert "killed" in done.stderr
    assert owner.state() == before
    assert _named(values).items() <= owner.values().items()
    written = owner.file.read_bytes()
    owner.trap.unlink()
    [report] = owner.completed()
    assert "out of the state" in report
    assert owner.file.read_bytes() == written
    assert set(_steps(owner).values()) == {"same"}


def test_a_secret_may_be_replaced_at_once(deployed: tuple[Owner, dict[str, str]]) -> None:
    owner, values = deployed
    assert "replaced secrets.turn_secret" in owner.completed("--rotate", "turn_secret")
    after = owner.values()
    changed = {key for key, value in _named(values).items() if after[key] != value}
    assert changed == {"secrets.turn_secret"}


def test_a_state_without_earlier_resources_is_left_alone_before_destroy(owner: Owner) -> None:
    owner.init()
    before = owner.file.read_bytes()
    assert owner.completed("--take-over-only") == []
    assert owner.file.read_bytes() == before
    assert not (owner.directory / "backups").exists()
    assert os.listdir(owner.directory / "state")  # noqa: PTH208
