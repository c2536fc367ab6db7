"""Tools that are built from Go modules. One module, `go/`, requires them all.

With one module every dependency has one version, so the compiler compiles each shared package once: half as
much code as with a module per tool. `go install package@version` fails if that module has a `replace` in its
go.mod; requiring it from our own go.mod does not fail, and go.sum fixes what is built.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from common.commands import run
from local.lock import cache_lock
from local.paths import cache_dir

_SOURCES = Path(__file__).parent / "go"
# The largest, Kubernetes, takes about 5 minutes on two cores; a machine may be much slower.
_BUILD_SECONDS = 3600.0
_DOWNLOAD_SECONDS = 1800.0
_ENVIRONMENT = {"CGO_ENABLED": "0"}


@dataclass(frozen=True)
class GoTool:
    """One program.

    Attributes:
        name: its file name, and its directory in `go/` if its main.go is ours.
        package: what `go build` builds: an import path, or "./" and a directory for a main.go of ours.
        module: the required module whose version is the tool's; empty if the tool is all ours.
        stamps: linker variables that take that version, as a release build sets them.
        settings: further linker variables, each "name=value".
        embedded: JSON files of the module, by their paths in it. The build puts them beside our main.go,
            which embeds them, and beside the built program.
        release: the version, for a module that has no tag at the pinned commit.
    """

    name: str
    package: str
    module: str
    stamps: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    embedded: tuple[str, ...] = ()
    release: str = ""

    @property
    def version(self) -> str:
        """As pinned in go.mod, "v1.2.3"; "v0" for a program that is all ours."""
        if self.release:
            return self.release
        if not self.module:
            return "v0"
        pinned = re.search(
            rf"^(?:require )?\s*{re.escape(self.module)} (v\S+)",
            (_SOURCES / "go.mod").read_text(),
            re.MULTILINE,
        )
        if pinned is None:
            raise ValueError(f"{_SOURCES}/go.mod does not require {self.module}")
        return pinned[1]

    @property
    def ldflags(self) -> str:
        variables = [*(f"{stamp}={self.version}" for stamp in self.stamps), *self.settings]
        return " ".join(["-s", "-w", *(f"-X {variable}" for variable in variables)])

    @property
    def key(self) -> str:
        """Identifies the build's inputs: sources, pins and flags."""
        digest = hashlib.sha256(f"{self.package}\n{self.ldflags}\n".encode())
        for name in self.embedded:
            digest.update(name.encode())
        for path in (_SOURCES / "go.mod", _SOURCES / "go.sum", *sorted((_SOURCES / self.name).glob("*"))):
            digest.update(path.name.encode() + path.read_bytes())
        return digest.hexdigest()[:12]

    @property
    def path(self) -> Path:
        """Where the built program is, once it is built."""
        return cache_dir() / "tools" / f"{self.name}-{self.version}-{self.key}" / self.name

    @property
    def built(self) -> bool:
        return self.path.exists()

    def build(self) -> Path:
        """Build it into the cache, all or nothing. Static, and the same bytes for the same inputs.

        Only one compilation runs on this machine at a time, even with several checkouts. Two compilations
        would need twice the memory, and each would take twice as long.

        Raises:
            CommandFailed: with the output of the compiler or the module proxy.
            NeverHappened: another compilation did not end within an hour.
        """
        built = self.built
        with cache_lock("compilation"):
            if built or not self.built:  # another checkout may have built it meanwhile
                self._build()
        return self.path

    def download(self) -> None:
        """Download the modules of its packages into Go's module cache, before the compiler needs them.

        Raises:
            CommandFailed: with the output of the module proxy.
        """
        with tempfile.TemporaryDirectory() as scratch:
            run(
                ["go", "list", "-mod=readonly", "-deps", self.package],
                cwd=self._sources_in(Path(scratch)),
                env=_ENVIRONMENT,
                timeout=_DOWNLOAD_SECONDS,
            )

    def _build(self) -> None:
        self.path.parent.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.path.parent.parent) as scratch:
            made = Path(scratch) / "out" / self.name
            run(
                [
                    *("go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false"),
                    *("-ldflags", self.ldflags, "-o", made, self.package),
                ],
                cwd=self._sources_in(Path(scratch)),
                env=_ENVIRONMENT,
                timeout=_BUILD_SECONDS,
            )
            if self.path.parent.exists():
                shutil.rmtree(self.path.parent)
            made.parent.rename(self.path.parent)

    def embedded_file(self, name: str) -> Path:
        """The path of an embedded file in the module. Downloads the module if it is missing."""
        [path] = [path for path in self.embedded if Path(path).name == name]
        command = ["go", "mod", "download", "-json", self.module]
        module = json.loads(run(command, cwd=_SOURCES, timeout=_DOWNLOAD_SECONDS).stdout)
        return Path(module["Dir"]) / path

    def _sources_in(self, scratch: Path) -> Path:
        """The sources. If files are embedded, a copy that contains them: they are too large to commit."""
        if not self.embedded:
            return _SOURCES
        sources = scratch / "sources"
        shutil.copytree(_SOURCES, sources)
        (scratch / "out").mkdir()
        for name in (Path(path).name for path in self.embedded):
            compact = json.dumps(json.loads(self.embedded_file(name).read_text()), separators=(",", ":"))
            for directory in (sources / self.name, scratch / "out"):
                (directory / name).write_text(compact)
        return sources


KUBERNETES = GoTool(
    "kubernetes",
    "./kubernetes",
    "k8s.io/kubernetes",
    ("k8s.io/component-base/version.gitVersion", "k8s.io/client-go/pkg/version.gitVersion"),
)
ETCD_MODULE = "go.etcd.io/etcd/server/v3"
PULUMI = GoTool(
    "pulumi",
    "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    "github.com/pulumi/pulumi/pkg/v3",
    ("github.com/pulumi/pulumi/sdk/v3/go/common/version.Version",),
)
# Release 4.25.0, the last release whose module the Go proxy serves. The pin is a commit, because the tags of
# pulumi-kubernetes do not match the module path.
PULUMI_KUBERNETES = GoTool(
    "pulumi-resource-kubernetes",
    "./pulumi-resource-kubernetes",
    "github.com/pulumi/pulumi-kubernetes/provider/v4",
    ("github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version.Version",),
    embedded=(
        "cmd/pulumi-resource-kubernetes/schema.json",
        "cmd/pulumi-resource-kubernetes/terraform-mapping.json",
    ),
    release="v4.25.0",
)
# Helm takes charts' kubeVersion from the Kubernetes that it was built beside: here, by hand.
_MINOR = KUBERNETES.version.split(".")[1]
HELM = GoTool(
    "helm",
    "helm.sh/helm/v3/cmd/helm",
    "helm.sh/helm/v3",
    ("helm.sh/helm/v3/internal/version.version",),
    (
        "helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1",
        f"helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor={_MINOR}",
    ),
)
CRANE = GoTool(
    "crane", "github.com/google/go-containerregistry/cmd/crane", "github.com/google/go-containerregistry"
)
LIVEKIT_SERVER = GoTool(
    "livekit-server", "github.com/livekit/livekit-server/cmd/server", "github.com/livekit/livekit-server"
)
COREDNS = GoTool("coredns", "./coredns", "github.com/coredns/coredns")
KUBE_ROUTER = GoTool(
    "kube-router",
    "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router",
    "github.com/cloudnativelabs/kube-router/v2",
    ("github.com/cloudnativelabs/kube-router/v2/pkg/version.Version",),
)
LOCAL_PATH_PROVISIONER = GoTool(
    "local-path-provisioner",
    "github.com/rancher/local-path-provisioner",
    "github.com/rancher/local-path-provisioner",
    ("main.VERSION",),
)
PAUSE = GoTool("pause", "./pause", "")
VERSITYGW = GoTool(
    "versitygw",
    "github.com/versity/versitygw/cmd/versitygw",
    "github.com/versity/versitygw",
    ("main.Version",),
)
