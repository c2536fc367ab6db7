"""What the service counts, in Prometheus' terms. One registry per application, so none shares counts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, generate_latest
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

    def count_webhook(self, event: str) -> None:
        self.webhooks.labels(event if event in WEBHOOK_EVENTS else "other").inc()

    def render(self) -> bytes:
        """The text that a Prometheus server scrapes."""
        return generate_latest(self._registry)
