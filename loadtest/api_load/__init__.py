"""Requests for tokens at a constant rate: an open loop in a process of its own, and what it found."""
