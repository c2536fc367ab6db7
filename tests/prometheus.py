"""What a Prometheus endpoint says."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families


def samples(text: str) -> dict[str, float]:
    """Values by name and labels' values, in the order of labels: `turn_bytes_total{received,peer}`."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values = ",".join(value for _, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{values}}}" if values else sample.name] = sample.value
    return found
