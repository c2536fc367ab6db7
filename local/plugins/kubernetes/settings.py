"""The provider's configuration, as the program gives it to `kubernetes.Provider`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from local.plugins.errors import PluginError
from local.plugins.kubernetes.immutable import Mutability

_PREFIX = "kubernetes:config:"
# Of no effect here: they quieten the official provider, or tune its client.
_HARMLESS = frozenset(
    {
        "suppressDeprecationWarnings",
        "suppressHelmHookWarnings",
        "kubeClientSettings",
        "clusterIdentifier",
        "strictMode",
        "version",
        "pluginDownloadURL",
        "alwaysRender",
    }
)


class BadSetting(PluginError):
    """A provider setting that is wrong or not to be had here. The message names it and what is allowed."""


@dataclass(frozen=True)
class Settings:
    """Which cluster, and how to treat it.

    Attributes:
        kubeconfig: path of the file; None takes $KUBECONFIG or the user's own, as kubectl does.
        kubeconfig_content: the file's content instead, where the program gave that.
        context: which of its contexts; None takes the current one.
        namespace: where objects go that name none; None takes the context's.
        force: take fields over from other managers without asking.
    """

    kubeconfig: str | None = None
    kubeconfig_content: dict[str, Any] | None = None
    context: str | None = None
    namespace: str | None = None
    mutability: Mutability = field(default_factory=Mutability)
    force: bool = False

    @property
    def described(self) -> str:
        """For messages: which kubeconfig and context."""
        source = (
            "the kubeconfig given as text"
            if self.kubeconfig_content
            else self.kubeconfig or "the default kubeconfig"
        )
        return f"{source}, context {self.context or '(current)'}"


def parse(variables: Mapping[str, str]) -> Settings:
    """Read the engine's `kubernetes:config:<name>` variables; all values are strings.

    Raises:
        BadSetting: a value that is not allowed, or a setting that only the official provider has.
    """
    given = {key.removeprefix(_PREFIX): value for key, value in variables.items() if key.startswith(_PREFIX)}
    if not _boolean(given, "enableServerSideApply", default=True):
        raise BadSetting(
            "enableServerSideApply: given false, but this provider applies server-side only; allowed is true"
        )
    path, content = _kubeconfig(given.pop("kubeconfig", ""))
    settings = Settings(
        kubeconfig=path,
        kubeconfig_content=content,
        context=given.pop("context", "") or None,
        namespace=given.pop("namespace", "") or None,
        mutability=Mutability(
            config_maps=_boolean(given, "enableConfigMapMutable"),
            secrets=_boolean(given, "enableSecretMutable"),
        ),
        force=_boolean(given, "enablePatchForce"),
    )
    left = {key for key, value in given.items() if key not in _HARMLESS and value not in ("", "false")}
    if left:
        raise BadSetting(
            f"{', '.join(sorted(left))}: only the official Kubernetes provider has this; allowed here are "
            "kubeconfig, context, namespace, enableConfigMapMutable, enableSecretMutable, enablePatchForce"
        )
    return settings


def _boolean(given: dict[str, str], key: str, default: bool = False) -> bool:
    value = given.pop(key, "")
    if value not in ("", "true", "false"):
        raise BadSetting(f"{key}: given {value!r}, allowed are true and false")
    return value == "true" if value else default


def _kubeconfig(text: str) -> tuple[str | None, dict[str, Any] | None]:
    """A path and no content, or no path and a content: the SDK takes either in one setting."""
    if not text:
        return None, None
    if "\n" not in text and not text.lstrip().startswith("{"):
        return text, None
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        content = None
    if not isinstance(content, dict):
        raise BadSetting(
            "kubeconfig: given a text that is no YAML mapping; allowed is a path or a kubeconfig"
        )
    return None, content
