"""What is said of a machine that lacks something: one sentence for what, one for the remedy."""

from __future__ import annotations

import os
import platform
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from common.commands import CommandFailed, Completed
from local import machine
from local.cluster import cgroups
from local.machine import Problem
from local.paths import CHECKOUT, cache_dir, state_root

_Usage = namedtuple("_Usage", "total used free")
_GIB = 1024**3


@pytest.fixture(autouse=True)
def good_machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A machine with everything, of which each test takes one thing away; files by path."""
    files = {"/proc/meminfo": f"MemTotal: 1 kB\nMemAvailable:    {16 * 1024**2} kB\n"}
    read = Path.read_text

    def read_text(path: Path, *words: str) -> str:
        return files[str(path)] if str(path) in files else read(path, *words)

    def access(path: str, mode: int) -> bool:
        assert (path, mode) == ("/sys/fs/cgroup", os.W_OK)
        return True

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "access", access)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Usage(100 * _GIB, 0, 100 * _GIB))
    monkeypatch.setattr(machine, "run", _go("go1.26.0"))
    monkeypatch.setattr(machine, "sources", list)
    monkeypatch.setattr(machine, "sources_of", str)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(cgroups, "is_v2", lambda: True)
    files["/sys/fs/cgroup/cgroup.controllers"] = "cpuset cpu io memory hugetlb pids\n"
    return files


def _go(version: str, toolchain: str = "auto") -> object:
    def run(argv: list[str], *, timeout: float) -> Completed:
        answers = {"GOVERSION": version, "GOTOOLCHAIN": toolchain}
        return Completed(
            tuple(argv), 0, "".join(f"{answers[name]}\n" for name in argv[2:] if name in answers), ""
        )

    return run


def _only() -> Problem:
    (problem,) = machine.problems()
    return problem


def _lacking(*names: str) -> object:
    return lambda name: None if name in names else f"/usr/bin/{name}"


def test_a_good_machine_has_no_problem() -> None:
    assert machine.problems() == []


def test_who_is_not_root_is_told_of_sudo_and_of_given_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    problem = _only()
    assert problem.what.startswith("You are not root")
    assert "livekit-platform:kubeconfig" in problem.remedy
    assert str(problem) == f"{problem.what} {problem.remedy}"


def test_a_container_without_privileges_cannot_make_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(argv: list[str], *, timeout: float, check: bool = True) -> Completed:
        if argv[0] == "unshare":
            raise CommandFailed(argv, "exited with 1", "", "unshare: Operation not permitted")
        return Completed(tuple(argv), 0, "go1.26.0\nauto\n", "")

    monkeypatch.setattr(machine, "run", run)
    problem = _only()
    assert problem.what == "Namespaces cannot be made here: exited with 1."
    assert "--privileged" in problem.remedy


def test_missing_controllers_are_named_on_v2(good_machine: dict[str, str]) -> None:
    good_machine["/sys/fs/cgroup/cgroup.controllers"] = "cpuset cpu io\n"
    problem = _only()
    assert problem.what == "The cgroup controllers memory, pids are missing."
    assert "cgroup_enable" in problem.remedy


def test_missing_controllers_are_named_on_v1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "is_v2", lambda: False)
    mounted = [Path("/sys/fs/cgroup", name) for name in ("cpu,cpuacct", "pids", "systemd")]
    monkeypatch.setattr(cgroups, "hierarchies", lambda: mounted)
    assert _only().what == "The cgroup controllers memory are missing."
    mounted.append(Path("/sys/fs/cgroup/memory"))
    assert machine.problems() == []


def test_a_read_only_cgroup_file_system_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    problem = _only()
    assert problem.what == "/sys/fs/cgroup is read-only."
    assert "--privileged" in problem.remedy


def test_no_cgroup_file_system_at_all_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cgroups, "_ROOT", tmp_path)
    monkeypatch.setattr(cgroups, "is_v2", lambda: False)
    assert _only().what == f"no cgroup hierarchy is mounted below {tmp_path}: mount cgroup v1 or v2 there."


def test_without_apt_there_are_no_root_file_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", _lacking("apt-get"))
    problem = _only()
    assert problem.what == "This is not Debian: there is no apt-get."
    assert "a cluster of your own" in problem.remedy


def test_neither_are_there_without_a_debian_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> list[Path]:
        raise FileNotFoundError("apt's sources name no Debian archive")

    monkeypatch.setattr(machine, "sources", none)
    assert _only().what == "apt's sources name no Debian archive."


def test_neither_are_there_without_a_mirror_of_every_suite_of_the_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At once, and not after half an hour of building."""
    asked: list[str] = []

    def none(suite: str) -> str:
        asked.append(suite)
        if suite == "trixie":
            raise FileNotFoundError(f"apt's sources name no mirror of {suite}")
        return ""

    monkeypatch.setattr(machine, "sources_of", none)
    assert _only().what == "apt's sources name no mirror of trixie."
    assert asked == ["forky", "trixie"]


def test_images_are_made_for_one_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert _only().what == "This machine is aarch64, and images are made for x86_64."


def test_go_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", _lacking("go"))
    assert str(_only()) == "Go is not on PATH. Install Go 1.25 or newer."


@pytest.mark.parametrize("version", ["go1.24.9", "go1.9", "devel +abc", ""])
def test_an_old_or_unknown_go_is_a_problem(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "run", _go(version))
    problem = _only()
    assert version in problem.what
    assert problem.remedy == "Install Go 1.25 or newer."


@pytest.mark.parametrize("version", ["go1.26rc1", "go1.26", "go1.100.0", "go2.0"])
@pytest.mark.parametrize("toolchain", ["auto", "local"])
def test_a_new_go_is_none(version: str, toolchain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "run", _go(version, toolchain))
    assert machine.problems() == []


def test_a_go_that_is_older_than_a_module_wants_must_be_free_to_fetch_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "run", _go("go1.25.3", "auto"))
    assert machine.problems() == []
    monkeypatch.setattr(machine, "run", _go("go1.25.3", "local"))
    problem = _only()
    assert "GOTOOLCHAIN=local" in problem.what
    assert problem.remedy == "Install Go 1.26, or `go env -w GOTOOLCHAIN=auto`."


def test_the_newest_go_of_the_modules_is_known() -> None:
    go_mod = Path(machine.__file__).parent / "toolchain" / "go" / "go.mod"
    (line,) = [line for line in go_mod.read_text().splitlines() if line.startswith("go ")]
    major, minor = line.removeprefix("go ").split(".")[:2]
    assert (int(major), int(minor)) == machine._GO_OF_MODULES


def test_what_is_checked_depends_on_what_is_to_be_done(
    good_machine: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A given cluster needs tools only; a running one has its memory already."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    good_machine["/proc/meminfo"] = ""
    assert len(machine.problems()) == 2
    assert [problem.what[:11] for problem in machine.problems(running=True)] == ["You are not"]
    assert machine.problems(cluster=False) == []
    monkeypatch.setattr(shutil, "which", _lacking("go"))
    assert [problem.what for problem in machine.problems(cluster=False)] == ["Go is not on PATH."]


def test_each_full_disk_is_named_with_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Usage(0, 0, int(1.5 * _GIB)))
    cache, state = machine.problems()
    assert cache.what == f"{cache_dir()} has 1.5 GiB free and needs {machine._CACHE_GIB}."
    assert state.what == f"{state_root()} has 1.5 GiB free and needs {machine._STATE_GIB}."
    assert "XDG_CACHE_HOME and XDG_STATE_HOME" in cache.remedy


def test_the_readme_asks_for_the_same_room() -> None:
    readme = " ".join((CHECKOUT / "README.md").read_text().split())
    asked = f"{machine._CACHE_GIB} GiB of disk for the cache and {machine._STATE_GIB} GiB for the state"
    assert f"2 cores, {machine._MEMORY_GIB} GiB of free memory, {asked}." in readme


def test_what_is_built_already_needs_little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Usage(0, 0, 7 * _GIB))
    assert f"needs {machine._CACHE_GIB}" in _only().what
    (cache_dir() / "images").mkdir(parents=True)
    assert machine.problems() == []


def test_too_little_memory_is_a_problem(good_machine: dict[str, str]) -> None:
    good_machine["/proc/meminfo"] = f"MemTotal: 99999999 kB\nMemAvailable: {3 * 1024**2} kB\n"
    problem = _only()
    assert problem.what == "3.0 GiB of memory are available, and 4 are needed."
    assert problem.remedy


def test_all_problems_are_told_at_once(good_machine: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", _lacking("apt-get", "go"))
    good_machine["/proc/meminfo"] = ""
    found = machine.problems()
    assert len(found) == 4
    assert all(problem.what.endswith(".") and problem.remedy.endswith(".") for problem in found)


def test_packages_are_those_whose_programs_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.missing_packages() == []
    monkeypatch.setattr(shutil, "which", _lacking("nft", "ip"))
    assert machine.missing_packages() == ["iproute2", "nftables"]


def test_a_program_that_is_not_on_path_is_looked_for_where_it_is(tmp_path: Path) -> None:
    wanted = {f"{tmp_path}/*/bin/initdb": "postgresql"}
    assert machine.missing_packages(wanted) == ["postgresql"]
    program = tmp_path / "15" / "bin" / "initdb"
    program.parent.mkdir(parents=True)
    program.touch()
    assert machine.missing_packages(wanted) == []
