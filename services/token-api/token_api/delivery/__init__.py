"""How our own events reach the host application."""
