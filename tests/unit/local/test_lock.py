"""One command at a time, with real processes: the kernel keeps the lock."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from local.lock import Busy, cache_lock, exclusive
from local.paths import CHECKOUT, Instance

# Takes the lock, says so, and keeps it until its input ends. With a word more, it leaves behind a
# process that outlives it, as `make up` leaves nodes.
_HOLDER = """
import subprocess, sys
from local.lock import exclusive
from local.paths import Instance

with exclusive(Instance.current()):
    left = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL).pid if sys.argv[1:] else 0
    print(left, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Instance:
    monkeypatch.setenv("LKP_INSTANCE", "abc123")
    return Instance.current()


@contextmanager
def _holder(*words: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that holds the lock, and the id of the one that it has left behind."""
    command = [sys.executable, "-c", _HOLDER, *words]
    with subprocess.Popen(
        command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def test_a_second_process_is_told_which_one_works(instance: Instance) -> None:
    with _holder() as (holder, _):
        with (
            pytest.raises(Busy, match=rf"process {holder.pid} works on this stack: wait"),
            exclusive(instance),
        ):
            pytest.fail("two processes hold the lock")
        # Nor has the refused one harmed the lock, or the note in it.
        with pytest.raises(Busy, match=rf"process {holder.pid} "), exclusive(instance):
            pytest.fail("two processes hold the lock")


def test_a_killed_holder_releases_it(instance: Instance) -> None:
    with _holder() as (holder, _):
        holder.kill()
        holder.wait()
        with exclusive(instance):
            pass


def test_what_the_holder_started_does_not_keep_it(instance: Instance) -> None:
    with _holder("and leave a process") as (holder, left):
        holder.kill()
        holder.wait()
        try:
            with exclusive(instance):
                pass
        finally:
            subprocess.run(["kill", str(left)], check=True)


def test_it_is_released_when_the_body_fails(instance: Instance) -> None:
    with pytest.raises(ZeroDivisionError), exclusive(instance):
        _ = 1 // 0
    with exclusive(instance):
        pass


def test_two_instances_do_not_wait_for_each_other(instance: Instance) -> None:
    other = Instance("other0", instance.root.parent / "other0")
    with exclusive(instance), exclusive(other):
        pass


def test_it_outlives_the_state_that_down_removes(instance: Instance) -> None:
    instance.root.mkdir(parents=True)
    with exclusive(instance):
        instance.root.rmdir()
        assert instance.lock.exists()


# Holds the lock until its standard input is closed.
_WORKER = """
import sys
from local.lock import cache_lock

with cache_lock("compilation"):
    print("works", flush=True)
    sys.stdin.read()
"""


def test_another_checkout_waits_for_the_same_piece_of_shared_work() -> None:
    taken = threading.Event()

    def wait() -> None:
        with cache_lock("compilation"):
            taken.set()

    command = [sys.executable, "-c", _WORKER]
    with subprocess.Popen(
        command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "works\n"
        with cache_lock("rootfs-python"):  # other work need not wait
            pass
        thread = threading.Thread(target=wait)
        thread.start()
        assert not taken.wait(0.5)
        process.kill()
        thread.join(20)
    assert taken.is_set()


def test_threads_of_one_process_wait_for_each_other_too() -> None:
    inside = threading.Lock()
    overlapped: list[bool] = []

    def work() -> None:
        with cache_lock("layer-a"):
            overlapped.append(not inside.acquire(blocking=False))
            inside.release()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert overlapped == [False] * 4
