"""One WebRTC client in a process of its own, and the handle by which a test or a scenario holds it."""
