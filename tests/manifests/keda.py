"""KEDA's own definition of a ScaledObject, from its Go module."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from tests.manifests.go_modules import KEDA, directory

_SCALED_OBJECTS = "config/crd/bases/keda.sh_scaledobjects.yaml"


def definition() -> Path:
    """The file of the CustomResourceDefinition."""
    return directory(KEDA) / _SCALED_OBJECTS


@cache
def validator() -> Draft202012Validator:
    """Judges a ScaledObject as the API server does with strict validation: no unknown field passes."""
    [version] = yaml.load(definition().read_text(), yaml.CSafeLoader)["spec"]["versions"]
    return Draft202012Validator(_strict(version["schema"]["openAPIV3Schema"]))


def _strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_strict(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: _strict(value) for key, value in schema.items()}
    if isinstance(strict.get("properties"), dict) and strict.get("type") == "object":
        strict.setdefault("additionalProperties", False)
    return strict


def prometheus_keys() -> set[str]:
    """What the metadata of a trigger `prometheus` may hold; the definition takes any text there."""
    source = (directory(KEDA) / "pkg" / "scalers" / "prometheus_scaler.go").read_text()
    [metadata] = re.findall(r"^type prometheusMetadata struct {\n(.*?)^}", source, re.MULTILINE | re.DOTALL)
    return set(re.findall(r'`keda:"name=(\w+)', metadata))
