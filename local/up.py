"""From whatever this machine has to a running stack: the steps of `make up`, each done only where needed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from local import machine
from local.browser import open_for_browsers
from local.cluster import node_files
from local.cluster.cluster import Cluster
from local.cluster.load import load
from local.images import catalog
from local.images.build import store
from local.images.catalog import Image
from local.images.debian import Rootfs
from local.images.oci import Descriptor
from local.images.source import ImageSource
from local.paths import CHECKOUT, Instance
from local.progress import Progress
from local.stack import ClusterFacts, Stack, overlay_file
from local.toolchain import go_tools, kubernetes_provider, tools
from local.toolchain.go_tools import GoTool

NODE_COUNT = 2


class NotReady(Exception):
    """The machine lacks something; the message is one line per problem."""


@dataclass(frozen=True)
class GivenCluster:
    """A cluster that the user names; never the ambient default context."""

    kubeconfig: Path
    context: str | None


def given_cluster() -> GivenCluster | None:
    """From LKP_KUBECONFIG and LKP_CONTEXT, or from Pulumi.local.yaml; None where neither names one.

    Raises:
        NotReady: the named file is not there.
    """
    config = yaml.safe_load((CHECKOUT / "Pulumi.local.yaml").read_text()).get("config", {})
    path = os.environ.get("LKP_KUBECONFIG") or config.get("livekit-platform:kubeconfig")
    if not path:
        return None
    context = os.environ.get("LKP_CONTEXT") or config.get("livekit-platform:context")
    kubeconfig = Path(path).expanduser().absolute()
    if not kubeconfig.is_file():
        raise NotReady(f"kubeconfig: given {path!r}, which is no file; allowed is the path of a kubeconfig.")
    return GivenCluster(kubeconfig, context)


@dataclass(frozen=True)
class _Step:
    title: str
    action: Callable[[], object]


def up(instance: Instance) -> int:
    """Bring everything up; gives the exit code of `pulumi up`.

    Raises:
        NotReady: the machine lacks something.
    """
    given = given_cluster()
    _refuse_two_clusters(instance, given)
    _refuse_a_wrong_overlay()
    problems = machine.problems(cluster=given is None, running=is_running(instance))
    if problems:
        raise NotReady("\n".join(map(str, problems)))
    planned = [
        *_tool_steps(instance),
        *_provider_steps(Stack(instance)),
        *([] if given else _cluster_steps(instance)),
    ]
    # A program may be wanted as a tool and for an image: it is built once.
    steps = list({step.title: step for step in planned}.values())
    cluster = Cluster.plan(instance, NODE_COUNT) if given is None else None
    progress = Progress(len(steps) + (2 if cluster else 1))
    for step in steps:
        with progress.step(step.title):
            step.action()
    with progress.step("pulumi up"):
        stack = Stack(instance)
        stack.prepare(_facts(instance, given))
        code = stack.up()
    if cluster and code == 0:
        with progress.step("open doors for browsers"):
            open_for_browsers(cluster, stack.outputs(show_secrets=False))
    return code


def build_tools(instance: Instance) -> None:
    """Build and link the programs that tests call; they need no stack for it."""
    steps = _tool_steps(instance)
    progress = Progress(len(steps))
    for step in steps:
        with progress.step(step.title):
            step.action()


def preview(instance: Instance, *, expect_no_changes: bool) -> int:
    """What `up` would change, by the configuration of now; gives the exit code of `pulumi preview`.

    Raises:
        NotReady: `up` would not begin, because of the cluster or the overlay that is named.
    """
    given = given_cluster()
    _refuse_two_clusters(instance, given)
    _refuse_a_wrong_overlay()
    return Stack(instance).preview(_facts(instance, given), expect_no_changes=expect_no_changes)


def is_running(instance: Instance) -> bool:
    """Whether nodes of a local cluster run, all or some."""
    cluster = Cluster.recorded(instance)
    return cluster is not None and any(node.pid() is not None for node in cluster.nodes)


def _refuse_two_clusters(instance: Instance, given: GivenCluster | None) -> None:
    """A stack's state tells of one cluster; led to another, it would take everything for gone."""
    if given is None or Cluster.recorded(instance) is None:
        return
    raise NotReady(
        f"kubeconfig: given {str(given.kubeconfig)!r}, but this checkout's stack is on a local cluster. "
        "Run `make down` without the kubeconfig first, or set LKP_INSTANCE to keep both."
    )


def _refuse_a_wrong_overlay() -> None:
    """Before the first step, not after the last but one."""
    try:
        overlay_file()
    except ValueError as error:
        raise NotReady(str(error)) from error


def _facts(instance: Instance, given: GivenCluster | None) -> ClusterFacts:
    if given is not None:
        return ClusterFacts(given.kubeconfig, given.context)
    cluster = Cluster.recorded(instance)
    if cluster is None:
        raise RuntimeError(
            "no local cluster is recorded: set LKP_KUBECONFIG as you did for `make up`, "
            "or make a new one by `make down` and `make up`"
        )
    return ClusterFacts(
        kubeconfig=instance.kubeconfig,
        nodes=tuple((node.name, node.spec.address) for node in cluster.nodes),
        images=(
            ("token_api", catalog.token_api().reference),
            ("object_store_setup", catalog.object_store_setup().reference),
            ("turn_exporter", catalog.turn_exporter().reference),
        ),
    )


def _tool_steps(instance: Instance) -> list[_Step]:
    missing = machine.missing_packages()
    steps = (
        [_Step(f"install {', '.join(missing)}", lambda: machine.install_packages(missing))] if missing else []
    )
    needed = [tool.build for tool in tools.TOOLS if tool.on_path() is None]
    return [*steps, *map(_build, _not_built(needed)), _Step("link tools", lambda: tools.link(instance))]


def _provider_steps(stack: Stack) -> list[_Step]:
    """The Kubernetes provider: Pulumi downloads it; where it cannot, it is built."""
    if stack.kubernetes_provider() is not None:
        return []
    tool = go_tools.PULUMI_KUBERNETES

    def build_unless_downloaded() -> None:
        if stack.kubernetes_provider() is None:
            tool.build()

    return [
        _Step(f"download {tool.name} v{kubernetes_provider.sdk_version()}", stack.download_provider),
        _Step(f"build {tool.name} {tool.version}", build_unless_downloaded),
    ]


def _not_built(wanted: list[GoTool]) -> list[GoTool]:
    return [tool for tool in dict.fromkeys(wanted) if not tool.built]


def _build(tool: GoTool) -> _Step:
    return _Step(f"build {tool.name} {tool.version}", tool.build)


def _cluster_steps(instance: Instance) -> list[_Step]:
    source = ImageSource(catalog.all_images())
    # The nodes themselves run the kubelet, whatever registry answers.
    programs = [go_tools.KUBERNETES, *source.tools_to_build()]
    cluster = Cluster.plan(instance, NODE_COUNT)
    known: dict[str, Descriptor] = {}

    def resolve(image: Image) -> Callable[[], None]:
        return lambda: known.update({image.reference: source.get(image)})

    def load_all() -> None:
        for node in cluster.nodes:
            load(node, known, store())

    return [
        *map(_build, _not_built(programs)),
        *(
            _rootfs(rootfs)
            for rootfs in (node_files.ROOTFS, *source.rootfs_to_build())
            if not rootfs.tar.exists()
        ),
        *(_Step(f"{source.verb(image)} {image.reference}", resolve(image)) for image in source.images),
        _Step("start nodes", cluster.start_nodes),
        _Step("load images", load_all),
        _Step("initialise the cluster", cluster.initialise),
        _Step("join nodes", cluster.join),
        _Step("connect pods", cluster.connect_pods),
        _Step("install network policies and storage", cluster.install_addons),
        _Step("wait until the cluster is ready", cluster.wait_ready),
    ]


def _rootfs(rootfs: Rootfs) -> _Step:
    return _Step(f"make root file system {rootfs.name}", rootfs.build)
