"""What a recording takes of a worker: cores, disk, and time to end. Pure."""

from __future__ import annotations

import math

# Cores that livekit/egress 1.14 sets aside for a request of each kind (pkg/config/service.go). These are its
# defaults. They are written into its file, so that an upgrade cannot change what the rules here rely on.
LIVEKIT_CPU_COSTS = {
    "room_composite": 4.0,
    "audio_room_composite": 1.0,
    "web": 4.0,
    "audio_web": 1.0,
    "participant": 2.0,
    "track_composite": 1.0,
    "track": 0.5,
}
# The recorder's own defaults (services/recorder, settings.py), which were measured. It makes no web egress.
RECORDER_CPU_COSTS = {
    "room_composite": 0.8,
    "audio_room_composite": 0.2,
    "participant": 0.6,
    "track_composite": 0.6,
    "track": 0.5,
}
# Both workers end their largest recording at this part of the memory limit. Beyond the limit, the kernel
# would kill any process of the pod.
MEMORY_SHARE = 0.9
# What the recorder needs of its spool for each recording (services/recorder, admission.py): 256 MiB to begin
# with, which is about eleven minutes of 720p, and 64 MiB that stay free for its end.
RECORDER_SPOOL_BYTES = (256 + 64) * 2**20
# A file system keeps some blocks for itself, and some volumes have no limit of their own.
SPOOL_SHARE = 0.9
# livekit/egress accepts nothing with less than 1 GiB left below that part (pkg/stats/monitor.go).
LIVEKIT_LEAST_MEMORY_BYTES = 2 * 2**30
# What recordings may take of temporary storage. The rest is for the browser's profiles and logs: a pod that
# exceeds the size of an emptyDir is evicted, with all recordings that it has.
_STORAGE_SHARE = 0.9
_MOST_FINISH_SECONDS = 600


def recordings_at_once(cores: float, max_utilization: float, cost: float) -> int:
    """How many room composites a worker with so many cores accepts: one if it is idle, more if they fit."""
    return max(1, math.floor(cores * max_utilization / cost))


def recording_bytes(kilobits_per_second: int, seconds: int) -> int:
    """The size of one recording's file."""
    return kilobits_per_second * 1000 // 8 * seconds


def bytes_per_recording(storage: float, at_once: int) -> int:
    """The size to which each of `at_once` recordings may grow on `storage` bytes of temporary storage."""
    return int(storage * _STORAGE_SHARE / at_once)


def storage_for(recording: int, at_once: int) -> int:
    """The bytes of temporary storage on which `at_once` recordings of so many bytes fit."""
    return math.ceil(recording * at_once / _STORAGE_SHARE)


def spool_for(at_once: int) -> int:
    """The least bytes of a spool on which `at_once` recordings can begin and end."""
    return math.ceil(RECORDER_SPOOL_BYTES * at_once / SPOOL_SHARE)


def finish_seconds(grace_seconds: int) -> int:
    """How long before the end of a stopping worker's grace period it ends its recordings.

    In this time it completes the files and uploads them.
    """
    return min(_MOST_FINISH_SECONDS, grace_seconds // 3)
