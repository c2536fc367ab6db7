"""The API server: one request each, in plain JSON, with errors that say which object and why."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import kubernetes.config
import kubernetes.dynamic
import urllib3.exceptions
from kubernetes.dynamic.exceptions import DynamicApiError, ResourceNotFoundError, ResourceNotUniqueError

from local.plugins.errors import PluginError
from local.plugins.kubernetes.objects import Reference, reference
from local.plugins.kubernetes.settings import BadSetting, Settings
from local.plugins.kubernetes.values import Json

# One name for all stacks: Create refuses what exists, so no two of them come to share an object.
FIELD_MANAGER = "livekit-platform"
_REQUEST_TIMEOUT_SECONDS = 60.0
_CONFLICT = 409
_NOT_FOUND = 404
_FORBIDDEN = 403

T = TypeVar("T")

# The client says that it is typed, and most of it is not.
_config: Any = kubernetes.config
_dynamic: Any = kubernetes.dynamic


class Unreachable(PluginError):
    """No API server answers. The message says where it was looked for."""


class UnknownKind(PluginError):
    """The API server has no such kind, as before its CustomResourceDefinition is there."""


class Refused(PluginError):
    """The API server answered no.

    Attributes:
        code: HTTP status.
        fields: the paths that it names as wrong, in the API's spelling.
    """

    def __init__(self, doing: str, code: int, message: str, fields: tuple[str, ...]) -> None:
        self.code = code
        self.fields = fields
        super().__init__(f"{doing}: {message}")

    @property
    def not_found(self) -> bool:
        return self.code == _NOT_FOUND

    @property
    def forbidden(self) -> bool:
        return self.code == _FORBIDDEN

    @property
    def conflict(self) -> bool:
        return self.code == _CONFLICT


class Cluster:
    """A connection that is made at its first use: to configure a provider, no cluster need answer yet."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._connected: Any = None
        # The client wants a file for what it discovered, and by itself takes a guessable one in /tmp.
        self._scratch = tempfile.TemporaryDirectory(prefix="pulumi-kubernetes-")

    def close(self) -> None:
        """Remove what the client wrote."""
        self._scratch.cleanup()

    @property
    def default_namespace(self) -> str:
        """Where an object goes that names no namespace."""
        if self._settings.namespace:
            return self._settings.namespace
        if self._settings.kubeconfig_content:
            contexts = {one["name"]: one["context"] for one in self._settings.kubeconfig_content["contexts"]}
            current = self._settings.context or self._settings.kubeconfig_content.get("current-context")
        else:
            listed, active = _config.list_kube_config_contexts(self._settings.kubeconfig)
            contexts = {one["name"]: one["context"] for one in listed}
            current = self._settings.context or active["name"]
        return str(contexts.get(current, {}).get("namespace", "default"))

    def is_namespaced(self, api_version: str, kind: str) -> bool:
        """Whether objects of that kind live in namespaces.

        Raises:
            UnknownKind: the API server has none of that kind.
        """
        return bool(self._resource(api_version, kind).namespaced)

    def get(self, target: Reference) -> Json | None:
        """The live object, or None where there is none."""
        resource = self._resource(target.api_version, target.kind)
        try:
            return self._request(
                f"reading {target}",
                "get",
                resource.path(name=target.name, namespace=target.namespace or None),
            )
        except Refused as refusal:
            if refusal.not_found:
                return None
            raise

    def apply(self, obj: Json, *, dry_run: bool = False, force: bool = False) -> Json:
        """Apply `obj` on the server, field by field, and give back what it is then.

        Args:
            dry_run: say what it would be, and change nothing.
            force: take over fields that somebody else set to another value.

        Raises:
            Refused: a field that the schema does not have, a value that is not allowed, a conflict.
        """
        target = reference(obj)
        resource = self._resource(target.api_version, target.kind)
        if not resource.namespaced and "namespace" in obj["metadata"]:
            obj = {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k != "namespace"}}
        query = [
            ("fieldManager", FIELD_MANAGER),
            ("fieldValidation", "Strict"),
            ("force", str(force).lower()),
        ]
        if dry_run:
            query.append(("dryRun", "All"))
        return self._request(
            f"{'checking' if dry_run else 'applying'} {target}",
            "patch",
            resource.path(name=target.name, namespace=target.namespace if resource.namespaced else None),
            body=obj,
            query_params=query,
            content_type="application/apply-patch+yaml",
        )

    def delete(self, target: Reference, propagation: str) -> bool:
        """Ask for the object's end, and say whether there was one.

        Args:
            propagation: `Foreground` (dependents first), `Background` or `Orphan`.
        """
        resource = self._resource(target.api_version, target.kind)
        try:
            self._request(
                f"deleting {target}",
                "delete",
                resource.path(name=target.name, namespace=target.namespace or None),
                body={"propagationPolicy": propagation},
            )
        except Refused as refusal:
            if refusal.not_found:
                return False
            raise
        return True

    def select(
        self, api_version: str, kind: str, namespace: str, *, labels: str = "", fields: str = ""
    ) -> list[Json]:
        """The objects of a namespace that a label and a field selector choose."""
        resource = self._resource(api_version, kind)
        found = self._request(
            f"listing {kind} in {namespace}",
            "get",
            resource.path(namespace=namespace),
            label_selector=labels or None,
            field_selector=fields or None,
        )
        return list(found.get("items", []))

    def version(self) -> str:
        """The API server's version, as `v1.35.4`."""
        return str(self._request("reading the version", "get", "/version")["gitVersion"])

    def kinds(self) -> list[str]:
        """All that charts may ask `.Capabilities.APIVersions` for: `apps/v1` and `apps/v1/Deployment`."""
        with self._lock:
            found = self._reached(lambda: [one for group in self._client().resources for one in group])
        named = {one.group_version for one in found}
        return sorted(named | {f"{one.group_version}/{one.kind}" for one in found})

    def _resource(self, api_version: str, kind: str) -> Any:
        # The client's discovery is not made for threads.
        with self._lock:
            try:
                return self._reached(lambda: self._client().resources.get(api_version=api_version, kind=kind))
            except (ResourceNotFoundError, ResourceNotUniqueError) as error:
                raise UnknownKind(
                    f"the cluster has no kind {kind} in {api_version}; the CustomResourceDefinition that "
                    "brings it must be there before, so let this resource depend on it"
                ) from error

    def _request(self, doing: str, method: str, path: str, **parameters: Any) -> Json:
        with self._lock:
            client = self._reached(self._client)
        try:
            return cast(
                Json,
                self._reached(
                    lambda: client.request(
                        method,
                        path,
                        serializer=lambda _, answer: answer,
                        _request_timeout=_REQUEST_TIMEOUT_SECONDS,
                        **parameters,
                    )
                ),
            )
        except DynamicApiError as error:
            raise _refusal(doing, error) from error

    def _client(self) -> Any:
        if self._connected is None:
            settings = self._settings
            try:
                if settings.kubeconfig_content:
                    api = _config.new_client_from_config_dict(
                        settings.kubeconfig_content, context=settings.context
                    )
                else:
                    api = _config.new_client_from_config(settings.kubeconfig, context=settings.context)
            except kubernetes.config.ConfigException as error:
                raise BadSetting(f"kubeconfig: {error} ({settings.described})") from error
            cache = Path(self._scratch.name) / "discovery.json"
            self._connected = _dynamic.DynamicClient(api, cache_file=str(cache))
        return self._connected

    def _reached(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(
                f"the Kubernetes API server does not answer ({self._settings.described}): {error}"
            ) from error


def _refusal(doing: str, error: DynamicApiError) -> Refused:
    try:
        status = json.loads(error.body or "")
    except (TypeError, ValueError):
        status = {}
    causes = (status.get("details") or {}).get("causes") or []
    fields = tuple(cause["field"] for cause in causes if cause.get("field"))
    return Refused(doing, int(error.status), status.get("message") or str(error.reason), fields)
