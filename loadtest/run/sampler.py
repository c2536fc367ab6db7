"""Looks at the SFU nodes and at this machine every two seconds, in a thread, for as long as a run goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from loadtest.result import GeneratorSample, SfuSample
from loadtest.run.announcing import Announcer
from loadtest.run.clock import RunClock
from loadtest.run.observer import Sampled
from loadtest.run.sampling import GeneratorSampler, SfuSampler, own_processes

_SECONDS = 2.0


class Sampler:
    """The samples so far.

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
        self._end = threading.Event()

    def look(self) -> None:
        """One look at everything."""
        at_s = self._clock.now_s
        mine = self._generator.sample(at_s, own_processes())
        nodes, problems = self._sfu.sample(at_s)
        self.sfu += nodes
        self.problems += [problem for problem in problems if problem not in self.problems]
        if mine is not None:
            self.generator.append(mine)
            self._announce(Sampled(nodes, mine))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Look again and again while the block runs."""
        thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._end.set()
            thread.join()

    def _run(self) -> None:
        while True:
            self.look()
            if self._end.wait(_SECONDS):
                return
