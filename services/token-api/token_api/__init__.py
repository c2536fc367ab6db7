"""token-api: the HTTP service that a platform puts in front of LiveKit to hand out its tokens."""

VERSION = "0.1.0"
