"""The table of livekit/egress' keys beside the real Go structs, as far as registries serve their modules."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.manifests.go_modules import LIVEKIT_PROTOCOL, LIVEKIT_STORAGE, directory
from tests.unit.infra.egress_keys import LOGGING, PROXY, REDIS, S3, TLS, Keys, Of

_TYPES = {
    "string": Of.TEXT,
    "bool": Of.FLAG,
    "int": Of.WHOLE,
    "*int": Of.WHOLE,
    "time.Duration": Of.DURATION,
    "[]string": Of.TEXTS,
    "map[string]string": Of.TEXT_MAP,
    "*xtls.Config": TLS,
    "*ProxyConfig": PROXY,
}
_FIELD = re.compile(r'^\s+\w+\s+(\S+)\s+`.*\byaml:"([^",]+)', re.MULTILINE)


def _fields(source: Path, struct: str) -> dict[str, Any]:
    """The keys of a Go struct in YAML, with their types as the table has them."""
    body = re.search(rf"^type {struct} struct {{\n(.*?)^}}", source.read_text(), re.MULTILINE | re.DOTALL)
    assert body, f"{source} has no struct {struct}"
    return {key: _TYPES[kind] for kind, key in _FIELD.findall(body[1]) if key != "-"}


@pytest.mark.parametrize(
    ("module", "file", "struct", "keys"),
    [
        (LIVEKIT_PROTOCOL, "redis/redis.go", "RedisConfig", REDIS),
        (LIVEKIT_PROTOCOL, "logger/config.go", "Config", LOGGING),
        (LIVEKIT_PROTOCOL, "xtls/tls.go", "Config", TLS),
        (LIVEKIT_STORAGE, "config.go", "S3Config", S3),
        (LIVEKIT_STORAGE, "config.go", "ProxyConfig", PROXY),
    ],
    ids=["redis", "logging", "tls", "s3", "proxy"],
)
def test_the_table_has_every_key_of_the_real_struct_with_its_type(
    module: str, file: str, struct: str, keys: Keys
) -> None:
    assert _fields(directory(module) / file, struct) == keys
