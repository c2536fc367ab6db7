"""`python3 -m turn_exporter`: serves the metrics until it is told to stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from prometheus_client import CollectorRegistry, start_http_server

from turn_exporter import stun
from turn_exporter.metrics import Counters, State
from turn_exporter.settings import BadEnvironment, Settings, read
from turn_exporter.store import Store
from turn_exporter.warning import Warnings

EX_CONFIG = 78  # of sysexits.h: the environment is not valid
# Prometheus waits for ten.
_TURN_ANSWER_SECONDS = 1.0
_WATCH_SECONDS = 5.0


def main() -> int:
    """Run until SIGTERM; gives the exit code where it cannot begin."""
    try:
        settings = read(os.environ)
    except BadEnvironment as error:
        print(error, file=sys.stderr)
        return EX_CONFIG
    # The first process of a container is not ended by a signal that it does not handle.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _serve(settings)
    return 0


def _serve(settings: Settings) -> None:
    address = str(settings.address)
    store = Store(settings.reports_socket)
    registry = CollectorRegistry()
    counters = Counters(registry)
    registry.register(
        State(
            answers=lambda: stun.answers(address, settings.turn_port, seconds=_TURN_ANSWER_SECONDS),
            draining=settings.draining_file.exists,
            allocations=store.allocations,
            limit=settings.allocations_limit,
        )
    )
    start_http_server(settings.metrics_port, address, registry)
    threading.Thread(target=_warn, args=(store, settings.allocations_limit), daemon=True).start()
    store.follow(counters.record)


def _warn(store: Store, limit: int) -> None:
    """Log when the server comes near its limit, whether or not somebody reads the metrics. For ever."""
    warnings = Warnings(limit)
    while True:
        allocations = store.allocations()
        line = None if allocations is None else warnings.look(len(allocations))
        if line is not None:
            print(line, flush=True)
        time.sleep(_WATCH_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
