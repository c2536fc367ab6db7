"""Publishes images in a registry, and builds missing images first."""

from __future__ import annotations

from local.build_steps import build_steps, builds_of, image_steps
from local.images.build import store
from local.images.catalog import Image
from local.images.push import Pushed, name_of, push
from local.images.source import ImageSource
from local.run_steps import run_steps
from local.steps import Step
from local.toolchain.go_tools import CRANE


def publish(registry: str, images: list[Image]) -> list[Pushed]:
    """Get every image into the store and push it to the registry. A second run uploads only missing images.

    Raises:
        StepFailed: an image could not be pulled or built, or the registry refuses it (with its output).
    """
    source = ImageSource(images)
    pushed: dict[str, Pushed] = {}

    def publishing(image: Image) -> Step:
        def action() -> None:
            pushed[image.reference] = push(registry, image, source.get(image), store())

        needs = (*builds_of([CRANE]), *(step.name for step in image_steps(source, [image])))
        return Step(f"push {registry}/{name_of(image)}", action, needs, timed_as=f"push {image.repository}")

    run_steps(
        *build_steps([CRANE, *source.tools_to_build()]),
        *image_steps(source, images),
        *map(publishing, images),
    )
    return [pushed[image.reference] for image in images]
