"""Rules over more than one field. Each runs where the sections that it reads are valid by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from livekit_platform import egress_rules, required_secrets, token_api_rules, turn_rules
from livekit_platform.config import (
    Database,
    Edge,
    Egress,
    Images,
    LiveKit,
    Network,
    Node,
    ObjectStore,
    Ports,
    Redis,
    Resources,
    Secrets,
    TokenApi,
    Turn,
)
from livekit_platform.config.images import has_registry
from livekit_platform.config.section import bytes_of
from livekit_platform.mistakes import Mistake, goes_with, narrow, only_with
from livekit_platform.ports import broken_rules

# Names that no public DNS answers (RFC 6761): well enough for a laboratory's own.
_RESERVED_DOMAINS = ("example", "invalid", "test")


def _domain_is_found(environment: str, domain: str) -> Iterator[Mistake]:
    last = domain.rpartition(".")[2]
    if environment != "local" and last == "localhost":
        allowed = "a name that the clients' DNS answers: this one is every client's own machine"
        yield Mistake("domain", f'"{domain}"', allowed)
    elif environment == "production" and (last == domain or last in _RESERVED_DOMAINS):
        yield Mistake("domain", f'"{domain}"', "a name that the clients' DNS answers, in production")


def _nodes_differ(nodes: Sequence[Node]) -> Iterator[Mistake]:
    for what, fields in (("a name", ("name",)), ("an address", ("address", "internal_address"))):
        seen: dict[object, int] = {}
        for index, node in enumerate(nodes):
            for field in fields:
                value = getattr(node, field)
                if value is not None and seen.setdefault(value, index) != index:
                    allowed = f"{what} that nodes[{seen[value]}] does not have"
                    yield Mistake(f"nodes[{index}].{field}", f'"{value}"', allowed)


def _replicas_fit(nodes: Sequence[Node], livekit: LiveKit, turn: Turn, edge: Edge) -> Iterator[Mistake]:
    # They use the node's ports: a second one on the same node finds them taken and never starts.
    for key, replicas in (
        ("livekit.replicas", livekit.replicas),
        ("turn.replicas", turn.replicas if turn.kind == "coturn" else None),
        ("edge.replicas", edge.replicas if edge.expose == "host_port" else None),
    ):
        if replicas is not None and replicas > len(nodes):
            yield Mistake(key, str(replicas), f"at most {len(nodes)}, one per node in `nodes`")


def _edge_is_of_its_kind(edge: Edge) -> Iterator[Mistake]:
    for key, value, wanted in (
        ("replicas", edge.replicas, "haproxy"),
        ("expose", edge.expose if edge.expose != "host_port" else None, "haproxy"),
        ("ingress_class", edge.ingress_class or None, "ingress"),
        ("ingress_annotations", edge.ingress_annotations or None, "ingress"),
    ):
        yield from only_with(f"edge.{key}", value, edge.kind, wanted)


def _tls_is_complete(edge: Edge) -> Iterator[Mistake]:
    tls = edge.tls
    yield from goes_with("edge.tls.secret_name", tls.secret_name, tls.kind, "secret", "the name of a Secret")
    yield from goes_with("edge.tls.issuer", tls.issuer, tls.kind, "cert_manager", "an issuer")


def _requests_fit(livekit: LiveKit, turn: Turn, edge: Edge, egress: Egress) -> Iterator[Mistake]:
    # Kubernetes refuses such a pod, when half of the stack is there.
    parts: dict[str, Resources] = {
        "livekit": livekit.resources,
        "turn": turn.resources,
        "edge": edge.resources,
        "egress": egress.worker_resources,
    }
    for part, resources in parts.items():
        if bytes_of(resources.memory_request) > bytes_of(resources.memory_limit):
            yield Mistake(
                f"{part}.resources.memory_request",
                f'"{resources.memory_request}"',
                f"at most `memory_limit`, {resources.memory_limit}",
            )


def _redis_fits(redis: Redis) -> Iterator[Mistake]:
    needed = 2 * redis.maxmemory_mib
    if redis.kind != "external" and bytes_of(redis.storage_size) < needed * 2**20:
        yield Mistake(
            "redis.storage_size",
            f'"{redis.storage_size}"',
            f"at least {needed}Mi, twice `maxmemory_mib`: a snapshot is written beside the last one",
        )


def _networks_are_narrow(network: Network) -> Iterator[Mistake]:
    yield from narrow({f"network.{name}": entries for name, entries in network.lists().items()})


def _ingress_is_used(edge: Edge, network: Network) -> Iterator[Mistake]:
    yield from only_with("network.ingress_cidrs", network.ingress_cidrs or None, edge.kind, "ingress")


def _redis_is_complete(redis: Redis) -> Iterator[Mistake]:
    yield from goes_with("redis.external", redis.external, redis.kind, "external", "an object")
    external = redis.external
    if redis.kind != "external" or external is None:
        return
    ways = {
        "address": external.address,
        "sentinel_master_name": external.sentinel_master_name,
        "sentinel_addresses": external.sentinel_addresses,
    }
    given = [name for name, value in ways.items() if value]
    if given not in (["address"], ["sentinel_master_name", "sentinel_addresses"]):
        yield Mistake(
            "redis.external",
            f"`{'`, `'.join(given)}`" if given else "no address",
            "either `address`, or `sentinel_master_name` with `sentinel_addresses`",
        )
    if external.sentinel_auth and not external.sentinel_addresses:
        yield Mistake("redis.external.sentinel_auth", "true", "false, unless Sentinels are given")


def _object_store_is_complete(object_store: ObjectStore) -> Iterator[Mistake]:
    external, kind = object_store.external, object_store.kind
    yield from goes_with("object_store.external", external, kind, "external", "an object")
    if kind != "external" or external is None:
        return
    if (external.secret_name is None) == (not external.service_account_annotations):
        given = "neither" if external.secret_name is None else "both"
        yield Mistake(
            "object_store.external",
            f"{given} of a Secret and annotations",
            "either `secret_name` (keys), or `service_account_annotations` (workload identity)",
        )


def _production_keeps_data(redis: Redis, object_store: ObjectStore, database: Database) -> Iterator[Mistake]:
    if redis.kind == "single":
        yield Mistake("redis.kind", '"single"', "`sentinel` or `external` in production")
    if object_store.kind == "embedded":
        yield Mistake("object_store.kind", '"embedded"', "`external` in production: one volume keeps it")
    if database.kind == "embedded":
        yield Mistake("database.kind", '"embedded"', "`external` in production")


def _production_is_trusted(
    edge: Edge, redis: Redis, object_store: ObjectStore, token_api: TokenApi
) -> Iterator[Mistake]:
    for index, origin in enumerate(token_api.cors_origins):
        if not origin.startswith("https://"):
            yield Mistake(
                f"token_api.cors_origins[{index}]",
                f'"{origin}"',
                "an https:// origin in production: whoever is on the way writes what others say",
            )
    if edge.tls.kind == "own_ca":
        yield Mistake(
            "edge.tls.kind",
            '"own_ca"',
            "`secret` or `cert_manager` in production: no browser trusts an authority of our own",
        )
    if edge.plain_localhost:
        yield Mistake("edge.plain_localhost", "true", "false in production: it serves without TLS")
    if redis.external is not None and not redis.external.tls:
        yield Mistake("redis.external.tls", "false", "true in production: its password crosses the network")
    if object_store.external is not None and not object_store.external.endpoint.startswith("https://"):
        yield Mistake(
            "object_store.external.endpoint",
            f'"{object_store.external.endpoint}"',
            "an https:// address in production: recordings and their keys cross the network",
        )


def _production_outlives_a_node(
    nodes: Sequence[Node], livekit: LiveKit, turn: Turn, edge: Edge, token_api: TokenApi
) -> Iterator[Mistake]:
    if len(nodes) < 2:
        yield Mistake(
            "nodes", "1 node", "at least 2 in production: with one, its end is the end of all calls"
        )
    for key, replicas in (
        ("livekit.replicas", livekit.replicas),
        ("turn.replicas", turn.replicas),
        ("edge.replicas", edge.replicas),
        ("token_api.replicas", token_api.replicas),
    ):
        if replicas == 1:
            yield Mistake(key, "1", "at least 2 in production: with one, its node's end is an outage")


def _images_have_a_registry(images: Images) -> Iterator[Mistake]:
    for name, image in images.references().items():
        # containerd would look for it at Docker Hub, where anybody may have put one of that name.
        if not has_registry(images.complete(image)):
            yield Mistake(
                f"images.{name}", f'"{image}"', "an image with its registry, or `images.registry` set"
            )


def _ports_are_free(ports: Ports) -> Iterator[Mistake]:
    for key, given, allowed in broken_rules(ports.claims()):
        yield Mistake(key, given, allowed)


def _secrets_differ(secrets: Secrets) -> Iterator[Mistake]:
    # Who holds one of them would hold another's power too.
    seen: dict[str, str] = {}
    for name, value in secrets.present().items():
        text = value.get_secret_value()
        if text in seen:
            yield Mistake(
                f"secrets.{name}",
                f"the same {len(text)} characters as secrets.{seen[text]}",
                "a secret of its own",
            )
        seen.setdefault(text, name)


# The sections a rule reads, and the rule, called with them in this order.
_Rules = tuple[tuple[tuple[str, ...], Callable[..., Iterator[Mistake]]], ...]
_RULES: _Rules = (
    (("environment", "domain"), _domain_is_found),
    (("nodes",), _nodes_differ),
    (("nodes", "livekit", "turn", "edge"), _replicas_fit),
    (("turn",), turn_rules.turn_is_used),
    (("environment", "turn"), turn_rules.turn_reaches_media_only),
    (("edge",), _edge_is_of_its_kind),
    (("turn", "ports"), turn_rules.turn_ports_fit),
    (("nodes", "turn", "edge", "ports"), turn_rules.relays_suffice),
    (("edge",), _tls_is_complete),
    (("livekit", "turn", "edge", "egress"), _requests_fit),
    (("network",), _networks_are_narrow),
    (("edge", "network"), _ingress_is_used),
    (("redis",), _redis_fits),
    (("redis",), _redis_is_complete),
    (("object_store",), _object_store_is_complete),
    (("egress", "images"), egress_rules.recorder_has_an_image),
    (("egress",), egress_rules.worker_accepts_requests),
    (("egress",), egress_rules.recordings_fit),
    (("egress",), egress_rules.retries_grow),
    (("egress",), egress_rules.autoscaling_is_complete),
    (("egress", "object_store", "secrets"), egress_rules.backup_is_complete),
    (("egress", "object_store"), egress_rules.identity_is_used),
    (("egress", "redis"), egress_rules.egress_networks_are_narrow),
    (("database",), token_api_rules.database_is_complete),
    (("recordings", "object_store"), token_api_rules.retention_has_a_key),
    (("livekit", "secrets"), token_api_rules.previous_key_is_complete),
    (("token_api", "secrets"), token_api_rules.previous_jwt_secret_has_its_kind),
    (("token_api", "database"), token_api_rules.one_replica_has_the_file),
    (("token_api",), token_api_rules.host_auth_is_complete),
    (("token_api",), token_api_rules.chat_is_complete),
    (("token_api", "database"), token_api_rules.token_api_networks_are_narrow),
    (("images",), _images_have_a_registry),
    (("ports",), _ports_are_free),
    (("secrets",), _secrets_differ),
    (("stack", "secrets"), required_secrets.common_secrets_exist),
    (("stack", "secrets", "redis"), required_secrets.redis_secrets_exist),
    (("stack", "secrets", "object_store"), required_secrets.object_store_secrets_exist),
    (("stack", "secrets", "token_api"), required_secrets.token_api_secrets_exist),
    (("stack", "domain", "edge", "certificates"), required_secrets.certificates_are_usable),
)
# What production refuses beside: whatever would lose data, trust or calls.
_PRODUCTION_RULES: _Rules = (
    (("redis", "object_store", "database"), _production_keeps_data),
    (("edge", "redis", "object_store", "token_api"), _production_is_trusted),
    (("nodes", "livekit", "turn", "edge", "token_api"), _production_outlives_a_node),
    (("egress",), egress_rules.production_keeps_recordings),
)


def broken(sections: Mapping[str, Any], stack: str) -> list[Mistake]:
    """All mistakes that the rules find in the valid `sections` (field name of PlatformConfig -> value).

    Args:
        stack: the stack's name, for the commands that a mistake names.
    """
    production = sections.get("environment") == "production"
    readable = {**sections, "stack": stack}
    return [
        mistake
        for names, rule in (*_RULES, *(_PRODUCTION_RULES if production else ()))
        if all(name in readable for name in names)
        for mistake in rule(*(readable[name] for name in names))
    ]
