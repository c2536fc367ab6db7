from google.protobuf.json_format import ParseDict
from livekit.rtc import stats

from loadtest.client.path import selected_paths

HOST = {"address": "10.99.0.128", "port": 1, "candidate_type": "HOST", "protocol": "udp"}
RELAY = {
    "address": "10.99.0.11",
    "port": 40001,
    "candidate_type": "RELAY",
    "protocol": "udp",
    "relay_protocol": "TRANSPORT_TCP",
    "url": "turn:10.99.0.11:3478?transport=tcp",
}
SERVER = {"address": "10.99.0.11", "port": 7882, "candidate_type": "PRFLX", "protocol": "udp"}


def _report(*, selected: str) -> list[stats.RtcStats]:
    def pair(identifier: str, local: str, **numbers: float | bool) -> dict[str, object]:
        ends = {"local_candidate_id": local, "remote_candidate_id": "server"}
        return {"candidate_pair": {"rtc": {"id": identifier}, "candidate_pair": {**ends, **numbers}}}

    entries: list[dict[str, object]] = [
        {
            "transport": {
                "transport": {
                    "selected_candidate_pair_id": selected,
                    "bytes_sent": 9070,
                    "bytes_received": 80,
                }
            }
        },
        # The other end may send over a pair that this one did not select; the connection has both.
        pair("old", "host", bytes_sent=9000, bytes_received=80, nominated=True),
        pair("new", "relay", bytes_sent=70, current_round_trip_time=0.25),
        {"local_candidate": {"rtc": {"id": "host"}, "candidate": HOST}},
        {"local_candidate": {"rtc": {"id": "relay"}, "candidate": RELAY}},
        {"remote_candidate": {"rtc": {"id": "server"}, "candidate": SERVER}},
    ]
    return [ParseDict(entry, stats.RtcStats(), ignore_unknown_fields=False) for entry in entries]


def test_the_path_is_the_pair_that_the_transport_selected() -> None:
    [path] = selected_paths("publisher", _report(selected="new"))
    assert (path.local.type, path.local.relay_protocol, path.local.port) == ("relay", "tcp", 40001)
    assert path.local.server_url == "turn:10.99.0.11:3478?transport=tcp"
    assert (path.remote.type, path.remote.protocol, path.remote.port) == ("prflx", "udp", 7882)
    assert (path.bytes_sent, path.bytes_received, path.round_trip_ms) == (9070, 80, 250)


def test_a_host_candidate_has_no_relay_protocol() -> None:
    [path] = selected_paths("subscriber", _report(selected="old"))
    assert (path.local.type, path.local.relay_protocol, path.local.server_url) == ("host", "", "")


def test_before_a_pair_is_selected_there_is_no_path() -> None:
    assert selected_paths("publisher", _report(selected="")) == []
    assert selected_paths("publisher", []) == []
