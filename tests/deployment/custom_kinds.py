"""Kinds of an operator, which a cluster has as long as a test needs them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from common.commands import CommandFailed
from common.waiting import wait_until
from tests.deployment.kubectl import Kubectl


@contextmanager
def installed(kubectl: Kubectl, definitions: Sequence[Path]) -> Iterator[None]:
    """The kinds that are defined in these files. They are of the whole cluster.

    Raises:
        CommandFailed: the API server refused a definition.
        NeverHappened: a kind did not become available.
    """
    options = [word for file in definitions for word in ("-f", str(file))]
    kubectl("apply", "--server-side", *options, timeout=60)
    try:
        # Again where it failed: a kind that has no conditions at all yet ends `kubectl wait` at once.
        wait_until(
            lambda: kubectl("wait", "--for=condition=Established", *options, "--timeout=30s", timeout=40),
            timeout=90,
            describe="the kinds to be there",
            tolerate=(CommandFailed,),
        )
        yield
    finally:
        kubectl("delete", "--wait=true", *options, timeout=120)
