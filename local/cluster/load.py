"""Puts images into a node's containerd, under their names, where they are not there already."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Any, cast

from common.commands import CommandFailed, started
from local.cluster.node import Node
from local.images.oci import Descriptor, Store

_CTR = ("ctr", "--namespace=k8s.io", "images")


def loaded(node: Node) -> dict[str, str]:
    """Reference to manifest digest of every image on the node."""
    lines = node.run([*_CTR, "list"], timeout=30).stdout.splitlines()[1:]
    return {fields[0]: fields[2] for fields in (line.split() for line in lines) if len(fields) > 2}


def load(node: Node, images: Mapping[str, Descriptor], store: Store) -> list[str]:
    """Load what the node lacks or has otherwise; gives the references that were loaded.

    The archive is streamed: it never lies on disk.

    Raises:
        CommandFailed: containerd refused it.
    """
    present = loaded(node)
    missing = {ref: manifest for ref, manifest in images.items() if present.get(ref) != manifest.digest}
    if not missing:
        return []
    command = node.command([*_CTR, "import", "-"])
    with tempfile.TemporaryFile() as printed:
        with started(command, stdin=subprocess.PIPE, stdout=printed, stderr=subprocess.STDOUT) as process:
            # A closed pipe means that the import has failed; its output says why.
            with suppress(BrokenPipeError):
                store.write_archive(missing, cast("IO[bytes]", process.stdin))
            with suppress(BrokenPipeError):
                cast("IO[bytes]", process.stdin).close()
        if process.returncode != 0:
            printed.seek(0)
            raise CommandFailed(
                command, f"exited with {process.returncode}", printed.read().decode(errors="replace")
            )
    return sorted(missing)


def manifest_labels(node: Node) -> dict[str, dict[str, str]]:
    """Reference to configuration labels of every image on the node."""
    digests = loaded(node)
    labels = {digest: _labels(node, digest) for digest in set(digests.values())}
    return {reference: labels[digest] for reference, digest in digests.items()}


def _labels(node: Node, digest: str) -> dict[str, str]:
    """An index of several platforms (an official image may be one) has none of its own."""
    manifest = _blob(node, digest)
    if "config" not in manifest:
        return {}
    config = _blob(node, manifest["config"]["digest"])
    return dict(config.get("config", {}).get("Labels") or {})


def _blob(node: Node, digest: str) -> dict[str, Any]:
    return dict(
        json.loads(node.run(["ctr", "--namespace=k8s.io", "content", "get", digest], timeout=30).stdout)
    )


def running_containers(node: Node) -> frozenset[str]:
    """Ids of the containers whose processes run on the node now."""
    lines = node.run(["ctr", "--namespace=k8s.io", "tasks", "list"], timeout=30).stdout.splitlines()[1:]
    return frozenset(fields[0] for fields in map(str.split, lines) if fields and fields[-1] == "RUNNING")
