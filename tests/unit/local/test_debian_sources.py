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
SECURITY_FIRST = """\
Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm-updates bookworm
Components: main contrib
"""
SUITES_FIRST = """\
types: deb
Suites: bookworm
Components: main
# another field between, over several lines
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEY865UxYJKwYBBAHaRw8BAQdAd7Z0srwuhlB6JKFkcf4HU4SSS
uris: http://mirror.example/debian
"""
SEVERAL_URIS = """\
Types: deb
URIs: http://mirror.example/debian http://second.example/debian
Architectures: amd64
Suites: bookworm
Components: main
"""
OTHERS_FIRST = """\
Types: deb
URIs: http://old.example/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb-src
URIs: http://sources.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://programs.example/debian
Suites: bookworm
Components: stable
\t
Types: deb
URIs:
  http://mirror.example/debian
Suites:
  bookworm
Components: main
"""
ONE_LINE = "deb [arch=amd64] http://mirror.example/debian bookworm main\n"
ONE_LINE_AMONG_OTHERS = """\
# deb http://old.example/debian bookworm main
deb-src http://sources.example/debian bookworm main
deb http://mirror.example/debian-security bookworm-security main
deb http://programs.example/debian bookworm stable
deb  [ arch=amd64 signed-by=/a.gpg ]  http://mirror.example/debian  bookworm  contrib main # the one
"""
_GIVEN = {
    "deb822": DEB822,
    "security first": SECURITY_FIRST,
    "suites first": SUITES_FIRST,
    "several addresses": SEVERAL_URIS,
    "others first": OTHERS_FIRST,
    "one line": ONE_LINE,
    "one line among others": ONE_LINE_AMONG_OTHERS,
}


@pytest.mark.parametrize("text", _GIVEN.values(), ids=_GIVEN)
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


@pytest.mark.parametrize(
    "text",
    [
        "deb http://mirror.example/debian-security bookworm-security main\n",
        "Types: deb\nURIs: http://mirror.example/\nSuites: bookworm-security\nComponents: main\n",
    ],
    ids=["one line", "deb822"],
)
def test_a_machine_without_the_suite_it_builds_from_is_told_so(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "security.list"
    given.write_text(text)
    monkeypatch.setattr(debian, "sources", lambda: [given])
    with pytest.raises(FileNotFoundError, match="bookworm"):
        debian.sources_of("forky")
