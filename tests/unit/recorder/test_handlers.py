"""The service hands egresses to processes, also where the one that was ready has died.

A program of this test stands in for `python -m recorder handle`, which takes seconds to load.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from common.waiting import wait_until
from recorder import handlers as module
from recorder.errors import Code, EgressError
from recorder.handlers import EXIT_DONE, EXIT_FAILED, EXIT_LEFT, Handlers, Running
from recorder.storage.spool import EgressDirectory, Spool
from tests.support.speed import scaled

# It says what it was told, and ends with 0 when the service goes, or with 3 when the service ends the egress.
_HANDLER = """\
#!{python}
import asyncio, json, sys
sys.path.insert(0, {path!r})
from recorder.handlers import next_error, receive_assignment
assignment = receive_assignment()
if assignment is None:
    sys.exit(0)
print(json.dumps({{"began": assignment.egress_id}}), flush=True)
error = asyncio.run(next_error(assignment.channel))
if error is not None:
    print(json.dumps({{"error": str(error), "code": error.code}}), flush=True)
    sys.exit(3)
"""


class Service:
    """Handlers, and what they told."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.ended: asyncio.Queue[tuple[Running, int]] = asyncio.Queue()
        self.handlers = Handlers(
            self.told.put_nowait, lambda running, code: self.ended.put_nowait((running, code))
        )

    async def begin(self, name: str) -> EgressDirectory:
        """Have a handler record an egress; its directory, as this process had it."""
        directory = self.spool.create(name, b"")
        await self.handlers.assign(directory, "room_composite")
        return directory


@pytest.fixture
async def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    program = tmp_path / "handler"
    path = str(Path(module.__file__).parents[1])
    program.write_text(_HANDLER.format(python=sys.executable, path=path))
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    made = Service(Spool(tmp_path / "spool"))
    yield made
    for running in made.handlers.running.values():
        running.channel.close()
    await made.handlers.close()


async def test_the_process_that_is_ready_gets_the_egress(service: Service) -> None:
    await service.handlers.prepare()
    spare = service.handlers.pids[1]
    await service.begin("EG_1")
    assert await service.told.get() == {"began": "EG_1"}
    assert service.handlers.running["EG_1"].process.pid == spare
    # The handler owns the directory.
    assert service.spool.open("EG_1") is None


async def test_a_dead_spare_process_is_replaced(service: Service) -> None:
    await service.handlers.prepare()
    spare = service.handlers.pids[1]
    os.kill(spare, 9)
    await _gone(spare)
    await service.begin("EG_1")
    assert await service.told.get() == {"began": "EG_1"}
    assert service.handlers.running["EG_1"].process.pid != spare
    assert service.spool.open("EG_1") is None


async def test_without_any_process_the_directory_is_free(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the recovery finds it, and reports its egress."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(OSError, match="No such file"):
        await service.begin("EG_1")
    assert service.handlers.running == {}
    directory = service.spool.open("EG_1")
    assert directory is not None
    directory.close()


async def test_the_service_ends_an_egress_with_an_error(service: Service) -> None:
    await service.begin("EG_1")
    assert await service.told.get() == {"began": "EG_1"}
    service.handlers.end("EG_1", EgressError(Code.PERMISSION_DENIED, "OOM: 2.00 GB used"), "killed_oom")
    assert await service.told.get() == {"error": "OOM: 2.00 GB used", "code": "permission_denied"}
    running, code = await service.ended.get()
    assert (running.egress_id, code, running.result(code)) == ("EG_1", EXIT_LEFT, "killed_oom")
    # It has gone: there is nothing to end.
    service.handlers.end("EG_1", EgressError(Code.INTERNAL, "full"), "")


async def test_results_are_those_of_livekit_egress(service: Service) -> None:
    """Facts: livekit/egress v1.14, pkg/server/server_rpc.go (launchProcess)."""
    await service.begin("EG_1")
    running = service.handlers.running["EG_1"]
    results = {code: running.result(code) for code in (EXIT_DONE, EXIT_LEFT, EXIT_FAILED, -9)}
    assert results == {
        EXIT_DONE: "completed",
        # The recording is over; its uploads go on.
        EXIT_LEFT: "completed",
        EXIT_FAILED: "process_error",
        -9: "process_error",
    }
    await service.told.get()
    service.handlers.end_all()
    running, code = await service.ended.get()
    assert running.result(code) == "killed_shutdown"


async def _gone(pid: int) -> None:
    """Wait until a child process has ended and was collected."""
    await asyncio.to_thread(
        wait_until,
        lambda: not Path(f"/proc/{pid}").exists(),
        timeout=scaled(10),
        describe="the process to be gone",
        interval=0.02,
    )
