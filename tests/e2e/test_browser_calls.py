"""A real browser talks through the deployed stack: over TURN/TLS on the edge's port, and by the doors.

The `livekit` SDK trusts no CA of one's own for TURN over TLS; Chromium does. So that path is proven here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Error

from loadtest.client.path import TransportPath
from loadtest.client.process import client_process
from loadtest.client.protocol import ClientConfig, Joined
from loadtest.net.bridge import ClientNetwork
from loadtest.net.firewall import Endpoint, OnlyTo
from loadtest.net.namespace import client_namespace
from loadtest.targets.outputs import StackOutputs, endpoint_of
from loadtest.targets.tokens import make_admission
from tests.e2e.call import MARKED_MEDIA, room_name
from tests.e2e.chromium import chromium
from tests.e2e.page import call_page

_JOIN_SECONDS = 40.0
_MEDIA_SECONDS = 40.0
_HELD_SECONDS = 4.0
_PICTURES = 30


@dataclass(frozen=True)
class BrowserCall:
    """What came of a call between a page and the SDK's client.

    Attributes:
        paths: the ways that the page's media took.
        decoded_by_page, decoded_by_peer: pictures of the other.
    """

    paths: tuple[TransportPath, ...]
    decoded_by_page: int
    decoded_by_peer: int


def test_relay_only_by_turn_over_tls_through_the_edge(
    outputs: StackOutputs,
    client_network: ClientNetwork,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    turns = _turns_url(outputs)
    with (
        client_namespace(client_network, firewall=OnlyTo((_edge(outputs),))) as walled,
        chromium(tmp_path / "home", trusting=outputs.ca_certificate, namespace=walled) as browser,
    ):
        call = _talk(
            outputs,
            client_network,
            browser,
            origin=f"https://{outputs.domain}",
            url=outputs.signal_url,
            transport="relay",
            logs=tmp_path,
        )
    record_property("browser_path", "; ".join(map(str, call.paths)))
    nodes = {endpoint_of(url).address for url in outputs.signal_urls}
    for path in call.paths:
        assert (path.local.type, path.local.relay_protocol) == ("relay", "tls"), f"{path}"
        assert path.local.server_url == turns, f"{path}"
        assert IPv4Address(path.remote.address) in nodes, f"{path}"
    _assert_both_ways(call)


def test_a_browser_without_the_ca_does_not_get_past_signalling(
    outputs: StackOutputs, client_network: ClientNetwork, tmp_path: Path
) -> None:
    with (
        client_namespace(client_network, firewall=OnlyTo((_edge(outputs),))) as walled,
        chromium(tmp_path / "home", trusting="", namespace=walled) as browser,
        call_page(browser, f"https://{outputs.domain}", log=tmp_path / "page.log") as page,
        pytest.raises(Error, match="could not establish signal connection"),
    ):
        page.join(
            make_admission(outputs, url=outputs.signal_url, room=room_name(), identity="browser"), "relay"
        )
    assert "ERR_CERT_AUTHORITY_INVALID" in (tmp_path / "page.log").read_text()


@pytest.mark.parametrize("trusting", [True, False], ids=["with the CA", "without the CA"])
def test_turn_over_tls_stands_or_falls_with_the_ca(
    outputs: StackOutputs, client_network: ClientNetwork, tmp_path: Path, trusting: bool
) -> None:
    """Signalling goes past the edge in the clear here, so that it is the relay that decides."""
    node = outputs.signal_urls[0]
    with (
        client_namespace(client_network, firewall=OnlyTo((_edge(outputs), endpoint_of(node)))) as walled,
        chromium(
            tmp_path / "home", trusting=outputs.ca_certificate if trusting else "", namespace=walled
        ) as browser,
        # An https page may not signal in the clear; one of localhost may, and has a camera all the same.
        call_page(browser, "http://localhost", log=tmp_path / "page.log") as page,
    ):
        admission = make_admission(outputs, url=node, room=room_name(), identity="browser")
        if trusting:
            page.join(admission, "relay")
            assert page.paths(), "it joined, and no path is selected"
        else:
            with pytest.raises(Error, match="could not establish pc connection"):
                page.join(admission, "relay")


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_a_browser_of_this_machine_talks_through_the_doors(
    outputs: StackOutputs, client_network: ClientNetwork, tmp_path: Path, scheme: Literal["https", "http"]
) -> None:
    assert outputs.browser_urls is not None, "`make outputs` has no browser_urls: no door is open"
    origin = outputs.browser_urls.https if scheme == "https" else outputs.browser_urls.http
    with chromium(tmp_path / "home", trusting=outputs.ca_certificate) as browser:
        call = _talk(
            outputs,
            client_network,
            browser,
            origin=origin,
            url=urlsplit(origin)._replace(scheme={"https": "wss", "http": "ws"}[scheme]).geturl(),
            transport="all",
            from_network=True,
            logs=tmp_path,
        )
    _assert_both_ways(call)


def _talk(
    outputs: StackOutputs,
    client_network: ClientNetwork,
    browser: Browser,
    *,
    origin: str,
    url: str,
    transport: Literal["all", "relay"],
    logs: Path,
    from_network: bool = False,
) -> BrowserCall:
    """A page at `origin` and a client of the SDK, which nothing stands in the way of, send and receive."""
    room = room_name()
    peer_admission = make_admission(outputs, url=outputs.signal_url, room=room, identity="peer")
    with (
        client_namespace(client_network) as open_network,
        client_process(
            "peer",
            ClientConfig(
                url=peer_admission.url, token=peer_admission.token, publish=MARKED_MEDIA, subscribe=True
            ),
            namespace=open_network,
            log=logs / "peer.log",
        ) as peer,
        call_page(browser, origin, log=logs / "page.log", from_network=from_network) as page,
    ):
        peer.wait_for(Joined, timeout=_JOIN_SECONDS)
        page.join(make_admission(outputs, url=url, room=room, identity="browser"), transport)
        page.wait_for_frames(_PICTURES, timeout=_MEDIA_SECONDS)
        peer.run_for(_HELD_SECONDS)
        decoded = page.wait_for_frames(_PICTURES, timeout=1)
        paths = page.paths()
        peer.finish()
    seen = [video for second in peer.recording.measured for video in second.video]
    assert {video.publisher for video in seen} == {"browser"}, seen
    # The fake camera's pictures have no marker, and count as unreadable.
    return BrowserCall(paths, decoded, sum(video.unreadable for video in seen))


def _assert_both_ways(call: BrowserCall) -> None:
    assert call.paths, "the page's statistics show no selected pair of candidates"
    assert sum(path.bytes_sent for path in call.paths) > 0
    assert sum(path.bytes_received for path in call.paths) > 0
    assert call.decoded_by_page >= _PICTURES, call
    assert call.decoded_by_peer >= _PICTURES, call


def _edge(outputs: StackOutputs) -> Endpoint:
    return endpoint_of(outputs.signal_url, outputs.address_of)


def _turns_url(outputs: StackOutputs) -> str:
    """The one URL of TURN over TLS, which is at the edge's own port: nothing else passes the firewall."""
    [url] = [url for url in outputs.turn_urls if url.startswith("turns:")]
    assert endpoint_of(url, outputs.address_of) == _edge(outputs), f"{url} is not at the edge"
    return url
