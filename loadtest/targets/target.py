"""What a run is directed at: the stack of this checkout by its outputs, or any LiveKit server by its URL.

A `Target` is all that the engine knows of either. What a foreign server has not (a token API, nodes with
metrics, a cluster) is None or empty, and a scenario that needs it says so before it starts.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from loadtest.net.bridge import ClientNetwork
from loadtest.net.firewall import Endpoint
from loadtest.net.host import HostNamespace, host_namespace
from loadtest.net.uplink import uplink
from loadtest.targets.bucket import Bucket
from loadtest.targets.egress import Egress
from loadtest.targets.outputs import StackOutputs, endpoint_of, host_of, is_under
from loadtest.targets.resolving import edge_client
from loadtest.targets.rooms import RoomService, TargetUnusable
from loadtest.targets.tokens import (
    Admission,
    ApiKey,
    TokenEndpoint,
    TokenRefused,
    admission_by_key,
    ask_admission,
    service_headers,
    token_url,
)

# LiveKit's own tools take http and https for the same.
_AS_SIGNALLED: Final = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_ALLOWED_URL: Final = "allowed is wss://host[:port] or ws://host[:port]"


@dataclass(frozen=True)
class Cluster:
    """Where the SFU pods of a stack run."""

    kubeconfig: Path
    namespace: str


@dataclass(frozen=True)
class Target:
    """A LiveKit to load.

    Attributes:
        description: for people and the report; no secrets.
        signal_url: what clients connect to.
        names: where its names are, beside what DNS knows.
        ca_certificate: the only authority that vouches for it, as PEM; empty for the machine's own.
        rooms: lists and deletes rooms.
        sfu_nodes: addresses of the nodes that give metrics; none for a foreign server.
        turn: the TURN servers, for firewalls that leave only them open; none where they are not known.
        token_endpoint: for the load on the API; None where tokens are made with the API key.
        cluster: None where the server's pods are out of reach.
        network: the bridge that the server's machine has for clients; None where it has none.
        bucket: where recordings go; None where it, or a key of it, is not known.
    """

    description: str
    signal_url: str
    names: Mapping[str, IPv4Address]
    ca_certificate: str = field(repr=False)
    rooms: RoomService
    sfu_nodes: tuple[IPv4Address, ...] = ()
    turn: tuple[Endpoint, ...] = ()
    token_endpoint: TokenEndpoint | None = None
    cluster: Cluster | None = None
    network: ClientNetwork | None = None
    bucket: Bucket | None = None
    _api: httpx.Client | None = field(default=None, repr=False)

    def admission(self, room: str, identity: str, *, publish: bool, subscribe: bool) -> Admission:
        """What one client needs to join; any thread may ask.

        From the token-api where there is one. Its publishers may subscribe too, so there a client that
        is not to do so must leave it by itself.

        Raises:
            TokenRefused: the token-api's answer was another one, or none.
        """
        if self._api is None or self.token_endpoint is None:
            return admission_by_key(
                self.rooms.key,
                url=self.signal_url,
                room=room,
                identity=identity,
                publish=publish,
                subscribe=subscribe,
            )
        try:
            return ask_admission(
                self._api,
                self.token_endpoint.url,
                room=room,
                identity=identity,
                role="publisher" if publish else "viewer",
            )
        except httpx.TransportError as error:
            raise TokenRefused(f"POST {self.token_endpoint.url}: {error or type(error).__name__}") from error

    @property
    def egress(self) -> Egress:
        rooms = self.rooms
        return Egress(rooms.url, rooms.key, rooms.names, rooms.ca_certificate)

    def delete_rooms(self, names: Iterable[str]) -> None:
        """Delete rooms, and put out who is in them. One that is already gone is no error.

        Raises:
            TargetUnusable: no proper answer from the token-api or the server.
        """
        names = list(names)
        if self._api is not None and self.token_endpoint is not None:
            # Otherwise it would make the rooms again for whoever still has a token.
            for name in names:
                _delete(self._api, self.token_endpoint.room_url(name))
        self.rooms.delete(names)

    def check(self) -> None:
        """See whether the server answers, is trusted, and takes the key.

        Raises:
            TargetUnusable: it does not; the message says which.
        """
        self.rooms.list_names()

    @contextmanager
    def client_network(self, *, links: bool) -> Iterator[ClientNetwork | HostNamespace]:
        """Where clients run, for as long as the block does.

        Args:
            links: whether any client has a link of its own: a profile other than `ideal`, a firewall, or
                a change of capacity. Without, clients of a foreign server run on the machine's own
                network, all in the one HostNamespace.

        Raises:
            NoUplink: this machine cannot lead a client network to the server.
        """
        if self.network is not None:
            yield self.network
        elif links:
            server, names = server_of(self.signal_url, self.names)
            with uplink(server, names=names, ca_certificate=self.ca_certificate) as network:
                yield network
        else:
            with host_namespace(names=self.names, ca_certificate=self.ca_certificate) as host:
                yield host


def _delete(client: httpx.Client, url: str) -> None:
    try:
        status = client.delete(url).status_code
    except httpx.TransportError as error:
        raise TargetUnusable(f"DELETE {url}: {error or type(error).__name__}") from error
    if status not in {204, 404}:
        raise TargetUnusable(f"DELETE {url}: {status}")


@contextmanager
def target_of_stack(outputs: StackOutputs) -> Iterator[Target]:
    """The stack that has these outputs. Its tokens come from its token-api."""
    names = _names_at_the_edge(outputs)
    endpoint = TokenEndpoint(
        url=token_url(outputs),
        service_key=outputs.api_service_key,
        names=names,
        ca_certificate=outputs.ca_certificate,
    )
    key = ApiKey(outputs.livekit_api_key, outputs.livekit_api_secret)
    with edge_client(outputs, headers=service_headers(outputs.api_service_key)) as client:
        yield Target(
            description=f"stack {outputs.domain}, {len(outputs.signal_urls)} SFU nodes",
            signal_url=outputs.signal_url,
            names=names,
            ca_certificate=outputs.ca_certificate,
            rooms=RoomService(outputs.signal_url, key, names, outputs.ca_certificate),
            sfu_nodes=tuple(outputs.address_of(host_of(url)) for url in outputs.signal_urls),
            turn=tuple(endpoint_of(url, outputs.address_of) for url in outputs.turn_urls),
            token_endpoint=endpoint,
            cluster=Cluster(outputs.kubeconfig_path, outputs.namespace),
            network=outputs.network_of_clients,
            bucket=_bucket(outputs, names),
            _api=client,
        )


@contextmanager
def target_of_url(url: str, *, key: str, secret: SecretStr, ca_file: Path | None = None) -> Iterator[Target]:
    """Any LiveKit server. Tokens are made with its API key.

    Args:
        url: `ws://host[:port]` or `wss://host[:port]`, as clients signal at it.
        ca_file: PEM with the only authority to trust for TLS; None for the machine's own.

    Raises:
        TargetUnusable: one of these is missing or wrong.
    """
    url = signalling_url(url)
    for name, value in (("--api-key", key), ("--api-secret", secret.get_secret_value())):
        if not value:
            raise TargetUnusable(
                f"{name} is missing: with --url, give a key and secret of the server's configuration"
            )
    authority = _authority(ca_file) if ca_file else ""
    rooms = RoomService(url, ApiKey(key, secret), {}, authority)
    yield Target(description=url, signal_url=url, names={}, ca_certificate=authority, rooms=rooms)


def signalling_url(url: str) -> str:
    """The URL as clients take it.

    Raises:
        TargetUnusable: it is none of a LiveKit server.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # urlsplit itself lets any pass
    except ValueError as error:
        raise TargetUnusable(f"--url is {url!r}: {error}; {_ALLOWED_URL}") from error
    scheme = _AS_SIGNALLED.get(parts.scheme)
    if scheme is None or not parts.hostname:
        raise TargetUnusable(f"--url is {url!r}; {_ALLOWED_URL}")
    if parts.username is not None or parts.query or parts.fragment:
        # Not shown: what stands there is often a secret.
        raise TargetUnusable(
            f"--url holds more than a server: {_ALLOWED_URL}; keys have options of their own"
        )
    return parts._replace(scheme=scheme).geturl().rstrip("/")


def server_of(url: str, names: Mapping[str, IPv4Address]) -> tuple[Endpoint, dict[str, IPv4Address]]:
    """Where signalling at `url` leads to, and what a client must resolve for it without DNS.

    Raises:
        TargetUnusable: the host has no IPv4 address.
    """
    host = host_of(url)
    known = dict(names)

    def address_of(host: str) -> IPv4Address:
        try:
            return IPv4Address(host)
        except ValueError:
            pass
        if host not in known:
            known[host] = IPv4Address(socket.gethostbyname(host))
        return known[host]

    try:
        return endpoint_of(url, address_of), known
    except OSError as error:
        raise TargetUnusable(
            f"host {host!r} of {url} has no IPv4 address ({error.strerror}); client networks have no other"
        ) from error


def _bucket(outputs: StackOutputs, names: Mapping[str, IPv4Address]) -> Bucket | None:
    """The stack's, with the key in its outputs, or else the one that the environment has for S3 tools."""
    access_key = outputs.s3_access_key or SecretStr(os.environ.get("AWS_ACCESS_KEY_ID", ""))
    secret_key = outputs.s3_secret_key or SecretStr(os.environ.get("AWS_SECRET_ACCESS_KEY", ""))
    if not access_key.get_secret_value() or not secret_key.get_secret_value():
        return None
    # Only names of the stack are under its own certificate authority.
    is_own = is_under(outputs.domain, host_of(outputs.s3_endpoint))
    return Bucket(
        endpoint=outputs.s3_endpoint,
        name=outputs.s3_bucket,
        region=os.environ.get("AWS_REGION", "us-east-1"),
        access_key=access_key,
        secret_key=secret_key,
        names=names,
        ca_certificate=outputs.ca_certificate if is_own else "",
    )


def _authority(file: Path) -> str:
    try:
        ssl.create_default_context(cafile=file)
        pem = file.read_text()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise TargetUnusable(
            f"--ca is {str(file)!r}; allowed is a PEM file of certificates ({error})"
        ) from error
    return pem


def _names_at_the_edge(outputs: StackOutputs) -> dict[str, IPv4Address]:
    """The stack's own names, where no DNS leads to them."""
    if not outputs.edge_addresses:
        return {}
    urls = (outputs.signal_url, outputs.api_url, outputs.s3_endpoint, *outputs.turn_urls)
    hosts = {host_of(url) for url in urls}
    return {host: outputs.address_of(host) for host in sorted(hosts) if is_under(outputs.domain, host)}
