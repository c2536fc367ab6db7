"""No file tells where packages are downloaded from: that is for each machine's own configuration to say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from common.commands import run
from local.paths import CHECKOUT

_ADDRESS = re.compile(r"\b(?:https?|ftp|git\+\w+)://", re.IGNORECASE)
# Options of pip and uv that name one.
_INDEX_OPTION = re.compile(r"^\s*(?:-i|-f|--(?:extra-)?index-url|--find-links|--trusted-host)\b")
# Written in halves, so that this file is not one that it finds.
_HOSTS = [
    f"{name}.{domain}"
    for name, domain in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("proxy.golang", "org"),
        ("sum.golang", "org"),
        ("deb.debian", "org"),
        ("security.debian", "org"),
        ("registry.npmjs", "org"),
        ("dl.k8s", "io"),
        ("get.pulumi", "com"),
        ("get.helm", "sh"),
        ("storage.googleapis", "com"),
        ("raw.githubusercontent", "com"),
    )
]
_KINDS = {
    "go modules": re.compile(r"(^|/)go\.(mod|sum|work)$"),
    "Python requirements": re.compile(r"(^|/)requirements[^/]*\.(txt|in)$"),
}
# None is there today; one that comes is looked at as well.
_FURTHER = re.compile(
    r"(^|/)(Dockerfile[^/]*|Containerfile|[^/]+\.lock|[^/]*-lock\.(json|ya?ml)|Chart\.lock)$"
)


def _tracked() -> list[str]:
    listed = run(["git", "ls-files", "-z"], cwd=CHECKOUT, timeout=30).stdout
    # A file that is deleted and not yet committed so is still listed.
    return [name for name in listed.split("\0") if name and (CHECKOUT / name).is_file()]


def _found(name: str, *patterns: re.Pattern[str]) -> list[str]:
    text = (CHECKOUT / name).read_text(errors="replace")
    return [
        f"{name}:{number}: {line.strip()}"
        for number, line in enumerate(text.splitlines(), 1)
        if any(pattern.search(line) for pattern in patterns)
    ]


@pytest.mark.parametrize("kind", _KINDS)
def test_what_pins_packages_names_no_address(kind: str) -> None:
    files = [name for name in _tracked() if _KINDS[kind].search(name)]
    assert files, f"no {kind} are tracked: is this the checkout?"
    assert [line for name in files for line in _found(name, _ADDRESS, _INDEX_OPTION)] == []


def test_nor_does_any_other_lock_file_or_recipe() -> None:
    files = [name for name in _tracked() if _FURTHER.search(name)]
    assert [line for name in files for line in _found(name, _ADDRESS)] == []


def test_no_tracked_file_names_a_package_registry() -> None:
    hosts = re.compile("|".join(map(re.escape, _HOSTS)), re.IGNORECASE)
    assert [line for name in _tracked() for line in _found(name, hosts)] == []


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://registry.test/simple",
        "-i https://registry.test/simple",
        "  --extra-index-url=a",
        "pkg @ https://registry.test/pkg.whl",
        "pkg @ git+ssh://registry.test/pkg",
        "# from HTTP://registry.test",
    ],
)
def test_what_is_looked_for_would_be_found(line: str, tmp_path: Path) -> None:
    assert _ADDRESS.search(line) or _INDEX_OPTION.search(line)
