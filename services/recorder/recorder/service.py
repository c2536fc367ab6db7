"""The service process: takes requests from LiveKit, starts handlers, and saves what dead handlers left.

Facts: livekit/egress v1.14, `pkg/server/{server,server_rpc}.go`.
"""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import structlog
from google.protobuf.message import DecodeError
from livekit.protocol import egress as proto

from recorder import info as infos
from recorder.admission import HOLD_SECONDS, Cost, Load, Share, composite_cost, cost_of, refusal
from recorder.errors import Code, EgressError
from recorder.handlers import Handlers, Running
from recorder.http_ports import serving
from recorder.measuring import Processes, available_cpus, occupied
from recorder.metrics import Metrics, State
from recorder.overload import Figures, Overload
from recorder.psrpc.bus import Bus
from recorder.psrpc.client import CallFailed, Client
from recorder.psrpc.methods import Method
from recorder.psrpc.server import Server
from recorder.recovery import Recovery
from recorder.redis_connection import connect
from recorder.requests.plan import Plan, plan_of
from recorder.requests.rpc import ListActiveEgressResponse, StartEgressRequest
from recorder.settings import Settings
from recorder.storage.bucket import Bucket
from recorder.storage.spool import EgressDirectory, Spool

_LIST = Method("EgressInternal", "ListActiveEgress", claim=False)
_MEASURE_SECONDS = 2.0
_RECOVERY_SECONDS = 30.0

log = structlog.get_logger()


class Service:
    """One worker. `run` returns after SIGTERM, when all recordings are saved or their time is over."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._node_id = f"NE_{uuid.uuid4().hex[:12]}"
        self._start = Method("EgressInternal", "StartEgress", topic=settings.cluster_id)
        self._spool = Spool(settings.recorder.spool, max_bytes=settings.recorder.spool_max_bytes)
        self._cpus = available_cpus()
        self._processes = Processes(by_container=settings.cpu_cost.memory_source == "cgroup")
        self._overload = Overload(settings.cpu_cost)
        self._held: dict[str, tuple[float, Cost]] = {}
        self._stopping = asyncio.Event()
        self._handlers = Handlers(self._on_upload, self._on_ended)
        self._metrics = Metrics(
            self._node_id,
            settings.cluster_id,
            State(
                is_idle=lambda: not self._handlers.running,
                can_accept=lambda: self._refusal(self._room_composite_cost) is None,
                is_disabled=lambda: self._is_disabled,
                is_terminating=self._stopping.is_set,
                cpu_load=lambda: self._used_cpus / self._cpus,
                memory=lambda: self._processes.resident(self._handlers.pids),
                spool_used=lambda: self._spool.usage().used,
                spool_free=lambda: self._spool.usage().free,
            ),
            custom_endpoint=bool(settings.storage.s3.endpoint),
        )
        redis = connect(settings.redis)
        self._redis = redis
        self._bus = Bus(redis)
        self._server = Server(self._bus)
        self._reports = Client(self._bus, "IOInfo")
        self._recovery = Recovery(settings, self._spool, self._reports)

    async def run(self) -> None:
        """Work until SIGTERM or SIGQUIT; SIGINT also ends recordings at once."""
        if self._settings.ignored:
            log.info("keys_without_meaning", keys=self._settings.ignored)
        loop = asyncio.get_running_loop()
        grace = self._settings.recorder.shutdown_grace
        for number, seconds in ((signal.SIGTERM, grace), (signal.SIGQUIT, grace), (signal.SIGINT, 0.0)):
            loop.add_signal_handler(number, self._stop, seconds)
        health, prometheus = self._settings.health_port, self._settings.prometheus_port
        async with (
            serving(health, prometheus, self._status, self._metrics.registry),
            asyncio.TaskGroup() as tasks,
        ):
            background = [tasks.create_task(self._bus.run()), tasks.create_task(self._measure())]
            await self._handlers.prepare()
            opening = tasks.create_task(self._open())
            background.append(tasks.create_task(self._recover()))
            await self._stopping.wait()
            opening.cancel()
            log.info("draining", running=len(self._handlers.running))
            await self._server.stop(self._start)
            await self._handlers.close()
            for task in background:
                task.cancel()
        await self._redis.aclose()
        log.info("stopped")

    async def _open(self) -> None:
        await self._reports.open()
        await self._server.serve(_LIST, self._list)
        await self._server.serve(self._start, self._start_egress, affinity=self._affinity)
        log.info("ready", node_id=self._node_id, cpus=self._cpus, spool_free=self._spool.usage().free)

    def _stop(self, grace: float) -> None:
        """Take nothing more; end recordings that still run after `grace` seconds."""
        log.info("stop_requested", grace_seconds=grace)
        self._stopping.set()
        asyncio.get_running_loop().call_later(grace, self._handlers.end_all)

    @property
    def _is_disabled(self) -> bool:
        return self._stopping.is_set() or not self._bus.connected.is_set()

    def _affinity(self, payload: bytes) -> float:
        """How much this worker wants a request. Busy workers want it more, so that idle ones stay free."""
        try:
            request = StartEgressRequest.FromString(payload)
        except DecodeError:
            return -1.0
        if self._is_disabled or (why := self._refusal(self._cost(request))) is not None:
            log.info(
                "request_left_to_others",
                egress_id=request.egress_id,
                why=why if not self._is_disabled else "",
            )
            return -1.0
        return 1.0 if self._handlers.running else 0.5

    async def _start_egress(self, payload: bytes) -> proto.EgressInfo:
        request = StartEgressRequest.FromString(payload)
        if self._is_disabled:
            raise EgressError(Code.UNAVAILABLE, "server is shutting down")
        if (why := self._refusal(self._cost(request))) is not None:
            raise EgressError(Code.UNAVAILABLE, why)
        plan = plan_of(request, self._settings, datetime.now(UTC))
        info = infos.of_request(request)
        infos.set_outputs(info, plan)
        # From here on the cost counts, and the answer can only be an error or a handler.
        self._held[request.egress_id] = time.monotonic() + HOLD_SECONDS, self._cost(request)
        try:
            await asyncio.to_thread(_check_stores, plan, self._settings)
            directory = await self._begin(info, payload)
            await self._hand_over(directory, plan)
        except EgressError:
            self._held.pop(request.egress_id, None)
            raise
        return info

    async def _hand_over(self, directory: EgressDirectory, plan: Plan) -> None:
        """Give the egress to a handler. Raises EgressError; the recovery reports the egress then."""
        try:
            await self._handlers.assign(directory, plan.kind)
        except OSError as error:
            log.exception("handler_not_started", egress_id=directory.egress_id)
            self._recovery.want()
            raise EgressError(Code.INTERNAL, "handler failed to start") from error
        self._metrics.started(plan.kind)
        log.info("request_taken", egress_id=directory.egress_id, kind=plan.kind, room=plan.room_name)

    async def _begin(self, info: proto.EgressInfo, payload: bytes) -> EgressDirectory:
        """Make the egress known to LiveKit, with a directory in the spool. Raises EgressError."""
        try:
            directory = self._spool.create(info.egress_id, payload)
        except OSError as error:
            raise EgressError(Code.INTERNAL, f"spool: {error.strerror}") from error
        try:
            directory.write_info(info.SerializeToString())
            await self._reports.call("CreateEgress", info, seconds=self._settings.io_create_timeout)
        except (CallFailed, OSError) as error:
            directory.remove()
            raise EgressError(Code.INTERNAL, f"egress was not stored: {error}") from error
        return directory

    async def _list(self, _payload: bytes) -> Any:
        return ListActiveEgressResponse(egress_ids=list(self._handlers.running))

    def _cost(self, request: StartEgressRequest) -> Cost:
        return cost_of(request, self._settings.cpu_cost)

    @property
    def _room_composite_cost(self) -> Cost:
        return composite_cost(proto.RoomCompositeEgressRequest(), self._settings.cpu_cost)

    @property
    def _used_cpus(self) -> float:
        return self._processes.cpus(self._handlers.pids)

    def _refusal(self, cost: Cost) -> str | None:
        now = time.monotonic()
        self._held = {key: held for key, held in self._held.items() if held[0] > now}
        self._processes.cpus(self._handlers.pids)
        load = Load(
            cpus=self._cpus,
            shares=[
                self._share(egress_id) for egress_id in self._handlers.running.keys() | self._held.keys()
            ],
            used_memory=self._processes.memory(self._handlers.pids),
            free_spool=self._spool.usage().free,
        )
        return refusal(cost, load, self._settings.cpu_cost)

    def _share(self, egress_id: str) -> Share:
        running = self._handlers.running.get(egress_id)
        used = self._processes.cpus_of(running.process.pid) if running is not None else 0.0
        held = self._held.get(egress_id)
        return Share(used, held[1]) if held is not None else Share(used)

    def _status(self) -> dict[str, Any]:
        return {
            "CpuLoad": round(max(self._cpus - self._used_cpus, 0.0), 3),
            "egresses": {each.egress_id: each.kind for each in self._handlers.running.values()},
            "redis": self._bus.connected.is_set(),
            "terminating": self._stopping.is_set(),
        }

    async def _measure(self) -> None:
        """Measure regularly while something runs: for requests, and to end what would exhaust the worker."""
        while True:
            if self._handlers.running:
                self._processes.cpus(self._handlers.pids)
                try:
                    await self._prevent_overload()
                except OSError as error:
                    log.warning("spool_not_measured", error=str(error))
            await asyncio.sleep(_MEASURE_SECONDS)

    async def _prevent_overload(self) -> None:
        """End a recording if memory or the spool is nearly used up."""
        free = (await asyncio.to_thread(self._spool.usage)).free
        memory = {
            egress_id: self._processes.resident([each.process.pid])
            for egress_id, each in self._handlers.running.items()
        }
        figures = Figures(self._processes.memory(self._handlers.pids), free, memory)
        chosen = self._overload.next(time.monotonic(), figures, self._spool_bytes)
        if chosen is not None:
            log.error("egress_ended_by_worker", egress_id=chosen.egress_id, error=str(chosen.error))
            self._handlers.end(chosen.egress_id, chosen.error, chosen.result)

    def _spool_bytes(self, egress_id: str) -> int:
        return occupied(self._settings.recorder.spool / egress_id)

    async def _recover(self) -> None:
        """Save what dead handlers left: at the start, after each end, and while a store is away."""
        while True:
            await self._recovery.run_once()
            await self._recovery.wanted(_RECOVERY_SECONDS)

    def _on_upload(self, told: dict[str, Any]) -> None:
        self._metrics.uploaded(
            told["content_type"], told["status"], told["milliseconds"], backup=told["backup"]
        )

    def _on_ended(self, running: Running, code: int) -> None:
        self._held.pop(running.egress_id, None)
        self._metrics.ended(running.kind, running.result(code))
        self._recovery.want()


def _check_stores(plan: Plan, settings: Settings) -> None:
    """Raise EgressError where a store that the request names has no usable address. Blocks 0.1 s for each."""
    for each in plan.outputs:
        if each.target is not None and each.target != settings.storage.target:
            Bucket(each.target)
