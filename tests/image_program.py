"""Programs of the images that are built here, run on this machine."""

from __future__ import annotations

import os

from local.images import catalog
from local.images.debian import Rootfs
from local.paths import machine_lock


def image_program(image_name: str, path: str) -> list[str]:
    """How to run the program at `path` of an image, by the image's own libraries.

    The variable of the program's name (HAPROXY) names another. PATH does not: a distribution's is another
    version, which knows half of the configuration.
    """
    name = path.rpartition("/")[2]
    given = os.environ.get(name.upper().replace("-", "_"))
    if given:
        return [given]
    [image] = [image for image in catalog.platform_images() if f"/{image_name}:" in image.reference]
    [rootfs] = [part for part in image.parts if isinstance(part, Rootfs)]
    # Two of pytest's workers may want the same tree at the same time; the second finds it unpacked.
    with machine_lock("test-images"):
        root = rootfs.unpack()
    libraries = root / "usr/lib/x86_64-linux-gnu"
    return [str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries), str(root / path)]
