"""Addresses at which one object can be fetched for a short time. Made without asking the store."""

from __future__ import annotations

from token_api.storage.store import Store, signed_url

# An address opens the object for whoever has it.
SECONDS = 300


def address(store: Store, key: str, *, file_name: str) -> str:
    """A URL that gives the object `key` (letters, digits, `/`, `-`, `.`) to whoever has it, for SECONDS.

    Browsers save it under `file_name` (letters, digits, `-`, `.`) instead of playing it.
    """
    params = {
        "response-content-disposition": f'attachment; filename="{file_name}"',
        "response-content-type": "video/mp4",
    }
    return signed_url(store, "GET", key, endpoint=store.endpoint, seconds=SECONDS, params=params)
