"""What the service counts, in Prometheus' terms. One registry per application, so none shares counts."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

# LiveKit's names. Any other is counted as "other": a label must not grow with what is sent.
WEBHOOK_EVENTS = frozenset(
    {
        *("room_started", "room_finished"),
        *("participant_joined", "participant_left", "participant_connection_aborted"),
        *("track_published", "track_unpublished"),
        *("egress_started", "egress_updated", "egress_ended"),
        *("ingress_started", "ingress_ended"),
        *("agent_job_started", "agent_job_ended"),
    }
)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Seconds. A token is asked for while somebody waits; whatever takes ten seconds was waited for in vain.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The counters, each counting since this process started."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.tokens = Counter(
            "token_api_tokens", "LiveKit tokens handed out", ["role"], registry=self._registry
        )
        self.webhooks = Counter(
            "token_api_webhooks", "Webhooks accepted from LiveKit", ["event"], registry=self._registry
        )
        self.webhooks_refused = Counter(
            "token_api_webhooks_refused", "Webhooks refused", ["reason"], registry=self._registry
        )
        self.inbox_events = Counter(
            "token_api_inbox_events",
            "LiveKit's events worked on, by outcome: processed, put-back, parked",
            ["outcome"],
            registry=self._registry,
        )
        self.inbox_lag = Gauge(
            "token_api_inbox_lag_seconds",
            "Age of the oldest of LiveKit's events that waits",
            registry=self._registry,
        )
        self.deliveries = Counter(
            "token_api_deliveries",
            "Attempts to deliver a webhook, by outcome: delivered, failed, given-up, gone",
            ["outcome"],
            registry=self._registry,
        )
        self.outbox_lag = Gauge(
            "token_api_outbox_lag_seconds",
            "For how long the delivery that is most overdue has been due",
            registry=self._registry,
        )
        self.chat_messages = Counter(
            "token_api_chat_messages", "Chat messages written", ["role"], registry=self._registry
        )
        self.chat_relays = Counter(
            "token_api_chat_relays",
            "Packets of chat for rooms: sent, failed (tried again), given_up, no_room",
            ["outcome"],
            registry=self._registry,
        )
        self.join_failures = Counter(
            "token_api_join_failures",
            "Who did not get in: tokens refused by reason, and what clients told (client-…)",
            ["reason"],
            registry=self._registry,
        )
        self.quality_samples = Counter(
            "token_api_quality_samples", "Quality samples taken from clients", registry=self._registry
        )
        self.ejections = Counter(
            "token_api_ejections",
            "Participants put out of rooms, by why",
            ["reason"],
            registry=self._registry,
        )
        self.healings = Counter(
            "token_api_reconciler_healings",
            "What the reconciler put right, by kind",
            ["kind"],
            registry=self._registry,
        )
        self.reconciler_runs = Counter(
            "token_api_reconciler_runs", "Runs of the reconciler", ["outcome"], registry=self._registry
        )
        self.reconciler_seconds = Histogram(
            "token_api_reconciler_seconds", "Time that a run of the reconciler took", registry=self._registry
        )
        self.problems = Counter(
            "token_api_problems", "Requests that ended in a problem", ["kind"], registry=self._registry
        )
        self.in_flight = Gauge(
            "token_api_requests_in_flight", "Requests being worked on", registry=self._registry
        )
        self._requests = Histogram(
            "token_api_request_seconds",
            "Time until a request was answered, by its route's template",
            ["method", "route", "status"],
            buckets=_BUCKETS,
            registry=self._registry,
        )

    def watch_database(self, connections_in_use: Callable[[], int]) -> None:
        """Have `connections_in_use` asked at each scrape."""
        gauge = Gauge(
            "token_api_database_connections_in_use",
            "Connections of the pool that a transaction holds",
            registry=self._registry,
        )
        gauge.set_function(connections_in_use)

    def count_webhook(self, event: str) -> None:
        self.webhooks.labels(event if event in WEBHOOK_EVENTS else "other").inc()

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer. `route` is a template, never a path: a label must not grow with what is sent."""
        label = method if method in _METHODS else "other"
        self._requests.labels(label, route, str(status)).observe(seconds)

    def render(self) -> bytes:
        """The text that a Prometheus server scrapes."""
        return generate_latest(self._registry)
