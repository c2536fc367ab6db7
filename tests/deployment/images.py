"""Images that a test's own pods run and no stack does, on the nodes of the local cluster."""

from __future__ import annotations

from local.cluster.cluster import Cluster
from local.cluster.load import load
from local.images.build import store
from local.images.catalog import Image
from local.images.source import ImageSource
from local.paths import Instance


def loaded(image: Image) -> str:
    """Have `image` on every node, made here where it is not in the cache; gives its reference.

    Raises:
        CommandFailed: it could not be built, or a node refused it.
    """
    cluster = Cluster.recorded(Instance.current())
    assert cluster is not None, "images are loaded into nodes that local/ made"
    source = ImageSource([image])
    for rootfs in source.rootfs_to_build():
        if not rootfs.tar.exists():
            rootfs.build()
    manifest = source.get(image)
    for node in cluster.nodes:
        load(node, {image.reference: manifest}, store())
    return image.reference
