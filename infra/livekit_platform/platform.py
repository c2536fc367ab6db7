"""Wires the components together and exports what tests and users read."""

from __future__ import annotations

import pulumi
import pulumi_kubernetes as kubernetes

from livekit_platform import config_loader, names
from livekit_platform.components.livekit import LiveKit, LiveKitArgs
from livekit_platform.components.namespace import Namespace, NamespaceArgs
from livekit_platform.components.redis import Redis, RedisArgs
from livekit_platform.components.secrets import PlatformSecrets, PlatformSecretsArgs
from livekit_platform.components.token_api import TokenApi, TokenApiArgs
from livekit_platform.config import PlatformConfig
from livekit_platform.values import livekit as livekit_values
from livekit_platform.values import redis as redis_values
from livekit_platform.values import token_api as token_api_values


def deploy() -> None:
    """Declare the whole stack.

    Raises:
        pulumi.RunError: the configuration is wrong; no resource was declared.
    """
    config = config_loader.load()
    cluster = kubernetes.Provider(
        "cluster",
        # The one cluster that the configuration names, never the ambient one.
        kubeconfig=str(config.kubeconfig),
        context=config.context,
        enable_server_side_apply=True,
        # Otherwise changed data means delete and replace, while pods still refer to the object.
        enable_config_map_mutable=True,
        # `up` takes a field back that somebody changed by hand, instead of failing on the conflict.
        enable_patch_force=True,
        enable_secret_mutable=True,
    )

    def after(*resources: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(providers={"kubernetes": cluster}, depends_on=list(resources))

    secrets = PlatformSecrets("secrets", PlatformSecretsArgs(config.secrets), pulumi.ResourceOptions())
    namespace = Namespace("namespace", NamespaceArgs(config.namespace), after())
    redis = Redis(
        names.REDIS,
        RedisArgs(
            namespace=config.namespace,
            values=redis_values.chart_values(config),
            password=secrets.redis_password,
        ),
        after(namespace),
    )
    # An SFU that finds no Redis at its start gives up: it comes after it.
    livekit = LiveKit(
        names.LIVEKIT,
        LiveKitArgs(
            namespace=config.namespace,
            values=livekit_values.chart_values(config),
            server_config=livekit_values.server_config(config),
            api_key=config.livekit.api_key,
            api_secret=secrets.livekit_api_secret,
            redis_password=secrets.redis_password,
        ),
        after(namespace, redis),
    )
    TokenApi(
        names.TOKEN_API,
        TokenApiArgs(
            namespace=config.namespace,
            values=token_api_values.chart_values(config),
            api_key=config.livekit.api_key,
            livekit_api_secret=secrets.livekit_api_secret,
            api_service_key=secrets.api_service_key,
        ),
        after(namespace, livekit),
    )
    _export(config, secrets)


def _export(config: PlatformConfig, secrets: PlatformSecrets) -> None:
    ports = config.ports
    addresses = [str(node.address) for node in config.sfu_nodes]
    signal_urls = [f"ws://{address}:{ports.signal}" for address in addresses]
    pulumi.export("namespace", config.namespace)
    pulumi.export("domain", config.domain)
    pulumi.export("signal_url", signal_urls[0])
    pulumi.export("signal_urls", signal_urls)
    pulumi.export("turn_urls", [f"turn:{address}:{ports.turn_udp}?transport=udp" for address in addresses])
    # A NodePort answers at every node.
    pulumi.export("api_url", f"http://{config.nodes[0].address}:{ports.token_api_node_port}")
    pulumi.export("livekit_api_key", config.livekit.api_key)
    pulumi.export("livekit_api_secret", secrets.livekit_api_secret)
    pulumi.export("api_service_key", secrets.api_service_key)
