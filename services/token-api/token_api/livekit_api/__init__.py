"""LiveKit's server API: what this service asks of it, and nothing of how it is spoken."""
