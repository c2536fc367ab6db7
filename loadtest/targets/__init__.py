"""What is put under load: a stack by its outputs, or any LiveKit server by its URL and key."""
