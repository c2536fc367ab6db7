"""What a node has beyond Debian: Kubernetes, its own start scripts, and containerd's configuration."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from local.images.catalog import KUBERNETES_NAMES, PAUSE_IMAGE
from local.images.debian import Rootfs
from local.paths import cache_dir
from local.toolchain.go_tools import KUBERNETES

ROOTFS = Rootfs(
    "node",
    (
        *("ca-certificates", "conntrack", "containerd", "containernetworking-plugins", "ethtool", "ipset"),
        *("iproute2", "iptables", "kmod", "mount", "procps", "runc", "tini", "util-linux"),
    ),
)
_SCRIPTS = Path(__file__).parent / "node"


def directory() -> Path:
    """The tree that is laid over `ROOTFS`, in the cache, named by its inputs."""
    inputs = [KUBERNETES.key, PAUSE_IMAGE, *(path.read_text() for path in sorted(_SCRIPTS.iterdir()))]
    return cache_dir() / "rootfs" / f"node-files-{hashlib.sha256(''.join(inputs).encode()).hexdigest()[:12]}"


def make() -> Path:
    """Put the tree together, all or nothing."""
    final = directory()
    if final.exists():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=final.parent))
    scratch.chmod(0o755)
    binaries = scratch / "usr/local/bin"
    binaries.mkdir(parents=True)
    os.link(KUBERNETES.path, binaries / "kubernetes")
    for name in KUBERNETES_NAMES:
        (binaries / name).symlink_to("kubernetes")
    scripts = scratch / "usr/local/lib/node"
    scripts.mkdir(parents=True)
    for name in ("init.sh", "kubelet.sh"):
        shutil.copy(_SCRIPTS / name, scripts / name)
    configuration = scratch / "etc/containerd/config.toml"
    configuration.parent.mkdir(parents=True)
    configuration.write_text((_SCRIPTS / "containerd.toml").read_text().replace("@PAUSE_IMAGE@", PAUSE_IMAGE))
    scratch.rename(final)
    return final
