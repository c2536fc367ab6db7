"""The script that ends a worker of livekit/egress, with stand-ins for the service and its recordings."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.waiting import wait_until

_SCRIPT = Path(__file__).parents[3] / "charts" / "egress" / "scripts" / "stop.sh"
# Both write what they get, and end as the real ones do. The service ends after its recordings; its second
# signal is of no effect. A recording ends by SIGINT only, and takes a while to complete its file.
_SERVICE = """
trap 'echo "service TERM" >>"$LOG"; asked=yes' TERM
trap 'echo "service INT" >>"$LOG"' INT
asked=no
echo "service ready" >>"$LOG"
while [ "$asked" = no ] || [ -e "$RECORDING" ]; do sleep 0.1; done
echo "service ended" >>"$LOG"
"""
_RECORDING = """
trap 'echo "recording TERM" >>"$LOG"' TERM
trap 'echo "recording INT" >>"$LOG"; ended=yes' INT
ended=no
touch "$RECORDING"
echo "recording ready" >>"$LOG"
while [ "$ended" = no ]; do sleep 0.1; done
sleep 2.5
echo "recording uploaded" >>"$LOG"
rm "$RECORDING"
"""


class _Container:
    """The processes of a worker, each called as in livekit/egress' image."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._log = directory / "log"
        self._log.touch()
        self._processes: list[subprocess.Popen[bytes]] = []
        # Bash under the name of the program: /proc shows "egress run-handler".
        (directory / "egress").symlink_to("/bin/bash")
        (directory / "service").write_text(_SERVICE)
        (directory / "run-handler").write_text(_RECORDING)

    def start(self, *words: str, **environment: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            words,
            cwd=self._directory,
            env={
                **os.environ,
                "PATH": f"{self._directory}:{os.environ['PATH']}",
                "LOG": str(self._log),
                "RECORDING": str(self._directory / "recording"),
                **environment,
            },
            start_new_session=True,
        )
        self._processes.append(process)
        return process

    def start_ready(self, program: str, name: str) -> subprocess.Popen[bytes]:
        process = self.start("egress", program)
        wait_until(lambda: f"{name} ready" in self.log(), timeout=20, describe=f"the {name} to be ready")
        return process

    def stop(self, service: subprocess.Popen[bytes], *, finish_after: int) -> None:
        """Runs the script, as Kubernetes does."""
        self._script = self.start(
            "bash", str(_SCRIPT), str(service.pid), FINISH_AFTER_SECONDS=str(finish_after)
        )

    def ended(self, service: subprocess.Popen[bytes]) -> None:
        """Wait until the service has ended, and the script because of it."""
        service.wait(timeout=30)
        assert self._script.wait(timeout=10) == 0

    def log(self) -> list[str]:
        return self._log.read_text().splitlines()

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def container(tmp_path: Path) -> Iterator[_Container]:
    made = _Container(tmp_path)
    yield made
    made.close()


def test_an_idle_worker_ends_at_once(container: _Container) -> None:
    service = container.start_ready("service", "service")
    container.stop(service, finish_after=60)
    container.ended(service)
    assert container.log() == ["service ready", "service TERM", "service ended"]


def test_a_recording_that_ends_by_itself_is_not_disturbed(container: _Container, tmp_path: Path) -> None:
    service = container.start_ready("service", "service")
    (tmp_path / "recording").touch()
    container.stop(service, finish_after=60)
    wait_until(lambda: "service TERM" in container.log(), timeout=20, describe="the service to be asked")
    (tmp_path / "recording").unlink()
    container.ended(service)
    assert container.log() == ["service ready", "service TERM", "service ended"]


def test_recordings_that_go_on_are_ended_in_time_to_be_uploaded(container: _Container) -> None:
    service = container.start_ready("service", "service")
    container.start_ready("run-handler", "recording")
    container.stop(service, finish_after=2)
    container.ended(service)
    assert container.log()[2:] == [
        "service TERM",
        # Once, and only the recording: the service takes no second signal.
        "recording INT",
        "recording uploaded",
        "service ended",
    ]


def test_other_programs_get_no_signal(container: _Container, tmp_path: Path) -> None:
    service = container.start_ready("service", "service")
    container.start_ready("run-handler", "recording")
    other = container.start("sleep", "600")
    bystander = container.start("bash", "run-handler", LOG=str(tmp_path / "a"), RECORDING=str(tmp_path / "b"))
    container.stop(service, finish_after=0)
    container.ended(service)
    assert (other.poll(), bystander.poll()) == (None, None)
