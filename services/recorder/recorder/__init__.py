"""A recording worker for LiveKit: the Egress API without a browser."""
