"""Another Debian suite is taken from the mirror that the machine's apt names."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.images import debian

DEB822 = """\
Types: deb
# a comment, as images have
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""
ONE_LINE = "deb [arch=amd64] http://mirror.example/debian bookworm main\n"


@pytest.mark.parametrize("text", [DEB822, ONE_LINE], ids=["deb822", "one line"])
def test_the_mirror_is_the_machine_s(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = tmp_path / "debian.sources"
    given.write_text(text)
    monkeypatch.setattr(debian, "sources", lambda: [given])
    fields = dict(line.split(": ", 1) for line in debian.sources_of("forky").splitlines())
    assert fields["URIs"] == "http://mirror.example/debian"
    assert fields["Suites"] == "forky"
    assert fields["Signed-By"] == "/usr/share/keyrings/debian-archive-keyring.gpg"
    # Testing's index is out of date on a mirror that is a week behind.
    assert fields["Check-Valid-Until"] == "no"


def test_a_machine_without_the_suite_it_builds_from_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "security.list"
    given.write_text("deb http://mirror.example/debian-security bookworm-security main\n")
    monkeypatch.setattr(debian, "sources", lambda: [given])
    with pytest.raises(FileNotFoundError, match="bookworm"):
        debian.sources_of("forky")
