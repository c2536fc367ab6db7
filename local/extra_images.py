"""Images that no stack runs, on the local cluster's nodes: the load generator's, and those of tests' pods.

They are no part of `make up`: hundreds of megabytes that no call needs.
"""

from __future__ import annotations

from functools import partial

from local.build_steps import build_steps, image_steps
from local.cluster.cluster import Cluster
from local.cluster.load import load
from local.cluster.node import Node
from local.images.build import store
from local.images.catalog import Image
from local.images.source import ImageSource
from local.run_steps import run_steps
from local.steps import Step


def bring(cluster: Cluster, image: Image) -> str:
    """Load `image` into every node that lacks it; returns its reference.

    Raises:
        StepFailed: the image could not be built, or a node refused it.
    """
    source = ImageSource([image])
    made = [*build_steps(source.tools_to_build()), *image_steps(source, [image])]

    def load_into(node: Node) -> None:
        load(node, {image.reference: source.get(image)}, store())

    run_steps(
        *made,
        *(
            Step(
                f"load it into {node.name}",
                partial(load_into, node),
                tuple(step.name for step in made),
                timed_as=f"load {image.repository}",
            )
            for node in cluster.nodes
        ),
    )
    return image.reference
