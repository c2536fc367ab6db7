"""Which blob of the store something is: a file per key, so that nothing is made or pulled twice."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from common.files import write_whole
from local.images.oci import Descriptor, Store


def read(path: Path, store: Store) -> Descriptor | None:
    """The recorded blob, or None where there is no record, a torn one, or the blob is gone."""
    try:
        recorded = Descriptor(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError):
        return None
    return recorded if store.has(recorded.digest) else None


def write(path: Path, blob: Descriptor) -> None:
    """All or nothing."""
    write_whole(path, json.dumps(asdict(blob)))
