"""Which Debian packages were built, and how they differ from those that the tests last passed with."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from local import debian_lock
from local.debian_lock import built, differences, installed, parse, render, sentence
from local.images.catalog import DebianFile
from local.images.debian import Rootfs

_STATUS = """\
Package: haproxy
Status: install ok installed
Depends: libc6
 (>= 2.36)
Version: 3.0.11-1+deb13u4

Package: removed
Status: deinstall ok config-files
Version: 1.0

Package: libc6
Status: install ok installed
Version: 2.41-12
"""


def _write(rootfs: Rootfs, status: str = _STATUS) -> None:
    rootfs.tar.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(rootfs.tar, "w") as tar:
        member = tarfile.TarInfo("./var/lib/dpkg/status")
        member.size = len(status.encode())
        tar.addfile(member, io.BytesIO(status.encode()))


def test_what_dpkg_calls_installed_counts() -> None:
    assert dict(installed(_STATUS)) == {"haproxy": "3.0.11-1+deb13u4", "libc6": "2.41-12"}


def test_only_what_is_built_is_looked_at_and_each_tar_file_is_read_once() -> None:
    edge, other = Rootfs("haproxy", ("haproxy",)), Rootfs("redis", ("redis-server",))
    busybox = DebianFile("busybox-static", "bin/busybox", "bin/busybox")
    assert built([edge, other, busybox]) == {}
    _write(edge)
    busybox.packages_record.parent.mkdir(parents=True)
    busybox.packages_record.write_text('{"busybox-static": "1:1.35.0-4"}')
    expected = {
        ("haproxy", "haproxy"): "3.0.11-1+deb13u4",
        ("haproxy", "libc6"): "2.41-12",
        ("busybox-static", "busybox-static"): "1:1.35.0-4",
    }
    assert built([edge, other, busybox]) == expected
    edge.tar.write_bytes(b"not read again")
    assert built([edge, other, busybox]) == expected


def test_the_lock_is_sorted_and_read_back_as_it_was_written() -> None:
    versions = {("redis", "libc6"): "2.36", ("haproxy", "libc6"): "2.41", ("haproxy", "adduser"): "3"}
    text = render(versions)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == ["haproxy adduser 3", "haproxy libc6 2.41", "redis libc6 2.36"]
    assert parse(text) == versions


def test_a_damaged_lock_is_named_with_its_line() -> None:
    with pytest.raises(ValueError, match=r"debian\.lock, line 2: given 'haproxy 3'"):
        parse("# head\nhaproxy 3\n")


def test_what_is_built_elsewhere_than_here_is_no_difference() -> None:
    locked = {("haproxy", "haproxy"): "3.0", ("redis", "redis"): "7", ("haproxy", "libc6"): "2.41"}
    found = differences({("haproxy", "haproxy"): "3.1", ("haproxy", "new"): "1"}, locked)
    assert [str(one) for one in found] == [
        "haproxy 3.1 (locked 3.0)",
        "libc6 is not there (locked 2.41)",
        "new 1 (not in the lock)",
    ]
    assert differences(locked, locked) == []


def test_the_differences_are_one_short_sentence_and_a_package_counts_once() -> None:
    assert sentence([]) is None
    built = {("haproxy", "haproxy"): "2", **{(where, "libc6"): "2.42" for where in ("haproxy", "redis")}}
    locked = dict.fromkeys(built, "1")
    one = sentence(differences({("redis", "libc6"): "2"}, {("redis", "libc6"): "1"}))
    assert one == "1 Debian package differs from local/images/debian.lock: libc6 2 (locked 1)"
    assert sentence(differences(built, locked)) == (
        "2 Debian packages differ from local/images/debian.lock: haproxy 2 (locked 1), libc6 2.42 (locked 1)"
    )
    many = {("node", f"p{number}"): "2" for number in range(5)}
    assert sentence(differences(many, dict.fromkeys(many, "1"))) == (
        "5 Debian packages differ from local/images/debian.lock: "
        "p0 2 (locked 1), p1 2 (locked 1), p2 2 (locked 1), …"
    )


def test_the_lock_in_the_repository_covers_all_that_comes_from_debian() -> None:
    locked = parse(debian_lock.LOCK.read_text())
    assert {where for where, _ in locked} == {debian_lock.name_of(part) for part in debian_lock.parts()}
    for package in ("containerd", "coturn", "haproxy", "redis-server", "busybox-static"):
        assert any(name == package for _, name in locked), package
    assert debian_lock.LOCK.read_text() == render(locked)


def test_a_warning_is_given_where_a_package_is_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "debian.lock"
    edge = Rootfs("haproxy", ("haproxy",))
    monkeypatch.setattr(debian_lock, "LOCK", lock)
    monkeypatch.setattr(debian_lock, "parts", lambda: [edge])
    _write(edge)
    assert debian_lock.write() == 2
    assert debian_lock.warning() is None
    edge.packages_record.write_text(json.dumps({"haproxy": "3.0.11-1+deb13u5", "libc6": "2.41-12"}))
    assert debian_lock.warning() == (
        "1 Debian package differs from local/images/debian.lock: "
        "haproxy 3.0.11-1+deb13u5 (locked 3.0.11-1+deb13u4)"
    )
