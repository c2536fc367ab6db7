"""Samples the SFU nodes and this machine every two seconds, each in a thread, while a run goes on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from loadtest.result import GeneratorSample, SfuSample
from loadtest.run.announcing import Announcer
from loadtest.run.clock import RunClock
from loadtest.run.observer import Sampled
from loadtest.run.sampling import GeneratorSampler, SfuSampler, own_processes

_SECONDS = 2.0


class Sampler:
    """The samples so far.

    If a node hangs, a request to it takes seconds until the timeout. The machine is sampled in another thread
    meanwhile: without samples of the machine a run is invalid, and a bad server must not cause that.

    Attributes:
        problems: why samples are missing; a node that does not answer is no reason to end a run.
    """

    def __init__(
        self,
        sfu: SfuSampler,
        clock: RunClock,
        announce: Announcer,
    ) -> None:
        self.sfu: list[SfuSample] = []
        self.generator: list[GeneratorSample] = []
        self.problems: list[str] = []
        self._sfu = sfu
        self._generator = GeneratorSampler()
        self._clock = clock
        self._announce = announce
        self._unannounced: queue.SimpleQueue[SfuSample] = queue.SimpleQueue()
        self._end = threading.Event()

    def look_at_nodes(self) -> None:
        """Sample the SFU nodes once."""
        nodes, problems = self._sfu.sample(self._clock.now_s)
        self.sfu += nodes
        self.problems += [problem for problem in problems if problem not in self.problems]
        for node in nodes:
            self._unannounced.put(node)

    def look_at_machine(self) -> None:
        """Sample this machine once, and announce it with the node samples since the last announcement."""
        mine = self._generator.sample(self._clock.now_s, own_processes())
        if mine is not None:
            self.generator.append(mine)
            nodes = tuple(self._unannounced.get() for _ in range(self._unannounced.qsize()))
            self._announce(Sampled(nodes, mine))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Sample again and again while the block runs."""
        threads = [
            threading.Thread(target=self._repeat, args=(look,), name=look.__name__, daemon=True)
            for look in (self.look_at_machine, self.look_at_nodes)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._end.set()
            for thread in threads:
                thread.join()

    def _repeat(self, look: Callable[[], None]) -> None:
        while True:
            look()
            if self._end.wait(_SECONDS):
                return
