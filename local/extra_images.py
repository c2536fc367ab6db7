"""Images that no stack runs, on the local cluster's nodes: the load generator's, and those of tests' pods.

They are no part of `make up`: hundreds of megabytes that no call needs.
"""

from __future__ import annotations

from local.cluster.cluster import Cluster
from local.cluster.load import load
from local.images.build import store
from local.images.catalog import Image
from local.images.source import ImageSource
from local.progress import Progress


def bring(cluster: Cluster, image: Image) -> str:
    """Have `image` on every node; gives its reference. What is there already is left as it is.

    Raises:
        CommandFailed: it could not be built, or a node refused it.
    """
    source = ImageSource([image])
    bases = [rootfs for rootfs in source.rootfs_to_build() if not rootfs.tar.exists()]
    progress = Progress(len(bases) + 1 + len(cluster.nodes))
    for rootfs in bases:
        with progress.step(f"make root file system {rootfs.name}"):
            rootfs.build()
    with progress.step(f"{source.verb(image)} {image.reference}"):
        manifest = source.get(image)
    for node in cluster.nodes:
        with progress.step(f"load it into {node.name}"):
            load(node, {image.reference: manifest}, store())
    return image.reference
