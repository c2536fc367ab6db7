from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

from common.processes import process_of
from common.waiting import wait_until


def test_a_process_is_known_again_and_another_start_under_its_id_is_not() -> None:
    mine = process_of(os.getpid())
    assert mine is not None
    assert mine.runs
    assert not replace(mine, started=mine.started - 1).runs


def test_a_program_may_have_blanks_and_brackets_in_its_name(tmp_path: Path) -> None:
    program = tmp_path / "a) Z 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"]) as child:
        try:
            named = lambda: ") Z 1 (" in Path(f"/proc/{child.pid}/comm").read_text()  # noqa: E731
            wait_until(named, timeout=10, describe="the program to start", interval=0.01)
            found = process_of(child.pid)
            assert found is not None
            assert found.runs
        finally:
            child.kill()


def test_one_that_has_ended_is_gone_also_while_nobody_has_waited_for_it() -> None:
    child = subprocess.Popen(["sleep", "60"])
    found = process_of(child.pid)
    assert found is not None
    child.kill()
    wait_until(lambda: not found.runs, timeout=10, describe="the process to end", interval=0.01)
    assert child.returncode is None, "it was waited for, and the test shows nothing"
    child.wait()
    assert not found.runs
    assert process_of(child.pid) is None
