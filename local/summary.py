"""What `make up` ends with: where everything is, and what to try next."""

from __future__ import annotations

import json
import sys

from rich.console import Console
from rich.table import Table

from local.browser import ca_file
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
    table.add_row("signalling", "\n".join([outputs["signal_url"], *outputs["signal_urls"]]))
    table.add_row("TURN", "\n".join(outputs["turn_urls"]))
    table.add_row("token API", outputs["api_url"])
    table.add_row("kubeconfig", outputs["kubeconfig_path"])
    if outputs["browser_urls"]:
        table.add_row("browser", "\n".join(outputs["browser_urls"].values()))
        table.add_row("", f"its CA: {ca_file(instance)}; for Chromium:")
        trust = "certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n livekit-platform -i"
        table.add_row("", f"{trust} {ca_file(instance)}")
    table.add_row("")
    table.add_row("next", "make status      what runs, and whether it is healthy")
    table.add_row("", "make test        prove it, with real calls")
    table.add_row("", "make outputs     all addresses as JSON; SECRETS=1 with keys")
    table.add_row("", f"kubectl --kubeconfig {outputs['kubeconfig_path']} -n {outputs['namespace']} get pods")
    wide_console().print(table)


def wide_console() -> Console:
    """stdout; through a pipe, where no width is known, names are not to be cut."""
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
