"""The versions of Debian packages that the tests last passed with, compared with the versions built here.

A build installs the versions that the mirror has that day, and mirrors remove old versions. So the lock
records versions but cannot pin them. If a test fails, the differences show what else has changed.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.files import write_whole
from local.cluster import node_files
from local.images import build, catalog
from local.images.catalog import DebianFile
from local.images.debian import Rootfs

LOCK = Path(build.__file__).parent / "debian.lock"
_SHOWN = 3
_HEAD = (
    "# Debian packages that the tests last passed with. Each line: root file system (or the package that a\n"
    "# single file is taken from), package, version. Written by `make lock-debian`; see CONTRIBUTING.md.\n"
)
_DPKG_STATUS = "var/lib/dpkg/status"

# Versions by root file system (or package of a single file) and package.
Versions = Mapping[tuple[str, str], str]


@dataclass(frozen=True)
class Difference:
    """A package whose version here differs from the lock; a version is None where the package is missing."""

    where: str
    package: str
    built: str | None
    locked: str | None

    def __str__(self) -> str:
        return f"{self.package} {self.built or 'is not there'} ({_locked(self.locked)})"


def _locked(version: str | None) -> str:
    return f"locked {version}" if version else "not in the lock"


def parts() -> list[Rootfs | DebianFile]:
    """Every part of this project that comes from Debian packages."""
    return [node_files.ROOTFS, *catalog.debian_parts()]


def built(wanted: Iterable[Rootfs | DebianFile]) -> dict[tuple[str, str], str]:
    """The versions in the cache's root file systems and files; those that are not built are left out."""
    return {
        (name_of(part), package): version
        for part in wanted
        if (packages := _packages(part)) is not None
        for package, version in packages.items()
    }


def name_of(part: Rootfs | DebianFile) -> str:
    return part.name if isinstance(part, Rootfs) else part.package


def _packages(part: Rootfs | DebianFile) -> dict[str, str] | None:
    """The packages from the record beside the tar file, made once: reading a tar file takes a second."""
    record = part.packages_record
    try:
        return {str(package): str(version) for package, version in json.loads(record.read_text()).items()}
    except (FileNotFoundError, ValueError):
        if isinstance(part, DebianFile) or not part.tar.exists():
            return None
    with tarfile.open(part.tar) as tar:
        status = next(member for member in tar if member.name.removeprefix("./") == _DPKG_STATUS)
        content = tar.extractfile(status)
        if content is None:
            raise RuntimeError(f"{part.tar}: {_DPKG_STATUS} is no file")
        packages = dict(installed(content.read().decode()))
    write_whole(record, json.dumps(packages, indent=2, sort_keys=True))
    return packages


def installed(status: str) -> Iterator[tuple[str, str]]:
    """Package and version of every package that is installed by dpkg's status file. Pure."""
    for stanza in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Status", "").endswith(" installed"):
            yield fields["Package"], fields["Version"]


def render(versions: Versions) -> str:
    """The lock file. Pure."""
    lines = [f"{where} {package} {version}\n" for (where, package), version in sorted(versions.items())]
    return _HEAD + "".join(lines)


def parse(text: str) -> dict[tuple[str, str], str]:
    """Parse a lock file that `render` wrote. Pure.

    Raises:
        ValueError: a line does not have three words.
    """
    locked = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        words = line.split()
        if len(words) != 3:
            raise ValueError(
                f"{LOCK.name}, line {number}: given {line!r}, allowed is `WHERE PACKAGE VERSION`"
            )
        locked[words[0], words[1]] = words[2]
    return locked


def differences(built: Versions, locked: Versions) -> list[Difference]:
    """The differences between the built versions and the lock, without unbuilt root file systems. Pure."""
    present = {where for where, _ in built}
    both = sorted(built.keys() | {key for key in locked if key[0] in present})
    return [
        Difference(*key, built.get(key), locked.get(key)) for key in both if built.get(key) != locked.get(key)
    ]


def sentence(found: Sequence[Difference]) -> str | None:
    """All differences in one line; None if there are none. A package in many images counts once. Pure."""
    packages = list(dict.fromkeys(map(str, found)))
    if not packages:
        return None
    more = ", …" if len(packages) > _SHOWN else ""
    count = "1 Debian package differs" if len(packages) == 1 else f"{len(packages)} Debian packages differ"
    return f"{count} from local/images/debian.lock: {', '.join(packages[:_SHOWN])}{more}"


def warning() -> str | None:
    """One line with the differences from the lock, which may explain a failure; None if there are none."""
    return sentence(differences(built(parts()), parse(LOCK.read_text())))


def write() -> int:
    """Build missing root file systems and write the lock from all of them; returns the number of lines.

    Raises:
        CommandFailed: a root file system or a file could not be made.
    """
    for part in parts():
        if isinstance(part, Rootfs):
            part.build()
        elif _packages(part) is None:
            build.layer(part)
    versions = built(parts())
    write_whole(LOCK, render(versions))
    return len(versions)
