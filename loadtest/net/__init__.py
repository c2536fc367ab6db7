"""Clients as a network sees them: a namespace per client, plugged into the cluster's bridge."""
