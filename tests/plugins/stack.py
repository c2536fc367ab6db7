"""Stacks of the tests: the real engine on a state of its own, with the plugins under test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pulumi
import pulumi_kubernetes
from pulumi import automation

Program: TypeAlias = Callable[[pulumi.ResourceOptions], None]
PROJECT = "contract"
# With their types every program here would be twice as long, and the API server checks them anyway.
k8s: Any = pulumi_kubernetes


@dataclass
class Stack:
    """One stack of a program that the tests hand over inline; `options` hold its Kubernetes provider.

    Attributes:
        said: all that the engine printed in the last operation.
    """

    directory: Path
    kubeconfig: Path
    namespace: str
    provider: dict[str, Any] = field(
        default_factory=lambda: {"enable_config_map_mutable": True, "enable_secret_mutable": True}
    )
    said: str = ""

    def __post_init__(self) -> None:
        backend = self.directory / "state"
        backend.mkdir(parents=True)
        self._stack = automation.create_stack(
            "test",
            project_name=PROJECT,
            program=lambda: None,
            opts=automation.LocalWorkspaceOptions(
                work_dir=str(self.directory),
                pulumi_home=str(self.directory / "home"),
                project_settings=automation.ProjectSettings(
                    name=PROJECT, runtime="python", backend=automation.ProjectBackend(url=backend.as_uri())
                ),
                env_vars={"PULUMI_CONFIG_PASSPHRASE": "only for this test"},
            ),
        )

    def up(self, program: Program, *, refresh: bool = False) -> dict[str, int]:
        """`pulumi up` without a preview: how many resources were created, updated, left the same, ...

        Raises:
            automation.CommandError: the run failed; its text is all that was printed.
        """
        self._stack.workspace.program = self._with_provider(program)
        summary = self._stack.up(on_output=self._listen(), on_error=self._hear, refresh=refresh).summary
        return _without_the_frame(summary.resource_changes)

    def preview(self, program: Program) -> dict[str, int]:
        """`pulumi preview`: what `up` would do."""
        self._stack.workspace.program = self._with_provider(program)
        found = self._stack.preview(on_output=self._listen(), on_error=self._hear).change_summary
        return _without_the_frame(found)

    def refresh(self) -> dict[str, int]:
        """`pulumi refresh`: what had changed beside Pulumi."""
        done = self._stack.refresh(on_output=self._listen(), on_error=self._hear)
        return _without_the_frame(done.summary.resource_changes)

    def destroy(self) -> None:
        """`pulumi destroy`, of all that is there."""
        self._stack.destroy(on_output=self._listen(), on_error=self._hear)

    def outputs(self) -> dict[str, Any]:
        """The program's exports, secrets in plain."""
        return {key: output.value for key, output in self._stack.outputs().items()}

    def deployment(self) -> dict[str, Any]:
        """The state as exported: secrets are ciphertext."""
        return dict(self._stack.export_stack().deployment or {})

    def replace_deployment(self, deployment: dict[str, Any]) -> None:
        """Put another state in place of the present one."""
        self._stack.import_stack(automation.Deployment(version=3, deployment=deployment))

    def resource(self, name: str) -> dict[str, Any]:
        """A resource of the state by its Pulumi name."""
        (found,) = [one for one in self.deployment()["resources"] if one["urn"].endswith(f"::{name}")]
        return dict(found)

    def urns(self) -> set[str]:
        """Of all resources, without the provider and the stack itself."""
        frame = ("pulumi:pulumi:Stack", "pulumi:providers:")
        resources = self.deployment().get("resources", [])
        return {one["urn"] for one in resources if not one["type"].startswith(frame)}

    def files(self) -> str:
        """Everything that Pulumi wrote to disk for this stack."""
        backend = self.directory / "state"
        return "\n".join(path.read_text() for path in sorted(backend.rglob("*")) if path.is_file())

    def _with_provider(self, program: Program) -> Callable[[], None]:
        def run() -> None:
            provider = k8s.Provider("cluster", kubeconfig=str(self.kubeconfig), **self.provider)
            program(pulumi.ResourceOptions(provider=provider))

        return run

    def _listen(self) -> Callable[[str], None]:
        self.said = ""
        return self._hear

    def _hear(self, line: str) -> None:
        self.said += f"{line}\n"


def _without_the_frame(changes: Mapping[Any, int] | None) -> dict[str, int]:
    """Counts of the program's own resources: the stack and its provider are there in each."""
    counts = {str(getattr(kind, "value", kind)): count for kind, count in (changes or {}).items()}
    for kind in ("same", "create"):
        if counts.get(kind, 0) >= 2:
            counts[kind] -= 2
            break
    return {kind: count for kind, count in counts.items() if count}
