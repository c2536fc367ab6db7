"""Runs the Pulumi program under mocks, and tells what it registered. Shared with tests/manifests."""

from __future__ import annotations

import asyncio
import contextvars
import json
import runpy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest import mock

import pulumi
import yaml
from pulumi.runtime import mocks, rpc, stack

from livekit_platform import live_nodes
from livekit_platform.certificates import new_authority, new_server_certificate, server_names
from livekit_platform.config import PlatformConfig, Secrets
from livekit_platform.config_loader import SECRET_SECTIONS, parse, parse_sections
from livekit_platform.live_nodes import LiveNode
from livekit_platform.mistakes import Mistake
from livekit_platform.required_secrets import DECIDING_SECTIONS, needs_certificates, required

CHECKOUT = Path(__file__).parents[3]
PROJECT = "livekit-platform"

GENERATED_VALUE = "generated-{name}-0123456789abcdef0123456789abcdef"

CHART = "kubernetes:helm.sh/v4:Chart"
SECRET = "kubernetes:core/v1:Secret"


def minimal_config(kubeconfig: Path) -> dict[str, Any]:
    """What every stack must say, and nothing else: of a local one, for others must name a domain too."""
    return {
        "environment": "local",
        "kubeconfig": str(kubeconfig),
        "nodes": [{"name": "node-a", "address": "192.0.2.1"}, {"name": "node-b", "address": "192.0.2.2"}],
        "images": {
            "token_api": "docker.io/livekit-platform/token-api:0123456789ab",
            "object_store_setup": "docker.io/livekit-platform/object-store-setup:0123456789ab",
            "turn_exporter": "docker.io/livekit-platform/turn-exporter:0123456789ab",
        },
    }


# The first node's own address is another than the one at which clients reach it.
TRANSLATED = [
    {"name": "node-a", "address": "203.0.113.1", "internal_address": "10.0.0.1"},
    {"name": "node-b", "address": "192.0.2.2"},
]

STACKS = ("local", "staging", "production")
# Only stacks with the recorder must name it.
RECORDER_IMAGE = "docker.io/livekit-platform/recorder:0123456789ab"


def local_config(kubeconfig: Path) -> dict[str, Any]:
    """Pulumi.local.yaml, completed as `make up` completes it."""
    return stack_config("local", kubeconfig)


def stack_config(name: str, kubeconfig: Path) -> dict[str, Any]:
    """Pulumi.<name>.yaml, completed with what only its owner has."""
    config = checked_in_config(name)
    owners: dict[str, Any] = minimal_config(kubeconfig) | {"environment": config["environment"]}
    owners["images"] = {**owners["images"], "recorder": RECORDER_IMAGE}
    if name != "local":
        edge, store = config["edge"], config["object_store"]
        issuer = {**edge["tls"]["issuer"], "name": "letsencrypt"}
        external = {**store["external"], "endpoint": "https://s3.example.com"}
        owners |= {
            "domain": f"lk.{name}.example.com",
            "nodes": [*owners["nodes"], {"name": "node-c", "address": "192.0.2.3"}],
            "edge": {**edge, "tls": {**edge["tls"], "issuer": issuer}},
            "object_store": {**store, "external": external},
            "images": {
                **owners["images"],
                "registry": "registry.example.com/lkp",
                "pull_secrets": ["registry"],
            },
        }
    return {**config, **owners}


def checked_in_config(name: str) -> dict[str, Any]:
    """Pulumi.<name>.yaml as it stands in the repository, without the project's prefix."""
    stack_file = yaml.safe_load((CHECKOUT / f"Pulumi.{name}.yaml").read_text())
    return {key.removeprefix(f"{PROJECT}:"): value for key, value in stack_file["config"].items()}


def completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with the values that `make secrets` would create; with all secrets if `config` is invalid."""
    sections, _ = parse_sections(raw(config), stack="staging")
    known = all(name in sections for name in DECIDING_SECTIONS)
    names = required(sections) if known else Secrets.names()
    secrets = config.get("secrets", {})
    if isinstance(secrets, dict):
        generated = {name: GENERATED_VALUE.format(name=name.replace("_", "-")) for name in names}
        secrets = {**generated, **secrets}
    added: dict[str, Any] = {"secrets": secrets}
    own = "edge" in sections and needs_certificates(sections["edge"])
    if own and "domain" in sections and "certificates" not in config:
        added["certificates"] = certificates(sections["domain"])
    return {**config, **added}


@lru_cache
def certificates(domain: str) -> dict[str, str]:
    """Real certificates, because real programs read them."""
    authority = new_authority(domain)
    server = new_server_certificate(server_names(domain), authority)
    return {
        "ca_certificate": authority.certificate,
        "ca_private_key": authority.private_key,
        "server_certificate": server.certificate,
        "server_private_key": server.private_key,
    }


def parse_completed(config: Mapping[str, Any]) -> tuple[PlatformConfig | None, list[Mistake]]:
    """The configuration that the program reads from `config` after `make secrets`."""
    return parse(raw(completed(config)), set(SECRET_SECTIONS), stack="staging")


def raw(config: Mapping[str, Any]) -> dict[str, str]:
    """Configuration as Pulumi gives it to a program: text stays text, all else is JSON."""
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}


@dataclass(frozen=True)
class Registration:
    """A resource as the program asked the engine for it."""

    type: str
    name: str
    parent: str
    custom: bool
    provider: str
    dependencies: frozenset[str]
    protected: bool
    # Secret values are wrapped; `rpc.is_rpc_secret` tells.
    inputs: dict[str, Any]


@dataclass
class Deployment:
    """Everything that one run of the program registered, and its outputs."""

    resources: dict[str, Registration] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)

    def of_type(self, type_: str) -> list[Registration]:
        return [resource for resource in self.resources.values() if resource.type == type_]

    def chart(self, name: str) -> Registration:
        [chart] = [chart for chart in self.of_type(CHART) if chart.name == name]
        return chart


class _Plugins(mocks.Mocks):
    """Answers as the real providers do, as far as the program looks at the answers."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        return f"{args.name}-id", dict(args.inputs)

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        raise AssertionError(f"the program called {args.token}, which it has no reason to")


class _Recorder(mocks.MockMonitor):
    """The SDK's mock monitor, which also keeps every request."""

    def __init__(self, plugins: mocks.Mocks, deployment: Deployment) -> None:
        super().__init__(plugins)
        self._deployment = deployment

    def RegisterResource(self, request: Any) -> Any:
        response = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        if request.type != "pulumi:pulumi:Stack":
            self._deployment.resources[response.urn] = Registration(
                type=request.type,
                name=request.name,
                parent=request.parent,
                custom=request.custom,
                provider=request.provider or dict(request.providers).get("kubernetes", ""),
                dependencies=frozenset(request.dependencies),
                protected=request.protect,
                inputs=rpc.deserialize_properties(request.object, keep_unknowns=True),
            )
        return response

    def RegisterResourceOutputs(self, request: Any) -> Any:
        if request.urn.split("::")[2] == "pulumi:pulumi:Stack":
            self._deployment.outputs = rpc.deserialize_properties(request.outputs, keep_unknowns=True)
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]


def run(
    config: Mapping[str, Any],
    *,
    preview: bool = False,
    nodes: Sequence[LiveNode] | live_nodes.NoAnswer | None = None,
    into: Deployment | None = None,
) -> Deployment:
    """Run infra/__main__.py with `config` (keys without the project's prefix) after `make secrets`.

    Args:
        nodes: what the cluster answers when it is asked for its nodes; the configured ones without it.
        into: takes what is registered, for whoever wants to see it also where the program raises.

    Raises:
        pulumi.RunError: as the program raises it.
    """
    deployment = into or Deployment()
    answer = _as_configured(config) if nodes is None else nodes
    # A context of its own: the SDK keeps settings, configuration and the root resource in context variables.
    with mock.patch.object(live_nodes, "read", side_effect=[answer]):
        contextvars.Context().run(_run, completed(config), deployment, preview)
    return deployment


def _as_configured(config: Mapping[str, Any]) -> list[LiveNode]:
    return [
        LiveNode(node["name"], (node.get("internal_address", node["address"]),))
        for node in config.get("nodes", [])
    ]


def _run(config: Mapping[str, Any], deployment: Deployment, preview: bool) -> None:
    pulumi.runtime.set_all_config(
        {f"{PROJECT}:{key}": value for key, value in raw(config).items()},
        [f"{PROJECT}:{key}" for key in SECRET_SECTIONS],
    )
    plugins = _Plugins()

    async def program() -> None:
        pulumi.runtime.settings.configure(
            mocks.MockSettings(  # type: ignore[no-untyped-call]
                monitor=_Recorder(plugins, deployment),
                engine=mocks.MockEngine(None),
                project=PROJECT,
                stack="local",
                dry_run=preview,
                organization="organization",
            )
        )
        await stack.run_in_stack(_main)

    asyncio.run(program())


def _main() -> None:
    runpy.run_path(str(CHECKOUT / "infra" / "__main__.py"), run_name="__main__")
