"""Stacks of the tests: the real engine with a separate state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pulumi
import pulumi_kubernetes
from pulumi import automation

Program: TypeAlias = Callable[[pulumi.ResourceOptions], None]
# With their types every program here would be twice as long, and the API server checks them anyway.
k8s: Any = pulumi_kubernetes


@dataclass
class Stack:
    """One stack whose program the tests pass inline."""

    directory: Path
    kubeconfig: Path
    namespace: str

    def __post_init__(self) -> None:
        backend = self.directory / "state"
        backend.mkdir(parents=True)
        self._stack = automation.create_stack(
            "test",
            project_name="scratch",
            program=lambda: None,
            opts=automation.LocalWorkspaceOptions(
                work_dir=str(self.directory),
                pulumi_home=str(self.directory / "home"),
                project_settings=automation.ProjectSettings(
                    name="scratch", runtime="python", backend=automation.ProjectBackend(url=backend.as_uri())
                ),
                env_vars={
                    "PULUMI_CONFIG_PASSPHRASE": "only for this test",
                    "PULUMI_K8S_ENABLE_PATCH_FORCE": "true",
                },
            ),
        )

    def up(self, program: Program) -> dict[str, int]:
        """`pulumi up --refresh`: how many resources were created, updated, left the same, ...

        Raises:
            automation.CommandError: the run failed; its text is all that was printed.
        """
        self._stack.workspace.program = self._with_provider(program)
        return _without_the_frame(self._stack.up(refresh=True).summary.resource_changes)

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

    def names(self) -> set[str]:
        """Pulumi names of all resources, without the provider and the stack itself."""
        frame = ("pulumi:pulumi:Stack", "pulumi:providers:")
        resources = self.deployment().get("resources", [])
        return {one["urn"].rpartition("::")[2] for one in resources if not one["type"].startswith(frame)}

    def _with_provider(self, program: Program) -> Callable[[], None]:
        def run() -> None:
            provider = k8s.Provider(
                "cluster",
                kubeconfig=str(self.kubeconfig),
                enable_config_map_mutable=True,
                enable_secret_mutable=True,
                enable_patch_force=True,
            )
            program(pulumi.ResourceOptions(provider=provider))

        return run


def _without_the_frame(changes: Mapping[Any, int] | None) -> dict[str, int]:
    """Counts of the program's own resources: the stack and its provider are there in each."""
    counts = {str(getattr(kind, "value", kind)): count for kind, count in (changes or {}).items()}
    for kind in ("same", "create"):
        if counts.get(kind, 0) >= 2:
            counts[kind] -= 2
            break
    return {kind: count for kind, count in counts.items() if count}
