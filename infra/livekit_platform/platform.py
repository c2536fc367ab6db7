"""Wires the components together and exports what tests and users read."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
import pulumi_kubernetes as kubernetes

from livekit_platform import config_loader, endpoints, live_nodes, names, required_secrets
from livekit_platform.components.coturn import Coturn, CoturnArgs
from livekit_platform.components.edge import Edge, EdgeArgs, IngressArgs
from livekit_platform.components.egress import Egress, EgressArgs
from livekit_platform.components.livekit import LiveKit, LiveKitArgs
from livekit_platform.components.namespace import Namespace, NamespaceArgs
from livekit_platform.components.object_store import ObjectStore, ObjectStoreArgs
from livekit_platform.components.redis import Redis, RedisArgs
from livekit_platform.components.tls import OwnCertificate, Tls, TlsArgs
from livekit_platform.components.token_api import TokenApi, TokenApiArgs
from livekit_platform.config import PlatformConfig
from livekit_platform.values import coturn as coturn_values
from livekit_platform.values import edge as edge_values
from livekit_platform.values import egress as egress_values
from livekit_platform.values import livekit as livekit_values
from livekit_platform.values import object_store as object_store_values
from livekit_platform.values import redis as redis_values
from livekit_platform.values import token_api as token_api_values

# Every secret of the configuration, marked as secret, by its field name in `Secrets`.
_Secrets = Mapping[str, pulumi.Output[str]]


def deploy() -> None:
    """Declare the whole stack.

    Raises:
        pulumi.RunError: the configuration is wrong, by itself or for this cluster; no resource was declared.
    """
    config = config_loader.load()
    live_nodes.check(config)
    _warn(config)
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

    # What cannot be made again: in production Pulumi refuses to delete it.
    protect = config.environment == "production"

    def protected(*resources: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions.merge(after(*resources), pulumi.ResourceOptions(protect=protect))

    secrets = {
        name: pulumi.Output.secret(value.get_secret_value())
        for name, value in config.secrets.present().items()
    }
    namespace = Namespace("namespace", NamespaceArgs(config.namespace), after())
    tls = Tls("tls", _tls(config), after(namespace))
    redis = _redis(config, secrets, protected(namespace))
    object_store = ObjectStore(
        names.OBJECT_STORE,
        ObjectStoreArgs(
            namespace=config.namespace,
            values=object_store_values.chart_values(config),
            secrets=secrets if config.object_store.kind == "embedded" else None,
        ),
        after(namespace),
    )
    # Both kinds of TURN server take the same ports of the nodes: whoever goes must be gone first. So coturn
    # is always declared, with no pod for the embedded kind; Pulumi would delete it last, and SFUs would wait
    # for its ports for ever.
    if config.turn.kind == "embedded":
        coturn = _coturn(config, secrets, after(namespace, tls))
        livekit = _livekit(config, secrets, after(namespace, *redis, coturn))
    else:
        livekit = _livekit(config, secrets, after(namespace, *redis))
        _coturn(config, secrets, after(namespace, tls, livekit))
    if config.egress.kind != "none":
        Egress(names.EGRESS, _egress(config, secrets), after(namespace, *redis, object_store, livekit))
    token_api = TokenApi(names.TOKEN_API, _token_api(config, secrets), after(namespace, livekit))
    # It looks its Services up when it starts.
    Edge(names.EDGE, _edge(config), after(namespace, tls, livekit, token_api, object_store))
    _export(config, secrets, tls)


def _warn(config: PlatformConfig) -> None:
    if required_secrets.needs_certificates(config.edge):
        for warning in required_secrets.expiry_warnings(config.certificates, pulumi.get_stack()):
            pulumi.log.warn(warning)
    if config.livekit.room_auto_create:
        pulumi.log.warn(
            "livekit.room_auto_create: given true; then an old token reopens the room of a stream that has "
            "ended, where no bans apply. Without this risk: false"
        )


def _tls(config: PlatformConfig) -> TlsArgs:
    kind = config.edge.tls.kind
    return TlsArgs(
        namespace=config.namespace,
        own=_own_certificate(config) if kind == "own_ca" else None,
        certificate_spec=edge_values.certificate_spec(config) if kind == "cert_manager" else None,
        solved_by_http=config.edge.kind == "ingress",
    )


def _own_certificate(config: PlatformConfig) -> OwnCertificate | None:
    authority = config.certificates.ca_certificate
    server = required_secrets.server_of(config.certificates)
    return OwnCertificate(authority, server) if authority and server else None


def _edge(config: PlatformConfig) -> EdgeArgs:
    if config.edge.kind == "haproxy":
        return EdgeArgs(config.namespace, edge_values.chart_values(config))
    ingress = IngressArgs(
        hosts=edge_values.ingress_hosts(config),
        class_name=config.edge.ingress_class,
        annotations=config.edge.ingress_annotations,
        tls_secret_name=config.tls_secret_name,
    )
    return EdgeArgs(config.namespace, ingress)


def _coturn(config: PlatformConfig, secrets: _Secrets, opts: pulumi.ResourceOptions) -> Coturn:
    """TURN servers of their own. Their pods wait for the certificate."""
    conf = secrets["turn_secret"].apply(lambda secret: coturn_values.turnserver_conf(config, secret))
    args = CoturnArgs(config.namespace, coturn_values.chart_values(config), conf)
    return Coturn(names.COTURN, args, opts)


def _livekit(config: PlatformConfig, secrets: _Secrets, opts: pulumi.ResourceOptions) -> LiveKit:
    """The SFUs. One that finds no Redis at its start gives up: they come after it."""
    previous = config.livekit.previous_api_key
    args = LiveKitArgs(
        namespace=config.namespace,
        values=livekit_values.chart_values(config),
        server_config=livekit_values.server_config(config),
        api_key=config.livekit.api_key,
        api_secret=secrets["livekit_api_secret"],
        redis_password=secrets["redis_password"],
        turn_secret=secrets["turn_secret"],
        previous_keys={previous: secrets["livekit_previous_api_secret"]} if previous else {},
    )
    return LiveKit(names.LIVEKIT, args, opts)


def _egress(config: PlatformConfig, secrets: _Secrets) -> EgressArgs:
    """The workers. Those of livekit/egress end if they find no Redis at their start: they come after it."""
    used = {name: secrets[name] for name in egress_values.secret_fields(config)}
    return EgressArgs(
        namespace=config.namespace,
        values=egress_values.chart_values(config),
        config_file=egress_values.config_file(config),
        secrets=used,
    )


def _token_api(config: PlatformConfig, secrets: _Secrets) -> TokenApiArgs:
    known = pulumi.Output.all(**secrets)
    own_store = config.object_store.kind == "embedded"
    return TokenApiArgs(
        namespace=config.namespace,
        values=token_api_values.chart_values(config),
        environment=known.apply(lambda values: token_api_values.secret_environment(config, values)),
        recordings=known.apply(token_api_values.recordings_key) if own_store else None,
    )


def _redis(config: PlatformConfig, secrets: _Secrets, opts: pulumi.ResourceOptions) -> list[Redis]:
    """The platform's own Redis; nothing where somebody else keeps it."""
    if config.redis.kind == "external":
        return []
    # A single Redis has no replicas, so it needs no replication password.
    password, own = secrets["redis_password"], secrets.get("redis_replication_password", "")
    args = RedisArgs(
        namespace=config.namespace,
        values=redis_values.chart_values(config),
        files=pulumi.Output.all(password, own).apply(lambda known: redis_values.secret_files(config, *known)),
    )
    return [Redis(names.REDIS, args, opts)]


def _export(config: PlatformConfig, secrets: _Secrets, tls: Tls) -> None:
    pulumi.export("namespace", config.namespace)
    pulumi.export("domain", config.domain)
    pulumi.export("signal_url", endpoints.signal_url(config))
    pulumi.export("signal_urls", endpoints.node_signal_urls(config))
    pulumi.export("turn_urls", [server.url for server in endpoints.turn_servers(config)])
    pulumi.export("api_url", endpoints.api_url(config))
    pulumi.export("edge_addresses", endpoints.edge_addresses(config))
    pulumi.export("ca_certificate", tls.ca_certificate)
    pulumi.export("egress_kind", config.egress.kind)
    pulumi.export("livekit_api_key", config.livekit.api_key)
    pulumi.export("s3_endpoint", endpoints.s3_endpoint(config))
    pulumi.export("s3_bucket", config.object_store.bucket)
    if config.object_store.kind == "embedded":
        # The operator's; the key of a given store is in the owner's Secret, which the program does not read.
        pulumi.export("s3_access_key", pulumi.Output.secret(object_store_values.OPERATOR))
        pulumi.export("s3_secret_key", secrets["s3_secret_key"])
    pulumi.export("livekit_api_secret", secrets["livekit_api_secret"])
    pulumi.export("api_service_key", secrets["api_service_key"])
    if config.token_api.host_auth.kind == "secret":
        # For the host application, which signs with it.
        pulumi.export("host_jwt_secret", secrets["host_jwt_secret"])
