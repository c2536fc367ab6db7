"""From whatever this machine has to a running stack: the steps of `make up`, each done only where needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from local import machine, observing
from local.browser import open_for_browsers
from local.build_steps import build_steps, builds_of, image_steps, rootfs_steps
from local.cluster import node_files
from local.cluster.cluster import Cluster
from local.cluster.load import load
from local.given import GivenCluster, NotReady, given_cluster
from local.images import catalog
from local.images.build import store
from local.images.catalog import Image
from local.images.source import ImageSource
from local.paths import Instance
from local.run_steps import run_steps
from local.stack import ClusterFacts, Stack, overlay_file
from local.steps import Step
from local.toolchain import go_tools, kubernetes_provider, tools

NODE_COUNT = 2

_LINK_TOOLS = "link tools"
_UNPACK = "unpack the nodes' root file system"
_START = "start nodes"
_LOAD_CLUSTER = "load the cluster's images"
_LOAD_PLATFORM = "load the platform's images"
_INITIALISE = "initialise the cluster"
_JOIN = "join nodes"
_CONNECT = "connect pods"
_ADDONS = "install network policies and storage"
_READY = "wait until the cluster is ready"
_CONFIGURE = "complete the stack's configuration"
_BEFORE_PULUMI = (_READY, _LOAD_PLATFORM, _CONFIGURE)
_PULUMI = "pulumi up"
_DOORS = "open doors for browsers"
_HEALTHY = "wait until everything is healthy"


def up(instance: Instance) -> None:
    """Bring everything up; returns when everything is healthy.

    Raises:
        NotReady: the machine lacks something.
        StepFailed: a step failed; the last step fails if a part is not healthy.
    """
    given = given_cluster()
    _refuse_two_clusters(instance, given)
    _refuse_a_wrong_overlay()
    problems = machine.problems(cluster=given is None, running=is_running(instance))
    if problems:
        raise NotReady("\n".join(map(str, problems)))
    run_steps(*_planned(instance, given))


def _planned(instance: Instance, given: GivenCluster | None) -> list[Step]:
    """All steps of `make up`."""
    install = _install_steps()
    provider = _provider_steps(Stack(instance))
    if given is not None:
        deploy = _given_steps(instance, _names(provider))
    else:
        deploy = _local_steps(instance, _names(install), _names(provider))
    return _once([*install, *_tool_steps(instance), *provider, *deploy])


def _names(steps: Iterable[Step]) -> tuple[str, ...]:
    return tuple(step.name for step in steps)


def _once(steps: Iterable[Step]) -> list[Step]:
    """Remove duplicates: a program that is both a tool and a part of an image is built once."""
    return list({step.name: step for step in steps}.values())


def build_tools(instance: Instance) -> None:
    """Build and link the programs that tests call. This needs no stack."""
    run_steps(*_once([*_install_steps(), *_tool_steps(instance)]))


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
            ("recorder", catalog.recorder().reference),
        ),
    )


def _tool_steps(instance: Instance) -> list[Step]:
    needed = [tool.build for tool in tools.TOOLS if tool.on_path() is None]
    return [
        *build_steps(needed),
        Step(_LINK_TOOLS, lambda: tools.link(instance), needs=builds_of(needed)),
    ]


def _provider_steps(stack: Stack) -> list[Step]:
    """Steps that download the Kubernetes provider, or build it if the download fails.

    After the last step the provider is present.
    """
    if stack.kubernetes_provider() is not None:
        return []
    tool = go_tools.PULUMI_KUBERNETES
    download = f"download {tool.name} v{kubernetes_provider.sdk_version()}"

    def unless_downloaded(action: Callable[[], object]) -> Callable[[], object]:
        return lambda: stack.kubernetes_provider() or action()

    return [
        Step(download, stack.download_provider, (_LINK_TOOLS,), timed_as=f"download {tool.name}"),
        *(
            replace(step, action=unless_downloaded(step.action), needs=step.needs or (download,))
            for step in build_steps([tool])
        ),
    ]


def _install_steps() -> list[Step]:
    missing = machine.missing_packages()
    if not missing:
        return []
    return [
        Step(f"install {', '.join(missing)}", lambda: machine.install_packages(missing), timed_as="install")
    ]


def _local_steps(instance: Instance, installed: tuple[str, ...], provider: tuple[str, ...]) -> list[Step]:
    """The cluster on this machine and what is deployed on it.

    Args:
        installed: names of the steps that install missing packages.
        provider: names of the steps that download or build the Kubernetes provider.
    """
    cluster = Cluster.plan(instance, NODE_COUNT)
    stack = Stack(instance)
    source = ImageSource(catalog.all_images())
    kubernetes = [go_tools.KUBERNETES]  # nodes need the kubelet even if a registry answers
    unpack = [] if node_files.ROOTFS.directory.exists() else [Step(_UNPACK, node_files.ROOTFS.unpack)]
    again = " (again)" if stack.exists else ""

    def step(name: str, action: Callable[[], object], *needs: str, shows_output: bool = False) -> Step:
        return Step(name, action, needs, timed_as=f"{name}{again}", shows_output=shows_output)

    def load_steps(name: str, images: list[Image], after: str) -> list[Step]:
        def load_all() -> None:
            manifests = {image.reference: source.get(image) for image in images}
            for node in cluster.nodes:
                load(node, manifests, store())

        made = image_steps(source, images, installed)
        return [*made, step(name, load_all, after, *_names(made))]

    return [
        *build_steps([*kubernetes, *source.tools_to_build()]),
        *(rootfs := rootfs_steps([node_files.ROOTFS], installed)),
        *(replace(one, needs=_names(rootfs)) for one in unpack),
        step(_START, cluster.start_nodes, *installed, *builds_of(kubernetes), *_names(unpack)),
        *load_steps(_LOAD_CLUSTER, catalog.cluster_images(), _START),
        step(_INITIALISE, cluster.initialise, _LOAD_CLUSTER),
        step(_JOIN, cluster.join, _INITIALISE),
        step(_CONNECT, cluster.connect_pods, _JOIN),
        step(_ADDONS, cluster.install_addons, _CONNECT),
        step(_READY, cluster.wait_ready, _ADDONS),
        # Runs while Kubernetes starts. An earlier start would delay the images that the cluster waits for.
        *load_steps(_LOAD_PLATFORM, catalog.platform_images(), _LOAD_CLUSTER),
        step(_CONFIGURE, lambda: _configure(instance, None), _LINK_TOOLS, _START, *provider),
        step(_PULUMI, lambda: _deploy(instance), *_BEFORE_PULUMI, shows_output=True),
        step(_DOORS, lambda: open_for_browsers(cluster, stack.outputs(show_secrets=False)), _PULUMI),
        step(_HEALTHY, lambda: observing.wait(instance), _DOORS),
    ]


def _given_steps(instance: Instance, provider: tuple[str, ...]) -> list[Step]:
    """The steps that deploy to a cluster that the user names."""
    return [
        Step(_CONFIGURE, lambda: _configure(instance, given_cluster()), (_LINK_TOOLS, *provider)),
        Step(
            _PULUMI,
            lambda: _deploy(instance),
            (_CONFIGURE,),
            timed_as=f"{_PULUMI} (given cluster)",
            shows_output=True,
        ),
        Step(_HEALTHY, lambda: observing.wait(instance), (_PULUMI,), timed_as=f"{_HEALTHY} (given cluster)"),
    ]


def _configure(instance: Instance, given: GivenCluster | None) -> None:
    Stack(instance).prepare(_facts(instance, given))


def _deploy(instance: Instance) -> None:
    code = Stack(instance).up()
    if code != 0:
        raise RuntimeError(f"exited with {code}; its output says why, and `make status` what is not healthy")
