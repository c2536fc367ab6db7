"""A cluster that the user names, in place of one that is made here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import yaml

from local.paths import CHECKOUT


class NotReady(Exception):
    """The machine lacks something, or what the user named cannot be used; one line per problem."""


@dataclass(frozen=True)
class GivenCluster:
    """A cluster that the user names; never the ambient default context."""

    kubeconfig: Path
    context: str | None

    @property
    def flags(self) -> list[str]:
        """What leads `kubectl` to it."""
        context = [f"--context={self.context}"] if self.context else []
        return [f"--kubeconfig={self.kubeconfig}", *context]


def given_cluster() -> GivenCluster | None:
    """From LKP_KUBECONFIG and LKP_CONTEXT, or from Pulumi.local.yaml; None where neither names one.

    Raises:
        NotReady: the named file is not there.
    """
    config = yaml.safe_load((CHECKOUT / "Pulumi.local.yaml").read_text()).get("config", {})
    path = os.environ.get("LKP_KUBECONFIG") or config.get("livekit-platform:kubeconfig")
    if not path:
        return None
    context = os.environ.get("LKP_CONTEXT") or config.get("livekit-platform:context")
    kubeconfig = Path(path).expanduser().absolute()
    if not kubeconfig.is_file():
        raise NotReady(f"kubeconfig: given {path!r}, which is no file; allowed is the path of a kubeconfig.")
    return GivenCluster(kubeconfig, context)
