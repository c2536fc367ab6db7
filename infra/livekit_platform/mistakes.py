"""What a rule of the configuration says, and what several of them say alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

# Wider than this is no network of nodes, but everybody.
_WIDEST_NETWORK = 8


@dataclass(frozen=True)
class Mistake:
    """One refused value: its key without the project's prefix, what was given, and what is allowed."""

    key: str
    given: str
    allowed: str


def goes_with(key: str, value: object, kind: str, wanted: str, what: str) -> Iterator[Mistake]:
    """A key that one kind needs, and that means nothing with any other."""
    if kind == wanted and value is None:
        yield Mistake(key, "nothing", f"{what}, for kind `{wanted}`")
    yield from only_with(key, value, kind, wanted)


def only_with(key: str, value: object, kind: str, wanted: str) -> Iterator[Mistake]:
    """A key that means nothing but with one kind: whoever sets it expects what will not be."""
    if kind != wanted and value is not None:
        yield Mistake(key, f"a value, with kind `{kind}`", f"nothing, unless the kind is `{wanted}`")


def narrow(lists: Mapping[str, Sequence[IPv4Network]]) -> Iterator[Mistake]:
    """Networks, by the keys of their lists, of which each must leave somebody out."""
    for key, entries in lists.items():
        for index, entry in enumerate(entries):
            if entry.prefixlen < _WIDEST_NETWORK:
                yield Mistake(
                    f"{key}[{index}]",
                    f'"{entry}"',
                    f"a network of /{_WIDEST_NETWORK} or narrower: policies are there to keep others out",
                )
