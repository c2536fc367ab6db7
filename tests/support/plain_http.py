"""Requests without TLS to servers on loopback."""

from __future__ import annotations

import ssl
from typing import Any

import httpx

# httpx otherwise reads all authorities' certificates for each request, which takes tens of milliseconds.
_NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def request(method: str, url: str, **given: Any) -> httpx.Response:
    """`httpx.request` for an http:// URL, without proxies."""
    return httpx.request(method, url, trust_env=False, verify=_NO_CERTIFICATES, **given)


def get(url: str, **given: Any) -> httpx.Response:
    """`request` with GET."""
    return request("GET", url, **given)
