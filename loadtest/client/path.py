"""Which way a client's media goes, read from its WebRTC statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from livekit.rtc import stats
from pydantic import BaseModel, ConfigDict

CandidateType: TypeAlias = Literal["host", "srflx", "prflx", "relay"]


class Candidate(BaseModel):
    """One end of the selected pair of ICE candidates.

    Attributes:
        protocol: between this candidate and the other: udp or tcp.
        relay_protocol: between the client and its TURN server, for a relay candidate; else empty.
        server_url: the STUN or TURN server that the candidate came from; else empty.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: CandidateType
    protocol: str
    relay_protocol: str
    address: str
    port: int
    server_url: str

    def __str__(self) -> str:
        via = f" by {self.server_url}" if self.type == "relay" else ""
        return f"{self.type} {self.protocol} {self.address}:{self.port}{via}"


class TransportPath(BaseModel):
    """The pair of candidates that a media connection has selected, and what the connection carried.

    Attributes:
        connection: which of the client's peer connections.
        bytes_sent, bytes_received: by the connection, over all its pairs. The two ends may select
            different pairs where several are alike (two TURN servers), so the selected one alone may
            have sent everything and received nothing.
        round_trip_ms: the latest one that ICE measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    connection: Literal["publisher", "subscriber"]
    local: Candidate
    remote: Candidate
    bytes_sent: int
    bytes_received: int
    round_trip_ms: float

    def __str__(self) -> str:
        return f"{self.local} → {self.remote}"


_TYPES: dict[int, CandidateType] = {
    stats.IceCandidateType.HOST: "host",
    stats.IceCandidateType.SRFLX: "srflx",
    stats.IceCandidateType.PRFLX: "prflx",
    stats.IceCandidateType.RELAY: "relay",
}
_RELAY_PROTOCOLS: dict[int, str] = {
    stats.IceServerTransportProtocol.TRANSPORT_UDP: "udp",
    stats.IceServerTransportProtocol.TRANSPORT_TCP: "tcp",
    stats.IceServerTransportProtocol.TRANSPORT_TLS: "tls",
}


def selected_paths(
    connection: Literal["publisher", "subscriber"], report: Sequence[stats.RtcStats]
) -> list[TransportPath]:
    """The paths that the statistics of one peer connection show as selected; none before it connects."""
    pairs = {
        item.candidate_pair.rtc.id: item.candidate_pair for item in report if item.HasField("candidate_pair")
    }
    local = {
        item.local_candidate.rtc.id: item.local_candidate
        for item in report
        if item.HasField("local_candidate")
    }
    remote = {
        item.remote_candidate.rtc.id: item.remote_candidate
        for item in report
        if item.HasField("remote_candidate")
    }
    selected = [
        (item.transport.transport, pairs[item.transport.transport.selected_candidate_pair_id].candidate_pair)
        for item in report
        if item.HasField("transport") and item.transport.transport.selected_candidate_pair_id in pairs
    ]
    return [
        TransportPath(
            connection=connection,
            local=_candidate(local[pair.local_candidate_id].candidate),
            remote=_candidate(remote[pair.remote_candidate_id].candidate),
            bytes_sent=transport.bytes_sent,
            bytes_received=transport.bytes_received,
            round_trip_ms=pair.current_round_trip_time * 1000,
        )
        for transport, pair in selected
        if pair.local_candidate_id in local and pair.remote_candidate_id in remote
    ]


def _candidate(found: stats.IceCandidateStats) -> Candidate:
    kind = _TYPES[found.candidate_type]
    return Candidate(
        type=kind,
        protocol=found.protocol,
        relay_protocol=_RELAY_PROTOCOLS[found.relay_protocol] if kind == "relay" else "",
        address=found.address,
        port=found.port,
        server_url=found.url,
    )
