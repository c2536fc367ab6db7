"""Keys of livekit/egress' configuration file that this worker does not act on. Pure.

Facts: livekit/egress v1.14, `pkg/config/{base,service,storage}.go`; livekit/protocol, `redis/redis.go`,
`logger/config.go`; livekit/storage, `config.go`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# They concern livekit/egress' browser, GStreamer pipeline, logger, or what it stops on overloaded cores.
_WITHOUT_MEANING = """
    template_base template_port debug_handler_port enable_chrome_sandbox chrome_flags insecure debug
    latency latency_overrides video_encoder_threads enable_one_shot_sender_report_sync enable_sync_engine
    audio_tempo_controller pulse_sink_reap_grace_sec
    io_update_timeout io_workers io_selection_timeout max_upload_queue
    logging.sample logging.component_levels logging.sample_initial logging.sample_interval
    logging.item_sample_seconds logging.item_sample_initial logging.item_sample_interval
    cpu_cost.max_pulse_clients cpu_cost.cpu_kill_grace_sec
    redis.max_redirects redis.pool_timeout redis.pool_size
""".split()
# A recording would be lost or insecure if these were passed over.
_NOT_SUPPORTED = """
    redis.cluster_addresses redis.tls.server_name
    storage.generate_presigned_url storage.azure storage.gcp storage.alioss
    storage.s3.assume_role_arn storage.s3.assume_role_external_id storage.s3.proxy_config
    backup.generate_presigned_url backup.azure backup.gcp backup.alioss
    backup.s3.assume_role_arn backup.s3.assume_role_external_id backup.s3.proxy_config
    s3_assume_role_key s3_assume_role_secret s3_assume_role_arn s3_assume_role_external_id
    test_overrides
""".split()


def take_without_meaning(given: dict[str, Any]) -> tuple[str, ...]:
    """Remove keys that mean nothing to this worker, in place; their dotted names."""
    return tuple(sorted(_take(given, _WITHOUT_MEANING)))


def take_not_supported(given: dict[str, Any]) -> tuple[str, ...]:
    """Remove keys that this worker does not support, in place; the dotted names of those that are set."""
    taken = _take(given, _NOT_SUPPORTED)
    return tuple(sorted(name for name, value in taken.items() if value))


def _take(given: dict[str, Any], names: Iterable[str]) -> Mapping[str, Any]:
    taken = {}
    for name in names:
        *sections, key = name.split(".")
        place: Any = given
        for section in sections:
            place = place.get(section) if isinstance(place, dict) else None
        if isinstance(place, dict) and key in place:
            taken[name] = place.pop(key)
    return taken
