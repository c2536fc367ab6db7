"""The keys of livekit/egress' configuration file and their types, and what in a file is not of them.

livekit/egress takes an unknown key without a word, and with it the default instead of what was meant.
Source: livekit/egress v1.14.1, pkg/config/{base,service,storage}.go, whose module no registry serves. REDIS,
TLS, LOGGING and S3 are structs of served modules: tests/manifests/test_egress_structs.py compares them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any


class Of(Enum):
    """The type of a key's value."""

    TEXT = "text"
    FLAG = "true or false"
    WHOLE = "whole number"
    NUMBER = "number"
    DURATION = "duration"
    TEXTS = "list of texts"
    TEXT_MAP = "map of texts"


# A key's type, or the keys of a section.
Keys = Mapping[str, "Of | Keys"]

TLS: Keys = {
    "enabled": Of.FLAG,
    "insecure": Of.FLAG,
    "server_name": Of.TEXT,
    "ca_cert_file": Of.TEXT,
    "client_cert_file": Of.TEXT,
    "client_key_file": Of.TEXT,
}
REDIS: Keys = {
    "address": Of.TEXT,
    "username": Of.TEXT,
    "password": Of.TEXT,
    "db": Of.WHOLE,
    "use_tls": Of.FLAG,
    "tls": TLS,
    "sentinel_master_name": Of.TEXT,
    "sentinel_username": Of.TEXT,
    "sentinel_password": Of.TEXT,
    "sentinel_addresses": Of.TEXTS,
    "cluster_addresses": Of.TEXTS,
    "dial_timeout": Of.WHOLE,
    "read_timeout": Of.WHOLE,
    "write_timeout": Of.WHOLE,
    "max_redirects": Of.WHOLE,
    "pool_timeout": Of.DURATION,
    "pool_size": Of.WHOLE,
}
LOGGING: Keys = {
    "json": Of.FLAG,
    "level": Of.TEXT,
    "sample": Of.FLAG,
    "component_levels": Of.TEXT_MAP,
    "sample_initial": Of.WHOLE,
    "sample_interval": Of.WHOLE,
    "item_sample_seconds": Of.WHOLE,
    "item_sample_initial": Of.WHOLE,
    "item_sample_interval": Of.WHOLE,
}
PROXY: Keys = {"url": Of.TEXT, "username": Of.TEXT, "password": Of.TEXT}
S3: Keys = {
    "access_key": Of.TEXT,
    "secret": Of.TEXT,
    "session_token": Of.TEXT,
    "assume_role_arn": Of.TEXT,
    "assume_role_external_id": Of.TEXT,
    "region": Of.TEXT,
    "endpoint": Of.TEXT,
    "bucket": Of.TEXT,
    "force_path_style": Of.FLAG,
    "proxy_config": PROXY,
    "max_retries": Of.WHOLE,
    "max_retry_delay": Of.DURATION,
    "min_retry_delay": Of.DURATION,
    "metadata": Of.TEXT_MAP,
    "tagging": Of.TEXT,
    "content_disposition": Of.TEXT,
}
_STORAGE: Keys = {"prefix": Of.TEXT, "generate_presigned_url": Of.FLAG, "s3": S3}
_SESSION_LIMITS: Keys = {
    "file_output_max_duration": Of.DURATION,
    "file_output_max_size": Of.WHOLE,
    "stream_output_max_duration": Of.DURATION,
    "segment_output_max_duration": Of.DURATION,
    "image_output_max_duration": Of.DURATION,
}
CPU_COST: Keys = {
    "max_cpu_utilization": Of.NUMBER,
    "max_memory": Of.NUMBER,
    "memory_cost": Of.NUMBER,
    "room_composite_cpu_cost": Of.NUMBER,
    "audio_room_composite_cpu_cost": Of.NUMBER,
    "sdk_audio_room_composite_cpu_cost": Of.NUMBER,
    "sdk_audio_room_composite_memory_cost": Of.NUMBER,
    "web_cpu_cost": Of.NUMBER,
    "audio_web_cpu_cost": Of.NUMBER,
    "participant_cpu_cost": Of.NUMBER,
    "track_composite_cpu_cost": Of.NUMBER,
    "track_cpu_cost": Of.NUMBER,
    "max_pulse_clients": Of.WHOLE,
    "memory_source": Of.TEXT,
    "memory_kill_grace_sec": Of.WHOLE,
    "cpu_kill_grace_sec": Of.WHOLE,
}
# Those that concern an operator: not pipeline latencies, debugging and what is for tests.
SERVICE: Keys = {
    "redis": REDIS,
    "api_key": Of.TEXT,
    "api_secret": Of.TEXT,
    "ws_url": Of.TEXT,
    "logging": LOGGING,
    "template_base": Of.TEXT,
    "cluster_id": Of.TEXT,
    "enable_chrome_sandbox": Of.FLAG,
    "max_upload_queue": Of.WHOLE,
    "disallow_local_storage": Of.FLAG,
    "io_create_timeout": Of.DURATION,
    "io_update_timeout": Of.DURATION,
    "io_selection_timeout": Of.DURATION,
    "io_workers": Of.WHOLE,
    "session_limits": _SESSION_LIMITS,
    "storage": _STORAGE,
    "backup": _STORAGE,
    "insecure": Of.FLAG,
    "health_port": Of.WHOLE,
    "template_port": Of.WHOLE,
    "prometheus_port": Of.WHOLE,
    "debug_handler_port": Of.WHOLE,
    "cpu_cost": CPU_COST,
}
# As Go's time.ParseDuration takes it, in the units that the program writes.
_DURATION = re.compile(r"[0-9]+(ms|s)")


def _only_texts(entries: Iterable[Any]) -> bool:
    return all(isinstance(entry, str) for entry in entries)


# A flag is a number in Python.
_IS: Mapping[Of, Callable[[Any], bool]] = {
    Of.TEXT: lambda value: isinstance(value, str),
    Of.FLAG: lambda value: isinstance(value, bool),
    Of.WHOLE: lambda value: isinstance(value, int) and not isinstance(value, bool),
    Of.NUMBER: lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    Of.DURATION: lambda value: isinstance(value, str) and _DURATION.fullmatch(value) is not None,
    Of.TEXTS: lambda value: isinstance(value, list) and _only_texts(value),
    Of.TEXT_MAP: lambda value: isinstance(value, dict) and _only_texts(value.values()),
}


def faults(given: Mapping[str, Any], keys: Keys = SERVICE, path: str = "") -> Iterator[str]:
    """What livekit/egress would not take as it is meant, by its place in the file."""
    for name, value in given.items():
        here = f"{path}{name}"
        known = keys.get(name)
        if known is None:
            yield f"{here}: no such key"
        elif isinstance(known, Of):
            if not _IS[known](value):
                yield f"{here}: {value!r} is no {known.value}"
        elif isinstance(value, Mapping):
            yield from faults(value, known, f"{here}.")
        else:
            yield f"{here}: {value!r} is no section"
