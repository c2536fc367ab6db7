"""`stack_secrets` with the real engine. Each stack has its state in a directory; no cluster is needed."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.commands import Completed, run
from local.plugins.shims import write_shim
from local.toolchain.go_tools import PULUMI
from tests.completed_secrets import complete_secrets
from tests.running import CHECKOUT

NAME = "staging"
_SECONDS = 300.0
# Logs the arguments of each call. A test may provide a script that runs before the engine.
_RECORDER = """\
#!/bin/sh
printf '%s\\n' "$*" >>"{log}"
[ -f "{trap}" ] && . "{trap}"
exec "{pulumi}" "$@"
"""
COMMENT = "# the owner's own words"
# A stack with few secrets, because each secret takes one call of the engine.
OWNERS: dict[str, Any] = {
    "livekit-platform:environment": "staging",
    "livekit-platform:domain": "lk.staging.example.org",
    "livekit-platform:edge": {"tls": {"kind": "secret", "secret_name": "wildcard"}},
    "livekit-platform:redis": {
        "kind": "external",
        "external": {"address": "redis.example.com:6379", "username": "calls"},
    },
    "livekit-platform:object_store": {
        "kind": "external",
        "external": {"endpoint": "https://s3.example.com", "secret_name": "keys"},
    },
}


WITH_CERTIFICATES = {
    **{key: value for key, value in OWNERS.items() if not key.endswith((":edge", ":redis"))},
    "livekit-platform:redis": {"kind": "sentinel"},
}


@pytest.fixture(scope="session")
def pulumi() -> Path:
    """The real engine. If it is missing, it is built as `make up` would build it."""
    found = shutil.which("pulumi")
    return Path(found) if found else PULUMI.path if PULUMI.built else PULUMI.build()


@dataclass
class Owner:
    """The owner of a stack, with a project directory, a backend, a secrets provider and `pulumi`.

    Attributes:
        variables: the environment variables of each command.
        trap: a shell script that runs before the engine, with the same arguments, if the file exists.
    """

    directory: Path
    project: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return self.directory / f"Pulumi.{NAME}.yaml"

    @property
    def trap(self) -> Path:
        return self.directory / "trap.sh"

    @property
    def calls(self) -> str:
        """The arguments of every call of the engine so far."""
        log = self.directory / "calls"
        return log.read_text() if log.exists() else ""

    def pulumi(self, *words: str, check: bool = True) -> Completed:
        where = ["--cwd", str(self.project), "--non-interactive", "--color=never"]
        return run(["env", "pulumi", *words, *where], env=self.variables, timeout=_SECONDS, check=check)

    def engine(self, *words: str, check: bool = True) -> Completed:
        """`pulumi` on this stack with its configuration file."""
        return self.pulumi(*words, "--stack", NAME, "--config-file", str(self.file), check=check)

    def init(self, *words: str, config: dict[str, Any] = OWNERS) -> None:
        """`pulumi stack init`, and a configuration file with a comment."""
        scratch = self.directory / "init"
        scratch.mkdir()
        shutil.copy(CHECKOUT / "Pulumi.yaml", scratch)
        run(
            ["env", "pulumi", "stack", "init", NAME, *words, "--cwd", str(scratch), "--non-interactive"],
            env=self.variables,
            timeout=_SECONDS,
        )
        written = scratch / self.file.name
        head = written.read_text() if written.exists() else ""
        self.file.write_text(f"{COMMENT}\n{head}{yaml.safe_dump({'config': config})}")

    def take_copy_of(self, other: Owner) -> None:
        """Have the stack of `other`: its state, its configuration file and its project, if it has one."""
        shutil.copytree(other.directory / "state", self.directory / "state", dirs_exist_ok=True)
        shutil.copy(other.file, self.file)
        if other.project != CHECKOUT:
            self.project = self.directory / other.project.name
            shutil.copytree(other.project, self.project)

    def secrets(self, *words: str) -> Completed:
        """Run `python -m stack_secrets` as `make secrets` does, with this owner's file and backups."""
        return complete_secrets(NAME, self.file, self.variables, *words, check=False)

    def completed(self, *words: str) -> list[str]:
        """Run `secrets`, which must succeed; returns the sentences that it reports."""
        done = self.secrets(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def raw(self) -> dict[str, str]:
        """The decrypted configuration, as the engine gives it to the program."""
        shown = self.engine("config", "--json", "--show-secrets")
        entries = json.loads(shown.stdout)
        return {key.partition(":")[2]: entry["value"] for key, entry in entries.items()}

    def values(self) -> dict[str, str]:
        """Every secret and certificate in the configuration, by its key."""
        raw = self.raw()
        return {
            f"{section}.{name}": value
            for section in ("secrets", "certificates")
            for name, value in json.loads(raw.get(section, "{}")).items()
        }

    def document(self) -> dict[str, Any]:
        """The configuration file."""
        return dict(yaml.safe_load(self.file.read_text()))

    def state(self) -> dict[str, Any]:
        return dict(json.loads(self.pulumi("stack", "export", "--stack", NAME).stdout))


@pytest.fixture(scope="session")
def without_own_stack() -> Iterator[None]:
    """`make test` runs in the local stack's environment, which must not affect these tests."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in [name for name in os.environ if name.startswith("PULUMI_")]:
            monkeypatch.delenv(name)
        yield


def new_owner(directory: Path, pulumi: Path) -> Owner:
    """An owner in an empty directory, whose stack does not exist yet."""
    for name in ("bin", "state"):
        (directory / name).mkdir()
    made = Owner(directory, CHECKOUT)
    recorder = directory / "bin" / "pulumi"
    recorder.write_text(_RECORDER.format(log=directory / "calls", trap=made.trap, pulumi=pulumi.resolve()))
    recorder.chmod(0o755)
    write_shim(directory / "bin", Path(sys.executable), CHECKOUT)
    made.variables |= {
        "PATH": f"{directory / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{CHECKOUT}{os.pathsep}{CHECKOUT / 'infra'}",
        "PULUMI_BACKEND_URL": (directory / "state").as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": "only for this test",
        "PULUMI_HOME": str(directory / "home"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }
    return made


@pytest.fixture
def owner(pulumi: Path, tmp_path: Path, without_own_stack: None) -> Owner:
    """An owner whose stack does not exist yet."""
    return new_owner(tmp_path, pulumi)
