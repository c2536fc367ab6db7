"""The spool: who owns a directory, and what is written on a full disk."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from recorder.errors import Code, EgressError
from recorder.storage.bucket import Bucket
from recorder.storage.destination import Destination
from recorder.storage.spool import Spool
from recorder.storage.target import S3Target
from recorder.storage.upload_events import ContentType
from recorder.storage.uploads import UploadQueue
from tests.recorder.storage.conftest import MIB, OUTPUT

SERVICE = Path(__file__).parents[3] / "services" / "recorder"
# Makes a directory, says so, and keeps it until it is killed.
OWNER = """
import sys
from pathlib import Path
from recorder.storage.spool import Spool
directory = Spool(Path(sys.argv[1])).create("EG_other", b"request")
print("owned", flush=True)
sys.stdin.read()
"""


@contextmanager
def owner(root: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that owns the directory of EG_other."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(root)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SERVICE)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "owned\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def abandoned(spool: Spool) -> list[str]:
    names = []
    for directory in spool.abandoned():
        with directory:
            names.append(directory.egress_id)
    return names


def test_a_directory_belongs_to_a_living_process_and_then_to_who_takes_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with owner(tmp_path) as process:
        assert spool.open("EG_other") is None
        assert abandoned(spool) == []
        process.send_signal(signal.SIGKILL)
        process.wait()
        taken = spool.open("EG_other")
        assert taken is not None
        with taken:
            assert abandoned(spool) == [], "it has an owner again"
            assert taken.request() == b"request"
        assert abandoned(spool) == ["EG_other"]


def test_a_directory_can_be_handed_over_by_its_lock(spool: Spool) -> None:
    """The service creates it, and the handler gets a copy of the descriptor."""
    directory = spool.create("EG_1", b"request")
    handler = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[directory.lock])
    try:
        directory.close()
        assert abandoned(spool) == []
    finally:
        handler.kill()
        handler.communicate()
    assert abandoned(spool) == ["EG_1"]


def test_two_processes_that_look_for_abandoned_directories_get_different_ones(spool: Spool) -> None:
    for number in range(20):
        spool.create(f"EG_{number}", b"request").close()
    taken: list[str] = []
    barrier = threading.Barrier(4)

    def take() -> None:
        # Locks are those of open files, so threads exclude each other as processes do.
        barrier.wait()
        for directory in spool.abandoned():
            taken.append(directory.egress_id)
            directory.remove()

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(f"EG_{number}" for number in range(20))


def test_an_egress_has_one_directory(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with owner(tmp_path), pytest.raises(EgressError) as refused:
        spool.create("EG_other", b"another request")
    assert refused.value.code is Code.ALREADY_EXISTS
    with pytest.raises(EgressError, match="EG_other exists already"):
        spool.create("EG_other", b"another request")
    assert [path.name for path in tmp_path.iterdir()] == ["EG_other"]


@pytest.mark.parametrize("egress_id", ["", ".", "../x", "a/b", "a" * 101])
def test_an_id_that_is_no_file_name_is_refused(spool: Spool, egress_id: str) -> None:
    with pytest.raises(EgressError, match="allowed is 1 to 100 letters") as refused:
        spool.create(egress_id, b"request")
    assert refused.value.code is Code.INVALID_ARGUMENT


def test_what_is_kept_is_given_back_and_only_the_owner_may_read_it(spool: Spool) -> None:
    with spool.create("EG_1", b"\x00request\n") as directory:
        assert directory.info() is None
        directory.write_info(b"first")
        directory.write_info(b"last")
    again = spool.open("EG_1")
    assert again is not None
    with again:
        assert (again.request(), again.info()) == (b"\x00request\n", b"last")
        for file in ("request.bin", "info.bin"):
            assert (again.path / file).stat().st_mode & 0o777 == 0o600
        assert again.path.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_is_removed_is_gone(spool: Spool, tmp_path: Path) -> None:
    directory = spool.create("EG_1", b"request")
    (directory.media / "1.ts").write_bytes(b"segment")
    directory.remove()
    assert list((tmp_path / "spool").iterdir()) == []
    assert spool.open("EG_1") is None
    spool.create("EG_1", b"request").close()


def test_a_directory_that_is_removed_while_another_process_opens_it_is_not_taken(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = spool.create("EG_1", b"request")
    flock = fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        directory.remove()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    assert spool.open("EG_1") is None


def test_what_a_killed_process_was_creating_or_removing_is_deleted_after_a_while(
    spool: Spool, tmp_path: Path
) -> None:
    spool.create("EG_1", b"request").close()
    unfinished = tmp_path / "spool" / ".unfinished"
    (unfinished / "media").mkdir(parents=True)
    assert abandoned(spool) == ["EG_1"]
    assert unfinished.exists(), "it may be in progress"
    an_hour_ago = time.time() - 3600
    os.utime(unfinished, (an_hour_ago, an_hour_ago))
    assert abandoned(spool) == ["EG_1"]
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["EG_1"]


def test_other_directories_of_the_volume_are_left_alone(spool: Spool, tmp_path: Path) -> None:
    (tmp_path / "spool" / "lost+found").mkdir()
    (tmp_path / "spool" / "lost+found" / "lock").touch()
    (tmp_path / "spool" / "no_lock").mkdir()
    assert abandoned(spool) == []


def test_usage_counts_what_files_occupy(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", max_bytes=100 * MIB, reserve=10 * MIB)
    before = spool.usage()
    with spool.create("EG_1", b"request") as directory:
        (directory.media / "call.mp4").write_bytes(bytes(5 * MIB))
        after = spool.usage()
    assert 5 * MIB <= after.used - before.used <= 6 * MIB
    assert before.free - after.free == after.used - before.used
    assert before.free == 90 * MIB - before.used


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    """A volume of 16 MiB."""
    mounted = tmp_path / "volume"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", mounted], check=True)
    try:
        yield mounted
    finally:
        # A test that failed may have files open.
        subprocess.run(["umount", "--lazy", mounted], check=True)


def fill(file: Path) -> None:
    """Write until nothing more fits."""
    with file.open("wb", buffering=0) as opened, contextlib.suppress(OSError):
        while True:
            opened.write(bytes(4096))
    assert os.statvfs(file).f_bavail == 0


def test_state_is_written_on_a_full_disk(small_volume: Path) -> None:
    spool = Spool(small_volume)
    with spool.create("EG_1", b"request") as directory:
        directory.write_info(b"old")
        (directory.media / "1.ts").write_bytes(b"segment")
        queue = UploadQueue(directory, OUTPUT, Destination(Bucket(S3Target("recordings"))))
        fill(directory.media / "call.mp4")
        assert spool.usage().free == 0

        queue.add_file("1.ts", "1.ts", ContentType.MPEG_TS)
        queue.replace("list.m3u8", b"x" * 4000, ContentType.PLAYLIST)
        directory.write_info(b"y" * 4000)
        queue.stop()

        assert directory.info() == b"y" * 4000
        again = UploadQueue(directory, OUTPUT, Destination(Bucket(S3Target("recordings"))))
        assert sorted(again.state.objects) == ["1.ts", "list.m3u8"]
        assert again.content("list.m3u8") == b"x" * 4000
        again.stop()


def test_the_reserve_is_there_again_when_the_disk_has_space(small_volume: Path) -> None:
    with Spool(small_volume).create("EG_1", b"request") as directory:
        reserve = directory.path / "reserve"
        blocks = reserve.stat().st_blocks
        assert blocks > 0
        fill(directory.media / "call.mp4")
        directory.write_info(b"first")
        assert not reserve.exists(), "it is given away as a whole"
        (directory.media / "call.mp4").unlink()
        directory.write_info(b"second")
        assert reserve.stat().st_blocks == blocks


def test_a_write_that_does_not_fit_leaves_the_old_content(small_volume: Path) -> None:
    with Spool(small_volume).create("EG_1", b"request") as directory:
        directory.write_info(b"old")
        fill(directory.media / "call.mp4")
        with pytest.raises(OSError, match="No space left"):
            directory.write_info(b"x" * MIB)
        assert directory.info() == b"old"


def test_a_request_that_does_not_fit_leaves_nothing(small_volume: Path) -> None:
    fill(small_volume / "other")
    with pytest.raises(OSError, match="No space left"):
        Spool(small_volume).create("EG_1", b"x" * MIB)
    assert [path.name for path in small_volume.iterdir()] == ["other"]
