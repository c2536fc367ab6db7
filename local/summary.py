"""What `make up` ends with: where everything is, and what to try next."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from local import hosts
from local.browser import ca_file
from local.machine import TEST_PACKAGES
from local.outputs import stack_outputs
from local.paths import Instance

_PIPE_WIDTH = 160


def print_summary(instance: Instance, *, as_json: bool) -> None:
    """A table for people, or the outputs (without secrets) as JSON; on stdout."""
    outputs = stack_outputs(instance, show_secrets=False)
    if as_json:
        print(json.dumps(outputs, indent=2, sort_keys=True))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, lines in rows(outputs, ca_file(instance), resolve=_names_are_fine(outputs)):
        # As it is: an address may have brackets, which mean something to rich.
        table.add_row(Text(name), Text("\n".join(lines)))
    wide_console().print(table)


def _names_are_fine(outputs: Mapping[str, Any]) -> bool:
    """Whether the stack's names resolve here. On a given cluster, its owner sets up the names."""
    return (
        outputs.get("client_network") is None or not outputs["edge_addresses"] or hosts.all_resolve(outputs)
    )


def rows(outputs: Mapping[str, Any], ca: Path, *, resolve: bool) -> Iterator[tuple[str, list[str]]]:
    """The table, each row with its lines. The README shows it. Pure.

    Args:
        ca: where the certificate of the stack's own CA is, if it has one.
        resolve: whether the stack's names resolve to it on this machine.
    """
    if outputs["browser_urls"]:
        own_ca = _trust(ca) if outputs.get("ca_certificate") else []
        yield "browser", [*outputs["browser_urls"].values(), *own_ca]
    yield "signalling", [outputs["signal_url"], *(f"{url}  past the edge" for url in outputs["signal_urls"])]
    yield "TURN", list(outputs["turn_urls"])
    yield "token API", [outputs["api_url"]]
    yield "S3", [f"{outputs['s3_endpoint']}/{outputs['s3_bucket']}"]
    yield "kubeconfig", [outputs["kubeconfig_path"]]
    if not resolve:
        yield (
            "names",
            [
                f"*.{outputs['domain']} resolves in browsers only; for other programs on this machine:",
                "  make hosts     adds one line to /etc/hosts; `make down` removes it",
            ],
        )
    yield "", [""]
    yield (
        "next",
        [
            "make status      what runs, and whether it is healthy",
            "make test        prove it, with real calls",
            "make outputs     all addresses as JSON; SECRETS=1 with keys",
            f"kubectl --kubeconfig {outputs['kubeconfig_path']} -n {outputs['namespace']} get pods",
        ],
    )


def _trust(ca: Path) -> list[str]:
    package = TEST_PACKAGES["certutil"]
    return [
        f"trust the stack's certificate authority first: {ca}",
        f"for Chromium (certutil is in the Debian package {package}):",
        "  mkdir -p ~/.pki/nssdb",
        f"  certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n livekit-platform -i {ca}",
    ]


def wide_console() -> Console:
    """stdout; through a pipe, where no width is known, names are not to be cut."""
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
