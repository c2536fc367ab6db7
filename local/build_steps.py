"""Steps that make what is missing in the cache: programs, root file systems, images."""

from __future__ import annotations

from collections.abc import Iterable

from local.images.catalog import DebianFile, Image
from local.images.debian import Rootfs
from local.images.source import ImageSource
from local.steps import Resource, Step
from local.toolchain.go_tools import GoTool


def build_steps(programs: Iterable[GoTool]) -> list[Step]:
    """Two for each program that is not built: modules are downloaded while another program is compiled."""
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
    """The names of the steps that build what is missing of these."""
    return tuple(map(_build_name, _not_built(programs)))


def _build_name(tool: GoTool) -> str:
    return f"build {tool.name} {tool.version}"


def _not_built(wanted: Iterable[GoTool]) -> list[GoTool]:
    return [tool for tool in dict.fromkeys(wanted) if not tool.built]


def image_steps(source: ImageSource, images: Iterable[Image], needs: tuple[str, ...] = ()) -> list[Step]:
    """What is missing in the store, with the root file systems below it; programs have steps of their own.

    Args:
        needs: steps that all that uses Debian's packages comes after.
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
