"""The platform's program under the real engine, with a configuration that it refuses: nothing is touched."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.commands import Completed, run
from tests.completed_secrets import complete_secrets
from tests.deployment.kubectl import Kubectl
from tests.running import ClusterAccess

CHECKOUT = Path(__file__).parents[2]
NAME = "refused"


@dataclass(frozen=True)
class Refused:
    """A stack of the checkout's program, with a state of its own."""

    directory: Path
    config: dict[str, Any]

    @property
    def file(self) -> Path:
        return self.directory / f"Pulumi.{NAME}.yaml"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PULUMI_BACKEND_URL": (self.directory / "state").as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": "only for this test",
            "PULUMI_HOME": str(self.directory / "home"),
        }

    def pulumi(self, *words: str, cwd: Path = CHECKOUT, check: bool = True) -> Completed:
        command = ["env", "pulumi", *words, "--stack", NAME, "--cwd", str(cwd), "--non-interactive"]
        return run(command, env=self.environment, timeout=120, check=check)

    def create(self) -> None:
        """The stack, with its secrets."""
        (self.directory / "state").mkdir()
        shutil.copy(CHECKOUT / "Pulumi.yaml", self.directory)
        self.pulumi("stack", "init", cwd=self.directory)
        self._write(self.config)
        complete_secrets(NAME, self.file, self.environment)

    def attempt(self, *words: str, **changes: Any) -> Completed:
        """Run the engine with the configuration and `changes` to it."""
        self._write({**self.config, **changes})
        return self.pulumi(*words, "--config-file", str(self.file), check=False)

    def _write(self, given: dict[str, Any]) -> None:
        """All keys but the secrets and certificates, which stay."""
        document = yaml.safe_load(self.file.read_text()) or {}
        before = document.get("config", {})
        kept = {key: before[key] for key in before if key.partition(":")[2] in ("secrets", "certificates")}
        document["config"] = {**kept, **{f"livekit-platform:{key}": value for key, value in given.items()}}
        self.file.write_text(yaml.safe_dump(document))

    def resources(self) -> list[str]:
        """Types of all that the state knows, but for the stack itself."""
        state = json.loads(self.pulumi("stack", "export").stdout)["deployment"]
        types = [resource["type"] for resource in state.get("resources", [])]
        return [type_ for type_ in types if type_ != "pulumi:pulumi:Stack"]


@pytest.fixture
def refused(_engine: None, cluster: ClusterAccess, core: Any, tmp_path: Path) -> Iterator[Refused]:
    checked_in = yaml.safe_load((CHECKOUT / "Pulumi.local.yaml").read_text())["config"]
    own = {
        "kubeconfig": str(cluster.kubeconfig),
        "nodes": Kubectl(cluster).nodes(),
        # Of its own: should a refusal fail one day, it meets no platform that runs.
        "namespace": f"refused-{secrets.token_hex(4)}",
        "images": {
            "token_api": "r.example.com/token-api:1",
            "object_store_setup": "r.example.com/setup:1",
            "turn_exporter": "r.example.com/turn-exporter:1",
            "recorder": "r.example.com/recorder:1",
        },
    }
    config = {key.removeprefix("livekit-platform:"): value for key, value in checked_in.items()}
    stack = Refused(tmp_path, {**config, **own})
    stack.create()
    yield stack
    if stack.resources():
        stack.pulumi("destroy", "--yes", "--skip-preview")


def test_a_preview_of_the_same_without_a_mistake_would_create(refused: Refused) -> None:
    done = refused.attempt("preview")
    assert done.ok, done.stdout
    assert "+ create" in done.stdout or " to create" in done.stdout


@pytest.mark.parametrize(
    ("words", "changes", "said"),
    [
        (
            ["up", "--yes", "--skip-preview"],
            {"turn": {"kind": "coturm"}, "trun": {}},
            [
                "the configuration of stack 'refused' has 2 mistakes",
                'livekit-platform:turn.kind: given "coturm"; allowed: ',
                "did you mean `coturn`?",
                'livekit-platform:trun: given "{}"; allowed: ',
                "did you mean `turn`?",
            ],
        ),
        (
            ["preview"],
            {"nodes": [{"name": "no-such-node", "address": "192.0.2.1"}]},
            ['livekit-platform:nodes[0].name: given "no-such-node"; allowed: a node of the cluster: '],
        ),
    ],
    ids=["up-by-itself", "preview-for-this-cluster"],
)
def test_what_is_refused_is_named_and_nothing_is_touched(
    refused: Refused, core: Any, words: list[str], changes: dict[str, Any], said: list[str]
) -> None:
    done = refused.attempt(*words, **changes)
    assert not done.ok
    for sentence in said:
        assert sentence in done.stdout + done.stderr
    assert refused.resources() == []
    names = {namespace.metadata.name for namespace in core.list_namespace().items}
    assert refused.config["namespace"] not in names
