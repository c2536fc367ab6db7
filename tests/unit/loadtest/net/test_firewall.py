from ipaddress import IPv4Address

from loadtest.net.firewall import OPEN, Endpoint, OnlyTo, UdpBlocked, replacement, ruleset


def _rules(text: str | None, hook: str) -> list[str]:
    assert text is not None
    body = text.split(f"chain {hook} {{")[1].split("}")[0]
    return [line.strip() for line in body.splitlines() if line.strip()][1:]


def test_an_open_network_needs_no_rules() -> None:
    assert ruleset(OPEN) is None


def test_udp_is_dropped_in_both_directions() -> None:
    text = ruleset(UdpBlocked())
    assert _rules(text, "ingress") == _rules(text, "egress") == ["meta l4proto udp drop"]


def test_tcp_destinations_can_be_closed_with_it() -> None:
    text = ruleset(UdpBlocked((Endpoint("tcp", IPv4Address("10.99.0.11"), 3478),)))
    assert _rules(text, "egress") == ["meta l4proto udp drop", "ip daddr 10.99.0.11 tcp dport 3478 drop"]
    assert _rules(text, "ingress") == ["meta l4proto udp drop"]


def test_only_the_given_destinations_pass_and_the_rest_is_dropped_last() -> None:
    turn = Endpoint("udp", IPv4Address("10.99.0.11"), 3478)
    text = ruleset(OnlyTo((turn,)))
    assert _rules(text, "egress") == [
        "ip daddr 10.99.0.11 udp dport 3478 accept",
        "meta protocol != arp drop",
    ]
    assert _rules(text, "ingress") == [
        "ip saddr 10.99.0.11 udp sport 3478 accept",
        "meta protocol != arp drop",
    ]


def test_a_replacement_deletes_what_was_there_and_brings_the_new_rules_at_once() -> None:
    forget = "table netdev client_firewall {}\ndelete table netdev client_firewall\n"
    assert replacement(OPEN) == forget
    assert replacement(UdpBlocked()) == forget + (ruleset(UdpBlocked()) or "")
