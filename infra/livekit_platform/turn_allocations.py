"""How many TURN allocations clients hold at a server, and for how long. Pure."""

from __future__ import annotations

# Clients with two peer connections ask each server for one allocation by UDP, TCP and TLS for each of them.
# tests/e2e/test_turn_allocations.py counts what Chromium and the SDK really hold: 3, with one connection.
ALLOCATIONS_OF_A_JOIN = 6
# Half as many more: while ICE restarts, old allocations live beside the new ones.
ALLOCATIONS_OF_A_USER = ALLOCATIONS_OF_A_JOIN * 3 // 2
# An allocation that nobody gives up or refreshes ends after so many seconds: coturn's shortest lifetime.
LIFETIME_SECONDS = 600
# Without a packet for so many seconds, a flow of UDP is not counted any more. UDP does not tell when a client
# has left: a longer time would count more who have left, and a shorter one fewer who are silent.
FORGOTTEN_SECONDS = 150
# Measured with 2,000 allocations by UDP: 23 KiB of memory for each, and what coturn needs without any.
ALLOCATION_BYTES = 24 * 1024
MEMORY_BYTES = 32 * 2**20


def most_of_one_address(limit: int, servers: int, edges: int) -> int:
    """How many allocations one client address can hold at one server.

    Args:
        limit: `turn.allocations_per_address`, for UDP, for TCP and at each edge; 0: there is none.
        servers: how many TURN servers there are.
        edges: how many edges lead TURN over TLS to them, in equal parts.

    Returns:
        By UDP it can begin as many anew whenever those before are forgotten, until the first ones end.
    """
    by_udp = limit * (LIFETIME_SECONDS // FORGOTTEN_SECONDS)
    return by_udp + limit + -(-limit * edges // servers)
