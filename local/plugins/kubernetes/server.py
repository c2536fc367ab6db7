"""The provider's gRPC face: engine messages in, `resources` and `components` asked, answers out."""

# ruff: noqa: ARG002 - gRPC gives each method its request and context, used or not

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from google.protobuf import any_pb2, empty_pb2
from google.protobuf.struct_pb2 import Struct
from pulumi.provider.server import ProviderServicer
from pulumi.runtime.proto import provider_pb2, status_pb2

from local.plugins.engine import Engine
from local.plugins.errors import PluginError
from local.plugins.kubernetes import components, paths, settings, values
from local.plugins.kubernetes.cluster import Cluster
from local.plugins.kubernetes.differences import Change
from local.plugins.kubernetes.resources import Compared, NotInitialized, Resources
from local.plugins.kubernetes.waiting import Waiter

# An awaited object holds a thread for as long as it takes; the engine's own --parallel is the real limit.
_THREADS = 64

T = TypeVar("T")
_Autonaming = provider_pb2.CheckRequest.AutonamingOptions
_Kind = provider_pb2.PropertyDiff
_KINDS = {
    (Change.ADD, False): _Kind.ADD,
    (Change.ADD, True): _Kind.ADD_REPLACE,
    (Change.DELETE, False): _Kind.DELETE,
    (Change.DELETE, True): _Kind.DELETE_REPLACE,
    (Change.UPDATE, False): _Kind.UPDATE,
    (Change.UPDATE, True): _Kind.UPDATE_REPLACE,
}


@dataclass
class _Status(grpc.Status):
    code: grpc.StatusCode
    details: str
    trailing_metadata: tuple[tuple[str, bytes], ...]


class KubernetesProvider(ProviderServicer):
    """One provider instance of a run. Operations run in threads, beside each other."""

    def __init__(self, engine_address: str, engine: Engine, version: str) -> None:
        super().__init__(components.Components(version), [], engine_address)
        self._engine = engine
        self._threads = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="operation")
        self._cancelled = threading.Event()
        self._configured: Resources | None = None

    def close(self) -> None:
        """End what is awaited, and tidy up."""
        self._cancelled.set()
        if self._configured:
            self._configured.cluster.close()

    async def Configure(
        self, request: provider_pb2.ConfigureRequest, context: Any
    ) -> provider_pb2.ConfigureResponse:
        """Take the settings. The cluster is not asked yet: it may come up later in the run."""

        def configure() -> provider_pb2.ConfigureResponse:
            self._engine.announce()
            given = settings.parse(dict(request.variables))
            cluster = Cluster(given)
            self._configured = Resources(cluster, given, Waiter(cluster, self._cancelled))
            return provider_pb2.ConfigureResponse(
                acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True
            )

        return await self._answer(context, configure)

    async def Check(self, request: provider_pb2.CheckRequest, context: Any) -> provider_pb2.CheckResponse:
        """Complete and validate the inputs."""
        proposed: str | None = None
        if request.HasField("autonaming"):
            disabled = request.autonaming.mode == _Autonaming.DISABLE
            proposed = "" if disabled else request.autonaming.proposed_name

        def check() -> provider_pb2.CheckResponse:
            checked = self._resources.check(
                request.urn,
                values.parse(request.olds),
                values.parse(request.news),
                seed=request.randomSeed,
                proposed_name=proposed,
            )
            return provider_pb2.CheckResponse(
                inputs=values.serialize(checked.inputs),
                failures=[
                    provider_pb2.CheckFailure(property=name, reason=reason)
                    for name, reason in checked.failures
                ],
            )

        return await self._answer(context, check, request.news)

    async def Diff(self, request: provider_pb2.DiffRequest, context: Any) -> provider_pb2.DiffResponse:
        """Say what an update would change, and whether it needs a new object."""

        def diff() -> provider_pb2.DiffResponse:
            return _diff_response(
                self._resources.diff(
                    request.urn,
                    values.parse(request.olds),
                    values.parse(request.old_inputs),
                    values.parse(request.news),
                    list(request.ignoreChanges),
                )
            )

        return await self._answer(context, diff, request.news, request.old_inputs)

    async def Create(self, request: provider_pb2.CreateRequest, context: Any) -> provider_pb2.CreateResponse:
        """Make an object and wait until it is ready."""

        def create() -> provider_pb2.CreateResponse:
            made, outputs = self._resources.create(
                values.parse(request.properties),
                timeout=request.timeout,
                preview=request.preview,
                report=self._report(request.urn),
            )
            return provider_pb2.CreateResponse(id=made, properties=values.serialize(outputs))

        return await self._answer(context, create, request.properties)

    async def Update(self, request: provider_pb2.UpdateRequest, context: Any) -> provider_pb2.UpdateResponse:
        """Change an object in place and wait until it is ready."""

        def update() -> provider_pb2.UpdateResponse:
            outputs = self._resources.update(
                request.urn,
                values.parse(request.olds),
                values.parse(request.news),
                ignored=list(request.ignoreChanges),
                timeout=request.timeout,
                preview=request.preview,
                report=self._report(request.urn),
            )
            return provider_pb2.UpdateResponse(properties=values.serialize(outputs))

        return await self._answer(context, update, request.news)

    async def Read(self, request: provider_pb2.ReadRequest, context: Any) -> provider_pb2.ReadResponse:
        """Give the object as it is, or an empty answer where it is gone."""

        def read() -> provider_pb2.ReadResponse:
            found = self._resources.read(
                request.urn, request.id, values.parse(request.inputs), values.parse(request.properties)
            )
            if found is None:
                return provider_pb2.ReadResponse()
            outputs, inputs = found
            return provider_pb2.ReadResponse(
                id=request.id, properties=values.serialize(outputs), inputs=values.serialize(inputs)
            )

        return await self._answer(context, read, request.inputs)

    async def Delete(self, request: provider_pb2.DeleteRequest, context: Any) -> empty_pb2.Empty:
        """Delete an object and wait until it is gone."""

        def delete() -> empty_pb2.Empty:
            self._resources.delete(
                request.urn,
                request.id,
                values.parse(request.properties),
                timeout=request.timeout,
                report=self._report(request.urn),
            )
            return empty_pb2.Empty()

        return await self._answer(context, delete)

    async def Construct(
        self, request: provider_pb2.ConstructRequest, context: Any
    ) -> provider_pb2.ConstructResponse:
        """Render a chart or a manifest, and register its objects."""
        inputs = values.parse(request.inputs)

        def plan() -> components.Plan:
            return components.plan(request.type, request.name, values.plain(inputs), self._resources.cluster)

        components.PLAN.set(await self._answer(context, plan, request.inputs))
        return await super().Construct(request, context)

    async def Cancel(self, request: empty_pb2.Empty, context: Any) -> empty_pb2.Empty:
        """End every wait; what was applied stays, and is kept in the state with the reason."""
        self._cancelled.set()
        return empty_pb2.Empty()

    @property
    def _resources(self) -> Resources:
        if self._configured is None:
            raise PluginError("the provider was asked before it was configured")
        return self._configured

    def _report(self, urn: str) -> Callable[[str], None]:
        return lambda message: self._engine.status(message, urn)

    async def _answer(self, context: Any, work: Callable[[], T], *messages: Struct) -> T:
        """The result of `work`, or the RPC's end with an error that shows no secret of `messages`."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except NotInitialized as partial:
            hidden = _secrets(*messages)
            reasons = [values.redacted(reason, hidden) for reason in partial.reasons]
            await context.abort_with_status(_init_failed(partial, reasons))
            raise
        except PluginError as error:
            await context.abort(grpc.StatusCode.UNKNOWN, values.redacted(str(error), _secrets(*messages)))
            raise


def _secrets(*messages: Struct) -> set[str]:
    found: set[str] = set()
    for message in messages:
        found |= values.secret_texts(values.parse(message))
    return found | {base64.b64encode(text.encode()).decode() for text in found}


def _init_failed(partial: NotInitialized, reasons: list[str]) -> _Status:
    """The error by which the engine learns that an object is there all the same."""
    detail = provider_pb2.ErrorResourceInitFailed(
        id=partial.id,
        properties=values.serialize(partial.outputs),
        reasons=reasons,
        inputs=values.serialize(partial.inputs) if partial.inputs is not None else None,
    )
    packed = any_pb2.Any()
    packed.Pack(detail)
    code = grpc.StatusCode.UNKNOWN
    status = status_pb2.Status(code=code.value[0], message=reasons[0], details=[packed])
    return _Status(code, reasons[0], (("grpc-status-details-bin", status.SerializeToString()),))


def _diff_response(compared: Compared) -> provider_pb2.DiffResponse:
    changed = bool(compared.differences or compared.replaces or compared.is_gone)
    return provider_pb2.DiffResponse(
        changes=provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE,
        replaces=[paths.format(path) for path in compared.replaces],
        deleteBeforeReplace=compared.delete_first,
        detailedDiff={
            paths.format(one.path): provider_pb2.PropertyDiff(
                kind=_KINDS[one.change, one.path in compared.replaces]
            )
            for one in compared.differences
        },
        hasDetailedDiff=bool(compared.differences),
    )
