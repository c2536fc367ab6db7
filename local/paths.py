"""Where things are kept: a cache that any checkout shares, and a state of this checkout's own."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
_NAME = "livekit-platform"


def cache_dir() -> Path:
    """What can be made again: tools, images, root filesystems; shared by all checkouts."""
    return _xdg("XDG_CACHE_HOME", ".cache")


def state_root() -> Path:
    """What cannot be made again: one directory per instance."""
    return _xdg("XDG_STATE_HOME", ".local/state")


@contextmanager
def machine_lock(what: str) -> Iterator[None]:
    """Held while something is chosen that all checkouts take from one supply; the kernel releases it."""
    state_root().mkdir(parents=True, exist_ok=True)
    with (state_root() / f"{what}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _xdg(variable: str, fallback: str) -> Path:
    base = Path(os.environ.get(variable, ""))
    # The specification has a relative one ignored: it is another place in every working directory.
    return (base if base.is_absolute() else Path.home() / fallback) / _NAME


def instance_id(checkout: Path = CHECKOUT) -> str:
    """Six hex digits that name everything a checkout makes on this machine.

    They come from the checkout's path, so that two checkouts never share a namespace, bridge or
    cgroup. `LKP_INSTANCE` overrides them where several stacks of one checkout are wanted.

    Raises:
        ValueError: LKP_INSTANCE is no name that fits into a link's.
    """
    given = os.environ.get("LKP_INSTANCE")
    if given:
        if not re.fullmatch("[a-z0-9]{1,6}", given):
            raise ValueError(
                f"LKP_INSTANCE: given {given!r}, allowed are 1 to 6 lower-case letters and digits"
            )
        return given
    return hashlib.sha256(str(checkout).encode()).hexdigest()[:6]


@dataclass(frozen=True)
class Instance:
    """The files of one instance, all below its state directory."""

    id: str
    root: Path

    @classmethod
    def current(cls) -> Instance:
        name = instance_id()
        return cls(name, state_root() / name)

    @property
    def record(self) -> Path:
        """What was chosen when the cluster was made: see `cluster.topology`."""
        return self.root / "cluster.json"

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def nodes(self) -> Path:
        return self.root / "nodes"

    @property
    def lock(self) -> Path:
        """Beside the state directory, not in it: `down` removes that while holding the lock."""
        return self.root.parent / f"{self.id}.lock"

    @property
    def pulumi_backend(self) -> Path:
        return self.root / "pulumi"

    @property
    def passphrase(self) -> Path:
        return self.root / "passphrase"

    @property
    def stack_config(self) -> Path:
        """The generated stack configuration: the checkout's own plus what the cluster gives."""
        return self.root / "Pulumi.local.yaml"
