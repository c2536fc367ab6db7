"""Root filesystems and files out of Debian packages, from the mirror that the machine's apt uses."""

from __future__ import annotations

import hashlib
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.commands import run
from local.images.oci import EPOCH
from local.lock import cache_lock
from local.paths import cache_dir

SUITE = "bookworm"
# apt's words for it, as of a stanza's field `Enabled`.
_NO = {"no", "false", "without", "off", "disable"}
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
    def packages_record(self) -> Path:
        """Records the packages in the tar file and their versions; see `debian_lock`."""
        return self.tar.with_suffix(".packages.json")

    @property
    def directory(self) -> Path:
        """The unpacked tree, for what is entered in place; see `unpack`."""
        return cache_dir() / "rootfs" / f"{self.name}-{self._tar_key}"

    def build(self) -> Path:
        """Make the tar file in the cache, all or nothing. Uses one that another thread or checkout made.

        Raises:
            CommandFailed: with mmdebstrap's output (no such package, a mirror that does not answer).
        """
        with cache_lock(f"rootfs-{self.name}-{self._tar_key}"):
            if not self.tar.exists():
                self._build()
        return self.tar

    def _build(self) -> None:
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

    def unpack(self) -> Path:
        """The tree on disk. It is never written to, because nodes use it as the lower layer of overlays."""
        self.build()
        with cache_lock(f"unpack-{self.name}-{self._tar_key}"):
            if self.directory.exists():
                return self.directory
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
    mirrors = (mirror for path in sources() for mirror in _mirrors(path))
    mirror = next(mirrors, None)
    if mirror is None:
        raise FileNotFoundError(f"apt's sources name no mirror of {SUITE} that could have {suite}, too")
    return (
        f"Types: deb\nURIs: {mirror}\nSuites: {suite}\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        # Testing's index is good for a week only, and a mirror may be older than that. It is signed
        # all the same; a released suite's has no such date.
        "Check-Valid-Until: no\n"
    )


def _mirrors(path: Path) -> Iterator[str]:
    """The archives of Debian packages that a list of apt's takes `SUITE` itself from, main at least."""
    text = path.read_text()
    # In either form nothing looks like an entry of the other.
    for entry in [*_stanzas(text), *_lines(text)]:
        # Whole words: bookworm-security is another suite, on another archive.
        if "deb" in entry.types and SUITE in entry.suites and "main" in entry.components:
            yield from entry.uris


@dataclass(frozen=True)
class _Entry:
    """What one stanza or line of apt's lists says, word by word."""

    types: Sequence[str]
    uris: Sequence[str]
    suites: Sequence[str]
    components: Sequence[str]


def _stanzas(text: str) -> Iterator[_Entry]:
    """Of a `.sources` file (deb822): fields in any order and case, values over several lines."""
    # A comment is no empty line: it does not end a stanza.
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", kept):
        found = re.findall(r"^([^\s:]+):(.*(?:\n[ \t].*)*)", stanza, re.MULTILINE)
        fields = {name.lower(): value.split() for name, value in found}
        if not _NO.intersection(map(str.lower, fields.get("enabled", []))):
            names = ("types", "uris", "suites", "components")
            yield _Entry(*(fields.get(name, []) for name in names))


def _lines(text: str) -> Iterator[_Entry]:
    """Of a `.list` file: `deb [options] address suite component ...`."""
    for line in text.splitlines():
        found = re.match(r"\s*(deb|deb-src)\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s*([^#]*)", line)
        if found:
            yield _Entry([found[1]], [found[2]], [found[3]], found[4].split())


def extract_from_package(package: str, member: str, destination: Path) -> str:
    """Take one file out of a Debian package without installing it; returns the package's version.

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
        return run(["dpkg-deb", "-f", archive, "Version"], timeout=60).stdout.strip()
