"""Messages of the kernel's packet queue, against bytes written by hand from the kernel's headers."""

from __future__ import annotations

import struct

import pytest

from loadtest.net.emulation import nfqueue
from loadtest.net.emulation.nfqueue import Packet, QueueCounters


def test_binding_to_a_queue() -> None:
    assert nfqueue.bind(3) == bytes.fromhex(
        "1c000000 0203 0500 00000000 00000000"  # length 28, NFQNL_MSG_CONFIG, REQUEST|ACK, sequence, port
        "00 00 0003"  # any family, version 0, queue 3
        "0800 0100 01 00 0002"  # NFQA_CFG_CMD: BIND, AF_INET
    )


def test_asking_for_metadata_only() -> None:
    assert nfqueue.copy_metadata(0) == bytes.fromhex(
        "20000000 0203 0500 00000000 00000000 00 00 0000"
        "0900 0200 00000000 01 000000"  # NFQA_CFG_PARAMS: range 0, COPY_META, padding
    )


def test_setting_the_queues_length() -> None:
    assert nfqueue.maximum_length(0, 65536) == bytes.fromhex(
        "1c000000 0203 0500 00000000 00000000 00 00 0000 0800 0300 00010000"
    )


@pytest.mark.parametrize(("accept", "verdict"), [(True, "00000001"), (False, "00000000")])
def test_a_verdict(accept: bool, verdict: str) -> None:
    assert nfqueue.verdict(0, 0x01020304, accept=accept) == bytes.fromhex(
        "20000000 0103 0100 00000000 00000000 02 00 0000"  # NFQNL_MSG_VERDICT, REQUEST, AF_INET, queue 0
        f"0c00 0200 {verdict} 01020304"  # NFQA_VERDICT_HDR
    )


PACKET = (
    "0200 0000"  # AF_INET, version, queue 0
    "0b00 0100 00000007 0800 02 00"  # NFQA_PACKET_HDR: id 7, IPv4, FORWARD, padding
    "0800 0500 0000000c"  # NFQA_IFINDEX_INDEV 12
    "0800 0600 0000000d"  # NFQA_IFINDEX_OUTDEV 13
)
STAMP = "1400 0400 0000000000000064 0000000000000005"  # NFQA_TIMESTAMP: 100 s and 5 µs


def _datagram(body: str) -> bytes:
    payload = bytes.fromhex(body)
    return struct.pack("=IHHII", 16 + len(payload), 0x0300, 0, 0, 0) + payload


def test_a_packet_is_read() -> None:
    assert list(nfqueue.packets(_datagram(PACKET))) == [Packet(number=7, device=12, stamp_ns=None)]


def test_its_time_stamp_is_read_where_there_is_one() -> None:
    (packet,) = nfqueue.packets(_datagram(PACKET + STAMP))
    assert packet == Packet(number=7, device=12, stamp_ns=100_000_005_000)


def test_several_in_one_datagram_are_all_read() -> None:
    assert len(list(nfqueue.packets(_datagram(PACKET) + _datagram(PACKET + STAMP)))) == 2


def test_a_refusal_of_the_kernel_is_an_error() -> None:
    refusal = struct.pack("=IHHIIi", 36, 2, 0, 0, 0, -2) + bytes(16)
    with pytest.raises(OSError, match=r"packet queue: No such file or directory"):
        list(nfqueue.packets(refusal))


def test_an_acknowledgement_is_no_packet_and_no_error() -> None:
    assert list(nfqueue.packets(struct.pack("=IHHIIi", 36, 2, 0, 0, 0, 0) + bytes(16))) == []


def test_counters_are_those_of_the_queue() -> None:
    text = "    0  12345    17 1     0     2     3     4711  1\n    5   777     0 1     0     0     0  0  1\n"
    assert nfqueue.counters(text, 0) == QueueCounters(waiting=17, overruns=5)
    assert nfqueue.counters(text, 5) == QueueCounters(waiting=0, overruns=0)
    assert nfqueue.counters("", 0) == QueueCounters(waiting=0, overruns=0)
