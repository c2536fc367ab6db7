"""Root filesystems and files out of Debian packages, from the mirror that the machine's apt uses."""

from __future__ import annotations

import hashlib
import re
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from common.commands import run
from local.images.oci import EPOCH
from local.paths import cache_dir

SUITE = "bookworm"
# A slow mirror may take minutes; on the reference machine it takes 15 to 60 s.
_BOOTSTRAP_SECONDS = 1800.0
# Documentation and translations are half of a minimal Debian and of no use in a container.
_EXCLUDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")


@dataclass(frozen=True)
class Rootfs:
    """A minimal Debian with `packages` in it, as one tar file.

    Its key covers what is asked for, not what the mirror answers: a package's newer version enters
    when the cache is emptied or the list changes, not at a random `make up`.
    """

    name: str
    packages: tuple[str, ...]
    without: tuple[str, ...] = ()  # paths that an image made of it leaves out, relative to its root
    suite: str = SUITE

    @property
    def key(self) -> str:
        """Identifies the layer of an image."""
        return "-".join([self._tar_key, *self.without]).replace("/", "_")

    @property
    def _tar_key(self) -> str:
        wanted = "\n".join([self.suite, *sorted(self.packages), *_EXCLUDED])
        return hashlib.sha256(wanted.encode()).hexdigest()[:12]

    @property
    def tar(self) -> Path:
        return cache_dir() / "rootfs" / f"{self.name}-{self._tar_key}.tar"

    @property
    def directory(self) -> Path:
        """The unpacked tree, for what is entered in place; see `unpack`."""
        return cache_dir() / "rootfs" / f"{self.name}-{self._tar_key}"

    def build(self) -> Path:
        """Make the tar file in the cache, all or nothing.

        Raises:
            CommandFailed: with mmdebstrap's words (a package that is not there, a dead mirror).
        """
        self.tar.parent.mkdir(parents=True, exist_ok=True)
        lists = sources() if self.suite == SUITE else []
        with tempfile.TemporaryDirectory(dir=self.tar.parent) as scratch:
            made = Path(scratch) / "rootfs.tar"
            if self.suite != SUITE:
                other = Path(scratch) / "other.sources"
                other.write_text(sources_of(self.suite))
                lists = [other]
            excluded = [f"--dpkgopt=path-exclude={pattern}" for pattern in _EXCLUDED]
            packages = f"--include={','.join(sorted(self.packages))}"
            run(
                [
                    *("mmdebstrap", "--mode=root", "--variant=minbase", packages, *excluded),
                    *("--aptopt=APT::Install-Recommends false", "--aptopt=Acquire::Retries 3"),
                    *(self.suite, str(made), *map(str, lists)),
                ],
                env={"SOURCE_DATE_EPOCH": str(EPOCH), "TMPDIR": scratch},
                timeout=_BOOTSTRAP_SECONDS,
            )
            made.rename(self.tar)
        return self.tar

    def unpack(self) -> Path:
        """The tree on disk, read only by agreement: nodes lay overlays over it."""
        if not self.directory.exists():
            if not self.tar.exists():
                self.build()
            scratch = Path(tempfile.mkdtemp(dir=self.tar.parent))
            with tarfile.open(self.tar) as tar:
                files = (member for member in tar if not (member.ischr() or member.isblk()))
                # mmdebstrap's own output, made by this machine's apt from signed packages.
                tar.extractall(scratch, members=files, filter="fully_trusted")  # noqa: S202
            scratch.chmod(0o755)
            scratch.rename(self.directory)
        return self.directory


def sources() -> list[Path]:
    """apt's own lists of Debian archives: no address of a mirror is ours to know.

    Raises:
        FileNotFoundError: apt names no Debian archive.
    """
    candidates = [
        Path("/etc/apt/sources.list"),
        *sorted(Path("/etc/apt/sources.list.d").glob("*.list")),
        *sorted(Path("/etc/apt/sources.list.d").glob("*.sources")),
    ]
    found = [path for path in candidates if path.exists() and SUITE in path.read_text()]
    debian = [path for path in found if "debian" in path.read_text()]
    if not debian:
        raise FileNotFoundError(
            f"apt's sources name no Debian {SUITE} archive: looked in /etc/apt/sources.list*"
        )
    return debian


def sources_of(suite: str) -> str:
    """apt's configuration for another suite on the mirror that this machine takes `SUITE` from.

    Raises:
        FileNotFoundError: apt names no Debian archive.
    """
    for path in sources():
        text = path.read_text()
        stanza = re.search(rf"^URIs:\s*(\S+)\s*\nSuites:\s*{SUITE}\b.*$", text, re.MULTILINE)
        line = re.search(rf"^deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+{SUITE}\s", text, re.MULTILINE)
        found = stanza or line
        if found:
            return (
                f"Types: deb\nURIs: {found[1]}\nSuites: {suite}\nComponents: main\n"
                "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
                # Testing's index is good for a week only, and a mirror may be older than that. It is signed
                # all the same; a released suite's has no such date.
                "Check-Valid-Until: no\n"
            )
    raise FileNotFoundError(f"apt's sources name no mirror of {SUITE} that could have {suite}, too")


def extract_from_package(package: str, member: str, destination: Path) -> Path:
    """Take one file out of a Debian package without installing it.

    Args:
        member: path in the package, such as "bin/busybox".
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent) as scratch:
        # apt fetches as the user _apt where it can: let it write here.
        shutil.chown(scratch, "_apt")
        run(["apt-get", "download", package], cwd=Path(scratch), timeout=300)
        (archive,) = Path(scratch).glob("*.deb")
        run(["dpkg-deb", "-x", archive, Path(scratch) / "tree"], timeout=60)
        (Path(scratch) / "tree" / member).rename(destination)
    return destination
