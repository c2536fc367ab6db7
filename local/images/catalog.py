"""The images that a local stack runs, under the names that the charts use.

Where a registry answers, the official image of that name is taken; `recipe` says how to make one
where none does.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from local.images.debian import Rootfs
from local.images.oci import ImageConfig
from local.paths import CHECKOUT, cache_dir
from local.toolchain import go_tools
from local.toolchain.go_tools import GoTool

NOBODY = "65532:65532"


@dataclass(frozen=True)
class Program:
    """A built tool at `path`, with further names for it beside it."""

    tool: GoTool
    path: str
    links: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return _hash(self.tool.key, self.path, *self.links)


@dataclass(frozen=True)
class DebianFile:
    """One file of a Debian package, with links to it (as busybox's applets)."""

    package: str
    member: str
    path: str
    links: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return _hash(self.package, self.member, self.path, *self.links, "with a record of the version")

    @property
    def packages_record(self) -> Path:
        """Records the version of the package that the file came from; see `debian_lock`."""
        return cache_dir() / "images" / "packages" / f"{self.package}-{self.key}.json"


@dataclass(frozen=True)
class Certificates:
    """The machine's CA certificates, for a program that calls https addresses."""

    path: str = "etc/ssl/certs/ca-certificates.crt"

    @property
    def key(self) -> str:
        return _hash(self.path, Path("/", self.path).read_bytes())


@dataclass(frozen=True)
class PythonPackages:
    """What a compiled requirements file names, for CPython 3.11, below `path`."""

    requirements: Path
    path: str

    @property
    def key(self) -> str:
        return _hash(self.path, self.requirements.read_bytes())


@dataclass(frozen=True)
class Source:
    """A Python package of this checkout, below `path`."""

    package: Path
    path: str

    @property
    def files(self) -> list[Path]:
        return [path for path in sorted(self.package.rglob("*")) if path.is_file() and is_importable(path)]

    @property
    def key(self) -> str:
        contents = [(str(path.relative_to(self.package)), path.read_bytes()) for path in self.files]
        return _hash(self.path, *(item for pair in contents for item in pair))


def is_importable(path: Path) -> bool:
    """Leaves out byte code and pip's notes, which record times and paths of this machine."""
    return "__pycache__" not in path.parts and path.name not in {"RECORD", "direct_url.json", "REQUESTED"}


def _hash(*inputs: str | bytes) -> str:
    digest = hashlib.sha256()
    for item in inputs:
        content = item if isinstance(item, bytes) else item.encode()
        digest.update(f"{len(content)}:".encode() + content)
    return digest.hexdigest()[:16]


Part = Rootfs | Program | DebianFile | Certificates | PythonPackages | Source


@dataclass(frozen=True)
class Image:
    """An image: its full reference, its layers from the bottom up, and what it runs.

    `ours` marks images that no registry has: they are always built.
    """

    reference: str
    parts: tuple[Part, ...]
    entrypoint: tuple[str, ...]
    user: str = ""
    env: dict[str, str] = field(default_factory=dict)
    ours: bool = False

    @property
    def repository(self) -> str:
        return self.reference.rpartition(":")[0]

    @property
    def tag(self) -> str:
        return self.reference.rpartition(":")[2]

    def config(self) -> ImageConfig:
        return ImageConfig(
            entrypoint=self.entrypoint,
            user=self.user,
            env=self.env,
            labels={
                "org.opencontainers.image.title": self.repository.rpartition("/")[2],
                "org.opencontainers.image.version": self.tag,
                BUILT_HERE_LABEL: "true",
            },
        )


# The names that go/kubernetes/main.go knows.
KUBERNETES_NAMES = (
    "etcd kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubeadm kubectl kubelet"
).split()
BUILT_HERE_LABEL = "livekit-platform.built-here"

# One layer for all: a blob that images share is stored and loaded once.
_KUBERNETES = Program(
    go_tools.KUBERNETES,
    "usr/local/bin/kubernetes",
    tuple(f"usr/local/bin/{name}" for name in KUBERNETES_NAMES),
)
_NETFILTER = Rootfs("netfilter", ("conntrack", "ipset", "iproute2", "iptables", "kmod", "nftables", "procps"))
# Debian's /etc/redis is closed to all but its own user; upstream's image has none, and charts mount there.
_REDIS = Rootfs("redis", ("redis-server",), without=("etc/redis",))
# bookworm's coturn knows no drain, and lets IPv4-mapped addresses past its peer rules (CVE-2026-27624).
_COTURN = Rootfs("coturn", ("ca-certificates", "coturn"), suite="forky")
# The official image also contains openssl, because its ca-certificates depend on it.
_HAPROXY = Rootfs("haproxy", ("haproxy", "openssl"), suite="trixie")
# Without the cluster that the package makes: each pod makes its own.
_POSTGRES = Rootfs("postgres", ("postgresql",), without=("etc/postgresql", "var/lib/postgresql"))
_PYTHON = Rootfs("python", ("ca-certificates", "python3"))
# The recorder draws names in all scripts.
_RECORDER_ROOT = Rootfs(
    "recorder",
    (
        "ca-certificates",
        "fonts-dejavu-core",
        "fonts-noto-color-emoji",
        "fonts-noto-ui-core",
        "fonts-open-sans",
        "fonts-wqy-microhei",
        "libfribidi0",
        "python3",
    ),
)
_TOKEN_API = CHECKOUT / "services" / "token-api"
_OBJECT_STORE_SETUP = CHECKOUT / "services" / "object-store-setup"
_TURN_EXPORTER = CHECKOUT / "services" / "turn-exporter"
_RECORDER = CHECKOUT / "services" / "recorder"
_LOADTEST = CHECKOUT / "loadtest"
# The applets that shells in test pods and the volume provisioner's helper pods call.
_APPLETS = """
    cat chmod chown cp date df dirname du echo env false find grep head hostname httpd id ip ls mkdir mktemp
    mount mv nc netstat nslookup ping printf ps rm rmdir sed sh sleep stat tail test timeout touch tr true
    umount uname
""".split()


def kubernetes_version() -> str:
    return go_tools.KUBERNETES.version


def etcd_tag() -> str:
    """The registry numbers builds of one etcd version; the first is -0."""
    etcd = GoTool("kubernetes", "./kubernetes", go_tools.ETCD_MODULE).version
    return f"{etcd.removeprefix('v')}-0"


def coredns_tag() -> str:
    return go_tools.COREDNS.version.removeprefix("v")


PAUSE_IMAGE = "registry.k8s.io/pause:3.10.1"


def cluster_images() -> list[Image]:
    """What a cluster runs before anything is deployed on it."""
    version = go_tools.KUBERNETES.version
    control_plane = [
        Image(f"registry.k8s.io/{name}:{tag}", (_KUBERNETES,), (f"/usr/local/bin/{name}",))
        for name, tag in {
            "kube-apiserver": version,
            "kube-controller-manager": version,
            "kube-scheduler": version,
            "etcd": etcd_tag(),
        }.items()
    ]
    return [
        *control_plane,
        Image(
            f"registry.k8s.io/kube-proxy:{version}",
            (_NETFILTER, _KUBERNETES),
            ("/usr/local/bin/kube-proxy",),
        ),
        Image(
            f"docker.io/coredns/coredns:{coredns_tag()}",
            (Program(go_tools.COREDNS, "coredns"),),
            ("/coredns",),
            user=NOBODY,
        ),
        Image(PAUSE_IMAGE, (Program(go_tools.PAUSE, "pause"),), ("/pause",), user="65535:65535"),
        Image(
            f"docker.io/cloudnativelabs/kube-router:{go_tools.KUBE_ROUTER.version}",
            (_NETFILTER, Program(go_tools.KUBE_ROUTER, "usr/local/bin/kube-router")),
            ("/usr/local/bin/kube-router",),
        ),
        Image(
            f"docker.io/rancher/local-path-provisioner:{go_tools.LOCAL_PATH_PROVISIONER.version}",
            (Program(go_tools.LOCAL_PATH_PROVISIONER, "usr/bin/local-path-provisioner"),),
            ("/usr/bin/local-path-provisioner",),
        ),
        Image(
            "docker.io/library/busybox:1.35.0",
            (
                DebianFile(
                    "busybox-static", "bin/busybox", "bin/busybox", tuple(f"bin/{a}" for a in _APPLETS)
                ),
            ),
            ("/bin/sh",),
        ),
    ]


def platform_images() -> list[Image]:
    """What the Pulumi program deploys."""
    return [
        Image(
            f"docker.io/livekit/livekit-server:{go_tools.LIVEKIT_SERVER.version}",
            (
                Certificates(),
                # As the official image has, for the script that bounds its drain.
                DebianFile(
                    "busybox-static", "bin/busybox", "bin/busybox", ("bin/sh", "bin/date", "bin/sleep")
                ),
                Program(go_tools.LIVEKIT_SERVER, "livekit-server"),
            ),
            ("/livekit-server",),
        ),
        Image(
            "docker.io/library/redis:7.0.15-bookworm",
            (_REDIS,),
            ("redis-server",),
            user="999:999",
        ),
        Image(
            "docker.io/coturn/coturn:4.18.0",
            (_COTURN,),
            ("turnserver",),
            user=NOBODY,
        ),
        Image("registry.k8s.io/build-image/distroless-iptables:v0.8.9", (_NETFILTER,), ("/usr/sbin/nft",)),
        Image(
            "docker.io/library/haproxy:3.0.11",
            (_HAPROXY,),
            ("haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"),
            user="99:99",
        ),
        Image(
            f"docker.io/versity/versitygw:{go_tools.VERSITYGW.version}",
            (Certificates(), Program(go_tools.VERSITYGW, "usr/local/bin/versitygw")),
            ("/usr/local/bin/versitygw",),
        ),
        token_api(),
        object_store_setup(),
        turn_exporter(),
        recorder(),
    ]


def token_api() -> Image:
    """The token service."""
    return _own_python_image("token-api", _TOKEN_API, Source(_TOKEN_API / "token_api", "app/token_api"))


def object_store_setup() -> Image:
    """What makes the bucket and proves the keys, as a Job."""
    return _own_python_image(
        "object-store-setup",
        _OBJECT_STORE_SETUP,
        Source(_OBJECT_STORE_SETUP / "object_store_setup", "app/object_store_setup"),
    )


def turn_exporter() -> Image:
    """What serves a TURN server's metrics, beside it."""
    return _own_python_image(
        "turn-exporter", _TURN_EXPORTER, Source(_TURN_EXPORTER / "turn_exporter", "app/turn_exporter")
    )


def recorder() -> Image:
    """The recording worker."""
    source = Source(_RECORDER / "recorder", "app/recorder")
    return _own_python_image("recorder", _RECORDER, source, root=_RECORDER_ROOT)


def postgres() -> Image:
    """Debian's PostgreSQL, for a pod of a test: no stack runs it, and `up` does not load it.

    It begins as root, for only root may become the user whose number the package chose.
    """
    reference = f"docker.io/livekit-platform/test-postgres:{_POSTGRES.key.partition('-')[0]}"
    return Image(reference, (_POSTGRES,), ("bash",), ours=True)


def loadtest() -> Image:
    """The load generator, as the pods of a Job run it. No stack needs it: `images-load` brings it."""
    return _own_python_image(
        "loadtest",
        _LOADTEST,
        Source(CHECKOUT / "common", "app/common"),
        Source(_LOADTEST, "app/loadtest"),
        module="loadtest.job",
    )


def _own_python_image(
    name: str, directory: Path, *sources: Source, module: str = "", root: Rootfs = _PYTHON
) -> Image:
    """Tagged by its content: a changed source is another image, and pods roll to it.

    Args:
        directory: where its requirements.txt is.
        module: what it runs; the only source's package where it is not given.
        root: the Debian packages below, with Python.
    """
    parts: tuple[Part, ...] = (
        root,
        PythonPackages(directory / "requirements.txt", "app/site-packages"),
        *sources,
    )
    digest = hashlib.sha256("".join(part.key for part in parts).encode())
    return Image(
        f"docker.io/livekit-platform/{name}:{digest.hexdigest()[:12]}",
        parts,
        ("python3", "-m", module or sources[0].package.name),
        user=NOBODY,
        env={
            "PYTHONPATH": "/app:/app/site-packages",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        ours=True,
    )


def all_images() -> list[Image]:
    return [*cluster_images(), *platform_images()]


def suites() -> set[str]:
    """The Debian suites that images are made of."""
    return {part.suite for image in all_images() for part in image.parts if isinstance(part, Rootfs)}


def debian_parts() -> list[Rootfs | DebianFile]:
    """All parts of images that come from Debian, including images of tests and of the load generator."""
    images = [*all_images(), postgres(), loadtest()]
    parts = [part for image in images for part in image.parts]
    return list(dict.fromkeys(part for part in parts if isinstance(part, Rootfs | DebianFile)))
