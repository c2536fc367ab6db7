from loadtest.sfu_metrics import NodeCounters, parse_counters

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
