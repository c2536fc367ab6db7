"""Serves what a coturn does as Prometheus metrics, out of the reports that it sends to a Redis beside it."""
