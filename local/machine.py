"""What this machine must have before anything is built, and how to get what is missing."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from common.commands import CommandFailed, run
from local.cluster import cgroups
from local.images import catalog
from local.images.debian import SUITE, sources, sources_of
from local.paths import cache_dir, state_root

_GIB = 1024**3
_CACHE_GIB = 15  # after a cold run: Go's caches 10.2, ours 4.0 (images, root file systems, tools, Python)
_STATE_GIB = 6  # two nodes' disks take 5.2
_MEMORY_GIB = 4  # two nodes with a control plane take about 2 GiB, a Go linker another 1.5
_GO = (1, 25)
# The version that toolchain/go/go.mod requires. Go downloads it itself if GOTOOLCHAIN allows that.
_GO_OF_MODULES = (1, 26)

# Program to the Debian package that has it: what `make up` installs itself.
HOST_PACKAGES = {
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "sysctl": "procps",
    "nft": "nftables",
    "socat": "socat",
}
# The same for what load runs: what sends packets to the link emulator, and what measures a link.
LOAD_PACKAGES = {"iptables-nft": "iptables", "irtt": "irtt"}
# The same for what only tests run: a browser, what tells it of a CA, and what fetches its library.
TEST_PACKAGES = {"chromium": "chromium", "certutil": "libnss3-tools", "npm": "npm", **LOAD_PACKAGES}
# And the servers that token-api is tested with. PostgreSQL's programs are off PATH, by versions.
TEST_PACKAGES |= {"/usr/lib/postgresql/*/bin/initdb": "postgresql", "redis-server": "redis-server"}
# And what the recorder is tested with: its image's fonts, a reader of its files, and an RTMP server.
_FONTS = "/usr/share/fonts/truetype"
TEST_PACKAGES |= {
    f"{_FONTS}/dejavu/DejaVuSans-Bold.ttf": "fonts-dejavu-core",
    f"{_FONTS}/noto/NotoColorEmoji.ttf": "fonts-noto-color-emoji",
    f"{_FONTS}/noto/NotoSansThaiUI-Bold.ttf": "fonts-noto-ui-core",
    f"{_FONTS}/open-sans/OpenSans-Semibold.ttf": "fonts-open-sans",
    f"{_FONTS}/wqy/wqy-microhei.ttc": "fonts-wqy-microhei",
    "/usr/lib/*/libfribidi.so.0": "libfribidi0",
    "ffprobe": "ffmpeg",
    "/usr/*/nginx/modules/ngx_rtmp_module.so": "libnginx-mod-rtmp",
}


@dataclass(frozen=True)
class Problem:
    """One thing that is missing, and how to get it: each a sentence."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}"


def problems(*, cluster: bool = True, running: bool = False, images: bool = False) -> list[Problem]:
    """All that stands in the way, in the order in which it matters.

    Args:
        cluster: whether one is to be made here; a given one needs tools only.
        running: whether it runs already, and has its memory.
        images: whether images are to be made, also without a cluster.
    """
    checks: list[Callable[[], Iterable[Problem]]] = [_go, _disk]
    if images and not cluster:
        checks = [_root, _debian, *checks]
    if cluster:
        checks = [_root, _namespaces, _cgroups, _debian, *checks, *([] if running else [_memory])]
    return [problem for check in checks for problem in check()]


def _root() -> Iterable[Problem]:
    if os.geteuid() != 0:
        yield Problem(
            "You are not root, and nodes are made of namespaces and mounts.",
            "Run it by sudo, or configure a cluster of your own: `livekit-platform:kubeconfig`.",
        )


def _namespaces() -> Iterable[Problem]:
    try:
        run(["unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "true"], timeout=10)
    except CommandFailed as error:
        yield Problem(
            f"Namespaces cannot be made here: {error.reason}.",
            "In a container, start it with --privileged.",
        )


def _cgroups() -> Iterable[Problem]:
    try:
        needed = {"cpu", "memory", "pids"}
        if cgroups.is_v2():
            available = set(Path("/sys/fs/cgroup/cgroup.controllers").read_text().split())
        else:
            available = {name for path in cgroups.hierarchies() for name in path.name.split(",")}
        if needed - available:
            yield Problem(
                f"The cgroup controllers {', '.join(sorted(needed - available))} are missing.",
                "Enable them on the kernel's command line (cgroup_enable=memory).",
            )
        elif not os.access("/sys/fs/cgroup", os.W_OK):
            yield Problem("/sys/fs/cgroup is read-only.", "In a container, start it with --privileged.")
    except RuntimeError as error:
        yield Problem(f"{error}.", "On Debian, systemd does so at boot.")


def _debian() -> Iterable[Problem]:
    remedy = "Root filesystems are made of its packages: use such a machine, or a cluster of your own."
    if platform.machine() != "x86_64":
        yield Problem(f"This machine is {platform.machine()}, and images are made for x86_64.", remedy)
    if shutil.which("apt-get") is None:
        yield Problem("This is not Debian: there is no apt-get.", remedy)
        return
    try:
        sources()
        for suite in sorted(catalog.suites() - {SUITE}):
            sources_of(suite)
    except FileNotFoundError as error:
        yield Problem(f"{error}.", remedy)


def _go() -> Iterable[Problem]:
    if shutil.which("go") is None:
        yield Problem("Go is not on PATH.", f"Install Go {_spoken(_GO)} or newer.")
        return
    version, toolchain = run(["go", "env", "GOVERSION", "GOTOOLCHAIN"], timeout=30).stdout.split("\n")[:2]
    found = re.match(r"go(\d+)\.(\d+)", version)
    have = (int(found[1]), int(found[2])) if found else (0, 0)
    if have < _GO:
        yield Problem(f"Go is {version}.", f"Install Go {_spoken(_GO)} or newer.")
    elif have < _GO_OF_MODULES and toolchain == "local":
        yield Problem(
            f"Go is {version}, and GOTOOLCHAIN=local forbids it to fetch {_spoken(_GO_OF_MODULES)}.",
            f"Install Go {_spoken(_GO_OF_MODULES)}, or `go env -w GOTOOLCHAIN=auto`.",
        )


def _spoken(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _disk() -> Iterable[Problem]:
    # What is built already needs no room again.
    wanted = {cache_dir(): 2 if (cache_dir() / "images").exists() else _CACHE_GIB, state_root(): _STATE_GIB}
    for path, gibibytes in wanted.items():
        path.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path).free / _GIB
        if free < gibibytes:
            yield Problem(
                f"{path} has {free:.1f} GiB free and needs {gibibytes}.",
                "Free some, or point XDG_CACHE_HOME and XDG_STATE_HOME at another disk.",
            )


def _memory() -> Iterable[Problem]:
    available = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    gibibytes = int(available[1]) * 1024 / _GIB if available else 0.0
    if gibibytes < _MEMORY_GIB:
        yield Problem(
            f"{gibibytes:.1f} GiB of memory are available, and {_MEMORY_GIB} are needed.",
            "End what you do not need, or use a larger machine.",
        )


def missing_packages(wanted: Mapping[str, str] = HOST_PACKAGES) -> list[str]:
    """Debian packages whose programs are not there; `wanted` is program to package.

    A program is looked for on PATH; one with an absolute path is looked for there, `*` being any name.
    """
    return sorted({package for program, package in wanted.items() if not _is_there(program)})


def _is_there(program: str) -> bool:
    if program.startswith("/"):
        return any(Path("/").glob(program.removeprefix("/")))
    return shutil.which(program) is not None


def install_packages(packages: list[str]) -> None:
    """By apt-get, from the mirrors that it is configured for.

    Raises:
        CommandFailed: with apt-get's words.
    """
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], timeout=600, env=quiet)
    install = ["apt-get", "install", "-qq", "--yes", "--no-install-recommends"]
    run([*install, *packages], timeout=1200, env=quiet)
