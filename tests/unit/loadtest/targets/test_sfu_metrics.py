from loadtest.targets.sfu_metrics import NodeCounters, NodeLoad, parse_counters, parse_load

EXPOSITION = """\
# TYPE livekit_participant_join_total counter
livekit_participant_join_total{node_id="ND_1",node_type="SERVER",state="rtc_active"} 8
livekit_participant_join_total{node_id="ND_1",node_type="SERVER",state="signal_connected"} 2
# TYPE livekit_packet_total counter
livekit_packet_total{country="",direction="incoming",transmission="initial"} 1.5e+06
livekit_packet_total{country="",direction="incoming",transmission="retransmit"} 10
livekit_packet_total{country="",direction="outgoing",transmission="initial"} 99
# TYPE livekit_packet_bytes counter
livekit_packet_bytes{country="",direction="incoming",transmission="initial"} 7
"""


def test_counters_are_summed_over_the_labels_that_do_not_matter() -> None:
    assert parse_counters(EXPOSITION) == NodeCounters(
        signal_connections=2, media_sessions=8, packets_in=1_500_010
    )


def test_a_node_that_nobody_has_joined_has_counted_nothing() -> None:
    assert parse_counters("# nothing yet\n") == NodeCounters(0, 0, 0)


def test_the_difference_is_what_was_counted_in_between() -> None:
    assert NodeCounters(5, 7, 900) - NodeCounters(2, 3, 400) == NodeCounters(3, 4, 500)


# Of livekit-server 1.13.5, trimmed.
NODE = """\
# HELP livekit_forward_latency_ns
# TYPE livekit_forward_latency_ns histogram
livekit_forward_latency_ns_bucket{node_id="ND_1",node_type="SERVER",le="50000"} 0
# HELP livekit_packet_bytes
# TYPE livekit_packet_bytes counter
livekit_packet_bytes{country="",direction="incoming",node_id="ND_1",transmission="initial"} 2.3132026e+07
livekit_packet_bytes{country="",direction="outgoing",node_id="ND_1",transmission="initial"} 1.2066986e+07
livekit_packet_bytes{country="",direction="outgoing",node_id="ND_1",transmission="retransmit"} 14
# TYPE livekit_packet_loss_percent histogram
livekit_packet_loss_percent_sum{country="",direction="incoming",source="CAMERA",type="VIDEO"} 7
# TYPE livekit_packet_total counter
livekit_packet_total{country="",direction="incoming",node_id="ND_1",transmission="initial"} 31542
livekit_packet_total{country="",direction="outgoing",node_id="ND_1",transmission="initial"} 16488
livekit_packet_total{country="",direction="outgoing",node_id="ND_1",transmission="retransmit"} 12
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 8.77
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 1.1413504e+08
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1.7955405704e+09
"""


def test_what_a_node_uses_and_carries() -> None:
    assert parse_load(NODE) == NodeLoad(
        started_s=1795540570.4,
        cpu_s=8.77,
        memory_bytes=114135040,
        packets_in=31542,
        packets_out=16500,
        bytes_in=23132026,
        bytes_out=12067000,
    )
