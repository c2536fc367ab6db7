"""A file is written whole or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from common.files import write_whole


def test_a_file_is_replaced_and_its_directory_made(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "file.txt"
    for text in ("first", "zweiter, ≤ 3 s"):
        write_whole(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert list(path.parent.iterdir()) == [path]


def test_permissions_hold_from_the_first_byte_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.txt"
    # A killed process left this file behind, readable by everybody.
    path.with_name("secret.txt.new").touch(0o644)
    seen: list[int] = []
    write = Path.write_text

    def watched(file: Path, text: str, encoding: str) -> int:
        seen.append(stat.S_IMODE(file.stat().st_mode))
        return write(file, text, encoding)

    monkeypatch.setattr(Path, "write_text", watched)
    write_whole(path, "secret", mode=0o600)
    assert seen == [0o600]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "new \ud800")
    assert path.read_text() == "old"
