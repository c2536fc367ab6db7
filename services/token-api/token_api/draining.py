"""That the service is about to stop: whoever sends it requests is to learn of it while it still answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Draining:
    """`begun` is set once, by `server`; from then on `/readyz` says that the service is not ready."""

    begun: bool = False
