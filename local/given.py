"""A cluster that the user names, which is used instead of a local cluster."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import yaml

from local.paths import CHECKOUT


class NotReady(Exception):
    """The machine lacks something, or the named cluster cannot be used; one line per problem."""


@dataclass(frozen=True)
class GivenCluster:
    """A cluster that the user names. The ambient default context is never used."""

    kubeconfig: Path
    context: str | None

    @property
    def flags(self) -> list[str]:
        """The options with which `kubectl` connects to the cluster."""
        context = [f"--context={self.context}"] if self.context else []
        return [f"--kubeconfig={self.kubeconfig}", *context]


def given_cluster() -> GivenCluster | None:
    """The cluster named by LKP_KUBECONFIG and LKP_CONTEXT, or by Pulumi.local.yaml; None if none is named.

    Raises:
        NotReady: the named file does not exist.
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
