"""What the engine asks of a Kubernetes object: check, diff, create, read, update, delete."""

from __future__ import annotations

import copy
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pulumi.provider.experimental.property_value import PropertyValue

from local.plugins.errors import PluginError
from local.plugins.kubernetes import paths, values
from local.plugins.kubernetes.cluster import Cluster, Refused, UnknownKind
from local.plugins.kubernetes.differences import Change, Difference, differences, without
from local.plugins.kubernetes.immutable import must_replace, refused_as_immutable
from local.plugins.kubernetes.objects import (
    AUTONAMED,
    annotation,
    comparable,
    from_id,
    is_autonamed,
    observed,
    previewed,
    pruned,
    reference,
    type_of_urn,
    wanted,
)
from local.plugins.kubernetes.readiness import State, is_awaited, timeout_seconds
from local.plugins.kubernetes.settings import Settings
from local.plugins.kubernetes.values import Json, Properties
from local.plugins.kubernetes.waiting import NotReady, Waiter
from local.plugins.state import MARK, MARK_KEY, ForeignState, Provider, made_by

FORCE = "pulumi.com/patchForce"
REPLACE_UNREADY = "pulumi.com/replaceUnready"
_PROPAGATION = "pulumi.com/deletionPropagationPolicy"
_PROPAGATIONS = {"background": "Background", "orphan": "Orphan"}
_NAME_DIGITS = 8


class Conflict(PluginError):
    """An object cannot be had as wanted because of somebody else. The message says who, and the ways out."""


@dataclass
class NotInitialized(Exception):
    """An object was made or changed, but did not become ready. The engine keeps it, with the reasons."""

    id: str
    outputs: Properties
    reasons: list[str]
    inputs: Properties | None = None


@dataclass(frozen=True)
class Checked:
    """Inputs as they will be applied, and what is wrong with them: (property, reason)."""

    inputs: Properties
    failures: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Compared:
    """What an update would do. `replaces` are those of the differences that need a new object."""

    differences: list[Difference]
    replaces: list[paths.Path] = field(default_factory=list)
    delete_first: bool = False
    is_gone: bool = False


@dataclass(frozen=True)
class Resources:
    """The operations on one cluster, in the engine's properties. `report` is shown while they go on."""

    cluster: Cluster
    settings: Settings
    waiter: Waiter

    def check(
        self, urn: str, old: Properties, new: Properties, *, seed: bytes, proposed_name: str | None
    ) -> Checked:
        """Complete the inputs: apiVersion and kind, a name if none is given, the default namespace.

        Args:
            seed: the engine's, so that a preview and the run after it agree on a name.
            proposed_name: the name that the stack's autonaming settles; empty where it forbids any.
        """
        api_version, kind = type_of_urn(urn)
        obj = copy.deepcopy(values.plain(new))
        obj.setdefault("apiVersion", api_version)
        obj.setdefault("kind", kind)
        metadata = obj.get("metadata") or {}
        if values.has_unknown([metadata]) and not isinstance(metadata, dict):
            return Checked(new)
        obj["metadata"] = metadata
        if metadata.get("generateName"):
            return Checked(
                new, [("metadata.generateName", "server-side apply needs a name: give metadata.name")]
            )
        if not metadata.get("name"):
            before = values.plain(old)
            if before and is_autonamed(before):
                metadata["name"] = before["metadata"]["name"]
            elif proposed_name == "":
                return Checked(new, [("metadata.name", "autonaming is disabled for this stack: give a name")])
            else:
                metadata["name"] = proposed_name or autoname(urn, seed)
            metadata["annotations"] = {**(metadata.get("annotations") or {}), AUTONAMED: "true"}
        if not metadata.get("namespace") and self._is_namespaced(obj):
            metadata["namespace"] = self.cluster.default_namespace
        return Checked(values.marked_object(obj, new))

    def diff(
        self, urn: str, state: Properties, old_inputs: Properties, new: Properties, ignored: list[str]
    ) -> Compared:
        """Compare by what the API server would make of the new inputs, had they been applied now."""
        _require_ours(state, urn)
        before, obj = wanted(values.plain(old_inputs)), wanted(values.plain(new))
        ignoring = [paths.parse(text) for text in ignored]
        found = without(list(differences(before, obj)), ignoring)
        replaces = [one.path for one in found if must_replace(obj, one.path, self.settings.mutability)]
        if not replaces and not values.has_unknown(obj):
            try:
                live = self.cluster.get(reference(obj))
                if live is None:
                    return Compared(found, is_gone=True)
                applied = _with_live_values(obj, live, ignoring)
                would = self.cluster.apply(applied, dry_run=True, force=True)
                if self._has_failed(obj, live):
                    replaces = [paths.parse("status")]
            except UnknownKind:
                pass  # the definition of the kind is to come with this very run
            except Refused as refusal:
                if not refused_as_immutable(str(refusal)):
                    raise
                replaces = [paths.parse(name) for name in refusal.fields] or [one.path for one in found]
            else:
                drift = without(list(differences(comparable(live), comparable(would))), ignoring)
                found += [one for one in drift if not any(_overlap(one.path, known.path) for known in found)]
        found += [
            Difference(path, Change.UPDATE) for path in replaces if all(path != one.path for one in found)
        ]
        old, target = reference(values.plain(state)), reference(obj)
        same_place = (old.name, old.namespace) == (target.name, target.namespace)
        return Compared(found, replaces, delete_first=bool(replaces) and same_place and not is_autonamed(obj))

    def create(
        self, new: Properties, *, timeout: float, preview: bool, report: Callable[[str], None]
    ) -> tuple[str, Properties]:
        """Make the object and wait for it. A preview asks the API server and changes nothing."""
        obj = wanted(values.plain(new))
        if preview:
            return "", self._previewed(new, obj, lambda would: previewed(would, obj))
        target = reference(obj)
        if self.cluster.get(target) is not None:
            raise Conflict(
                f"{target} exists already, and this stack did not make it; give another name, delete it, or "
                f"take it over with the resource option import_={target.id!r}"
            )
        return target.id, self._settle(self._apply(obj), obj, new, timeout, report)

    def update(
        self,
        urn: str,
        state: Properties,
        new: Properties,
        *,
        ignored: list[str],
        timeout: float,
        preview: bool,
        report: Callable[[str], None],
    ) -> Properties:
        """Change the object in place and wait for it."""
        _require_ours(state, urn)
        obj = wanted(values.plain(new))
        if preview:
            return self._previewed(new, obj, observed)
        live = self.cluster.get(reference(obj))
        applied = _with_live_values(obj, live or {}, [paths.parse(text) for text in ignored])
        return self._settle(self._apply(applied), obj, new, timeout, report)

    def read(
        self, urn: str, resource_id: str, inputs: Properties, state: Properties
    ) -> tuple[Properties, Properties] | None:
        """Outputs and inputs as they are by now, None where the object is gone. Without inputs: an import."""
        imported = not inputs
        if state:
            _require_ours(state, urn)
        before = values.plain(inputs)
        if before:
            target = from_id(before["apiVersion"], before["kind"], resource_id)
        else:
            target = from_id(*type_of_urn(urn), resource_id)
            if not target.namespace and self._is_namespaced(
                {"apiVersion": target.api_version, "kind": target.kind}
            ):
                target = from_id(
                    target.api_version, target.kind, f"{self.cluster.default_namespace}/{target.name}"
                )
        try:
            live = self.cluster.get(target)
        except UnknownKind:
            live = None  # with its definition, every object of a kind is gone
        if live is None:
            return None
        outputs = self._outputs(live, inputs)
        if imported:
            return outputs, values.marked_object(wanted(live), {})
        found = values.marked_object(pruned(live, wanted(before)), inputs)
        if is_awaited(before):
            verdict = self.waiter.judge(live)
            if verdict.state is not State.READY:
                reasons = [f"{target} is not ready: {verdict.reason}", *self.waiter.reasons(live)]
                raise NotInitialized(target.id, outputs, reasons, found)
        return outputs, found

    def delete(
        self, urn: str, resource_id: str, state: Properties, *, timeout: float, report: Callable[[str], None]
    ) -> None:
        """Delete the object, its dependents first, and wait until it is gone."""
        _require_ours(state, urn)
        last = values.plain(state)
        target = from_id(last["apiVersion"], last["kind"], resource_id)
        propagation = _PROPAGATIONS.get(annotation(last, _PROPAGATION).lower(), "Foreground")
        try:
            live = self.cluster.get(target)
            if live is None or not self.cluster.delete(target, propagation):
                return
        except UnknownKind:
            return
        self.waiter.until_gone(target, live["metadata"]["uid"], timeout_seconds(last, timeout), report)

    def _apply(self, obj: Json) -> Json:
        forced = self.settings.force or annotation(obj, FORCE) == "true"
        try:
            return self.cluster.apply(obj, force=forced)
        except Refused as refusal:
            if not refusal.conflict or forced:
                raise
            raise Conflict(
                f"{refusal}\nSomebody else set what this program sets too. To take it over, give the object "
                f'the annotation {FORCE}: "true" or the provider enable_patch_force; to leave it to them, '
                "take it out of the program or name it in ignore_changes."
            ) from refusal

    def _settle(
        self, applied: Json, obj: Json, inputs: Properties, timeout: float, report: Callable[[str], None]
    ) -> Properties:
        if not is_awaited(obj):
            return self._outputs(applied, inputs)
        try:
            live = self.waiter.until_ready(applied, timeout_seconds(obj, timeout), report)
        except NotReady as error:
            raise NotInitialized(
                reference(applied).id, self._outputs(error.live, inputs), error.reasons
            ) from error
        return self._outputs(live, inputs)

    def _previewed(self, new: Properties, obj: Json, view: Callable[[Json], Json]) -> Properties:
        if values.has_unknown(obj):
            return new
        try:
            would = self.cluster.apply(obj, dry_run=True, force=True)
        except UnknownKind:
            return new
        except Refused as refusal:
            # The namespace, or a right of ours, may be made by this very run; and a preview of a replacement
            # asks for the new object while the old one still has the name.
            if refusal.not_found or refusal.forbidden or refused_as_immutable(str(refusal)):
                return new
            raise
        return self._outputs(view(would), new)

    def _outputs(self, live: Json, inputs: Properties) -> Properties:
        return {**values.marked_object(observed(live), inputs), MARK_KEY: PropertyValue(MARK)}

    def _has_failed(self, obj: Json, live: Json) -> bool:
        """Whether nothing that is applied to it makes it ready any more, and it may be made anew: a Job."""
        annotated = annotation(obj, REPLACE_UNREADY) == "true"
        return annotated and self.waiter.judge(live).state is State.FAILED

    def _is_namespaced(self, obj: Json) -> bool:
        try:
            return self.cluster.is_namespaced(obj["apiVersion"], obj["kind"])
        except UnknownKind:
            # A custom resource whose definition this run brings; `apply` drops a namespace that is none.
            return True


def autoname(urn: str, seed: bytes) -> str:
    """`<resource name>-<8 hex digits>`, the digits from the engine's `seed` where it gives one."""
    digits = hashlib.sha256(seed).hexdigest() if seed else secrets.token_hex(_NAME_DIGITS)
    return f"{urn.rsplit('::', 1)[-1]}-{digits[:_NAME_DIGITS]}"


def _require_ours(state: Properties, urn: str) -> None:
    mark = {key: value.value for key, value in state.items() if key == MARK_KEY}
    if made_by(mark) is not Provider.EMBEDDED:
        raise ForeignState(Provider.EMBEDDED, [urn])


def _overlap(one: paths.Path, other: paths.Path) -> bool:
    return paths.covers(one, other) or paths.covers(other, one)


def _with_live_values(obj: Json, live: Json, ignored: list[paths.Path]) -> Json:
    """`obj` with the live value at each ignored path, so that applying it leaves those alone."""
    if not ignored:
        return obj
    changed = copy.deepcopy(obj)
    for path in ignored:
        _copy_at(changed, live, path)
    return changed


def _copy_at(target: Any, source: Any, path: paths.Path) -> None:
    step, rest = path[0], path[1:]
    if step == paths.ANY:
        keys = range(len(target)) if isinstance(target, list) else list(target)
        for key in keys:
            _copy_at(target, source, (key, *rest))
        return
    present = step in source if isinstance(source, dict) else isinstance(step, int) and step < len(source)
    if rest:
        inside = step in target if isinstance(target, dict) else isinstance(step, int) and step < len(target)
        if present and inside:
            _copy_at(target[step], source[step], rest)
    elif present:
        target[step] = copy.deepcopy(source[step])
    elif isinstance(target, dict):
        target.pop(step, None)
