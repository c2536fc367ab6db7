"""Methods of psrpc services and the names of their channels.

Facts: livekit/psrpc v0.7.2, `pkg/info/channels.go`; livekit/protocol, `rpc/egress.psrpc.go`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """A method of a service.

    Attributes:
        topic: part of the channels' names. It tells servers of the same method apart.
        queue: one of several subscribers takes each request.
        claim: a server claims a request, and answers it if the caller chooses that claim. Methods without
            claims are answered by every server that gets the request.
    """

    service: str
    name: str
    topic: str = ""
    queue: bool = False
    claim: bool = True

    @property
    def requests(self) -> str:
        """The channel of requests."""
        return channel(self.service, self.name, self.topic, "REQ")

    @property
    def choices(self) -> str:
        """The channel on which callers say which claim they chose."""
        return channel(self.service, self.name, self.topic, "RCLAIM")


def channel(*parts: str) -> str:
    """A channel's name: the parts that are not empty, with other characters than [0-9A-Za-z_] escaped."""
    return "|".join(re.sub(r"[^0-9A-Za-z_]", _escaped, part) for part in parts if part)


def _escaped(found: re.Match[str]) -> str:
    number = ord(found.group())
    return f"u+{number:04x}" if number < 0x10000 else f"U+{number:08x}"
