"""Steps that add missing parts to the cache: programs, root file systems, images."""

from __future__ import annotations

from collections.abc import Iterable

from local.images.catalog import DebianFile, Image
from local.images.debian import Rootfs
from local.images.source import ImageSource
from local.steps import Resource, Step
from local.toolchain.go_tools import GoTool


def build_steps(programs: Iterable[GoTool]) -> list[Step]:
    """Two steps for each missing program, so that modules are downloaded while another program compiles."""
    steps = []
    for tool in _not_built(programs):
        download = f"download the modules of {tool.name}"
        name = _build_name(tool)
        steps += [
            Step(download, tool.download),
            Step(name, tool.build, (download,), Resource.COMPILER, timed_as=f"build {tool.name}"),
        ]
    return steps


def builds_of(programs: Iterable[GoTool]) -> tuple[str, ...]:
    """The names of the steps that build the missing ones of these programs."""
    return tuple(map(_build_name, _not_built(programs)))


def _build_name(tool: GoTool) -> str:
    return f"build {tool.name} {tool.version}"


def _not_built(wanted: Iterable[GoTool]) -> list[GoTool]:
    return [tool for tool in dict.fromkeys(wanted) if not tool.built]


def image_steps(source: ImageSource, images: Iterable[Image], needs: tuple[str, ...] = ()) -> list[Step]:
    """Steps for missing images and for the root file systems that they use. Programs have separate steps.

    Args:
        needs: steps that must run before any step that uses Debian packages.
    """
    missing = [image for image in images if not source.is_stored(image)]
    bases = dict.fromkeys(part for image in missing for part in source.rootfs_of(image))
    return [
        *rootfs_steps(bases, needs),
        *(
            Step(
                f"{source.verb(image)} {image.reference}",
                lambda image=image: source.get(image),  # type: ignore[misc] # bound now
                (
                    *builds_of(source.tools_of(image)),
                    *(step.name for step in rootfs_steps(source.rootfs_of(image))),
                    *(needs if any(isinstance(part, DebianFile) for part in image.parts) else ()),
                ),
                timed_as=f"{source.verb(image)} {image.repository}",
            )
            for image in missing
        ),
    ]


def rootfs_steps(wanted: Iterable[Rootfs], needs: tuple[str, ...] = ()) -> list[Step]:
    return [
        Step(f"make root file system {rootfs.name}", rootfs.build, needs)
        for rootfs in wanted
        if not rootfs.tar.exists()
    ]
