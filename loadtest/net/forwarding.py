"""Lets answers from the outside pass on to client networks of this machine, and puts that back.

A machine passes packets on only where its devices say so (net.ipv4.conf.<device>.forwarding). Where the
device that answers come in at does not, it is switched on, for that device alone and for IPv4 alone; and
nothing but answers may pass from there, so that the machine becomes no router for its neighbours.

The devices that were switched on stand as a set in an nftables table of their own, which is the only
record: whoever takes away the last uplink puts them back, also when another process had switched them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from common.commands import run

_TABLE: Final = "livekit_uplinks"
_SET: Final = "switched_on"
_SECONDS: Final = 10.0


def let_answers_in(devices: Iterable[str]) -> tuple[str, ...]:
    """Switch forwarding on at these devices where it is off, and give back at which it was.

    Raises:
        CommandFailed: no nftables, or not root.
        OSError: the machine does not let its settings be changed.
    """
    off = tuple(device for device in devices if switch(device).read_text().strip() == "0")
    for device in off:
        # The rule first: the device is at no moment open for more than answers.
        run(["nft", "-f", "-"], timeout=_SECONDS, input=_ruleset(device))
        switch(device).write_text("1")
    return off


def switched_on() -> tuple[str, ...]:
    """The devices at which forwarding was off before."""
    done = run(["nft", "-j", "list", "set", "ip", _TABLE, _SET], timeout=_SECONDS, check=False)
    return _elements(done.stdout) if done.ok else ()


def put_back() -> None:
    """Switch off what was switched on. A device that is gone is no error."""
    for device in switched_on():
        if switch(device).exists():
            switch(device).write_text("0")
    run(["nft", "delete", "table", "ip", _TABLE], timeout=_SECONDS, check=False)


def switch(device: str) -> Path:
    """The file that says whether what comes in at a device may pass on."""
    return Path("/proc/sys/net/ipv4/conf", device, "forwarding")


def _ruleset(device: str) -> str:
    """Input for `nft -f -` that adds to what is there. The chain is emptied first, to hold its rule once."""
    return (
        f"add table ip {_TABLE}\n"
        f"add set ip {_TABLE} {_SET} {{ type ifname; }}\n"
        f'add element ip {_TABLE} {_SET} {{ "{device}" }}\n'
        f"add chain ip {_TABLE} forward {{ type filter hook forward priority 0; policy accept; }}\n"
        f"flush chain ip {_TABLE} forward\n"
        f"add rule ip {_TABLE} forward iifname @{_SET} ct state {{ new, invalid, untracked }} drop\n"
    )


def _elements(listing: str) -> tuple[str, ...]:
    """The elements of the one set in what `nft -j list set` prints."""
    for entry in json.loads(listing)["nftables"]:
        if "set" in entry:
            return tuple(entry["set"].get("elem", ()))
    return ()
