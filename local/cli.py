"""The commands behind make. Results go to stdout, what happens meanwhile to stderr.

Exit codes:
    0  done
    1  it failed, or (status) not all is healthy
    2  wrong usage
    3  the machine lacks something; nothing was touched
    4  nothing runs, and the command needs a running stack
    5  preview: there are changes, and none were expected
    6  another command works on the same stack
    130  interrupted by Ctrl-C; the same command goes on from there
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from rich.table import Table
from rich.text import Text

from common.commands import CommandFailed
from common.waiting import NeverHappened
from local import debian_lock, hosts, machine, stack_secrets, status
from local.cluster.cluster import Cluster
from local.cluster.topology import UnreadableRecord
from local.extra_images import bring
from local.given import NotReady, given_cluster
from local.images.build import stored_digests
from local.images.catalog import loadtest
from local.images.push import WrongRegistry, checked, configuration, images_to_push
from local.lock import Busy, exclusive
from local.observing import observe
from local.outputs import stack_outputs
from local.paths import Instance
from local.publishing import publish
from local.stack import Stack
from local.summary import print_summary, wide_console
from local.up import build_tools, is_running, preview, up

OK, FAILED, USAGE, NOT_READY, NOT_RUNNING, CHANGES, BUSY = range(7)


@dataclass(frozen=True)
class Arguments:
    """What the command line says, typed."""

    command: str
    json: bool
    secrets: bool
    stack: str
    rotate: str
    expect_no_changes: bool
    node: str
    registry: str
    everything: bool
    words: list[str]


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = _parse(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end everything cleanly, as Ctrl-C does
    try:
        instance = Instance.current()
    except ValueError as error:
        print(error, file=sys.stderr)
        return USAGE
    try:
        return _COMMANDS[arguments.command](instance, arguments)
    except NotReady as error:
        print(error, file=sys.stderr)
        return NOT_READY
    except Busy as error:
        print(error, file=sys.stderr)
        return BUSY
    except (CommandFailed, NeverHappened, RuntimeError, OSError) as error:
        print(f"\n{arguments.command} failed: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print(f"\ninterrupted; `make {arguments.command}` goes on from here", file=sys.stderr)
        return 130


def _up(instance: Instance, arguments: Arguments) -> int:
    with exclusive(instance):
        up(instance)
        print_summary(instance, as_json=arguments.json)
    return OK


def _down(instance: Instance, _arguments: Arguments) -> int:
    with exclusive(instance):
        stack = Stack(instance)
        if stack.others:
            print(
                f"the local stack's Pulumi backend, {instance.pulumi_backend}, also holds "
                f"{', '.join(stack.others)}: `down` would delete that state, too, and did nothing. "
                "Take it to a backend of your own (`pulumi stack export`, there `pulumi stack import`), "
                "then remove it here (`python3 -m local run -- pulumi stack rm --force --stack NAME`)",
                file=sys.stderr,
            )
            return FAILED
        try:
            cluster = Cluster.recorded(instance)
        except UnreadableRecord as error:
            print(f"{error.path} cannot be read: removing what carries this instance's name", file=sys.stderr)
            cluster = Cluster.by_name(instance)
        if cluster is not None:
            # The cluster is deleted with the whole stack in it. Outside the cluster only this entry is left.
            hosts.remove_entry(instance)
            cluster.remove()
            return OK
        if stack.exists and stack.destroy() != 0:
            return FAILED
        hosts.remove_entry(instance)
        shutil.rmtree(instance.root, ignore_errors=True)
    return OK


def _status(instance: Instance, arguments: Arguments) -> int:
    seen = observe(instance, origins=True)
    if seen is None:
        print("nothing runs: `make up` starts it", file=sys.stderr)
        return NOT_RUNNING
    parts = [status.provider_part(Stack(instance).linked_provider()), *status.parts(seen)]
    healthy = all(part.healthy for part in parts) and Stack(instance).exists
    warnings = list(filter(None, [debian_lock.warning()]))
    if arguments.json:
        document = {"healthy": healthy, "parts": [part.to_json() for part in parts], "warnings": warnings}
        print(json.dumps(document, indent=2))
    else:
        table = Table("", box=None, pad_edge=False)
        for heading in ("what", "node", "version", "origin", ""):
            table.add_column(heading, overflow="fold")
        for part in parts:
            mark = "[green]ok[/]" if part.healthy else "[red]not healthy[/]"
            table.add_row(mark, part.name, part.node, part.version, part.origin, Text(part.detail))
        wide_console().print(table)
        for warning in warnings:
            print(f"warning: {warning}", file=sys.stderr)
    return OK if healthy else FAILED


def _preview(instance: Instance, arguments: Arguments) -> int:
    _require_stack(instance)
    with exclusive(instance):
        code = preview(instance, expect_no_changes=arguments.expect_no_changes)
    return OK if code == 0 else CHANGES if arguments.expect_no_changes else FAILED


def _outputs(instance: Instance, arguments: Arguments) -> int:
    _require_stack(instance)
    print(json.dumps(stack_outputs(instance, show_secrets=arguments.secrets), indent=2, sort_keys=True))
    return OK


def _hosts(instance: Instance, _arguments: Arguments) -> int:
    _require_stack(instance)
    outputs = stack_outputs(instance, show_secrets=False)
    if not outputs.get("edge_addresses"):
        print("this stack has no edge on nodes: its names are those of your Ingress", file=sys.stderr)
        return FAILED
    print(f"{hosts.HOSTS_FILE}: {hosts.add_entry(outputs, instance)}", file=sys.stderr)
    return OK


def _secrets(instance: Instance, arguments: Arguments) -> int:
    request = stack_secrets.Request(rotate=arguments.rotate)
    if arguments.stack != stack_secrets.LOCAL:
        environment = Stack(instance).users_environment(os.environ)
        command = stack_secrets.command_for(arguments.stack, request)
        return _become(command, stack_secrets.environment_for(environment))
    _require_stack(instance)
    with exclusive(instance):
        try:
            Stack(instance).complete_secrets(request)
        except stack_secrets.Refused as error:
            print(error, file=sys.stderr)
            return USAGE
    print("`make up` deploys what was changed", file=sys.stderr)
    return OK


def _check(instance: Instance, arguments: Arguments) -> int:
    problems = machine.problems(cluster=given_cluster() is None, running=is_running(instance))
    if arguments.json:
        print(
            json.dumps([{"what": problem.what, "remedy": problem.remedy} for problem in problems], indent=2)
        )
    else:
        print("\n".join(map(str, problems)) or "this machine has what `make up` needs")
    return NOT_READY if problems else OK


def _prepare_tests(instance: Instance, _arguments: Arguments) -> int:
    _install_missing(machine.TEST_PACKAGES)
    with exclusive(instance):
        build_tools(instance)
    return OK


def _prepare_loadtest(_instance: Instance, _arguments: Arguments) -> int:
    return _install_missing(machine.LOAD_PACKAGES)


def _install_missing(wanted: Mapping[str, str]) -> int:
    missing = machine.missing_packages(wanted)
    if missing:
        print(f"installing {', '.join(missing)}", file=sys.stderr)
        machine.install_packages(missing)
    return OK


def _lock_debian(_instance: Instance, _arguments: Arguments) -> int:
    before = debian_lock.warning()
    count = debian_lock.write()
    print(f"{count} packages; before: {before or 'no difference'}", file=sys.stderr)
    return OK


def _images(_instance: Instance, _arguments: Arguments) -> int:
    print(json.dumps(stored_digests(), indent=2, sort_keys=True))
    return OK


def _images_push(_instance: Instance, arguments: Arguments) -> int:
    try:
        registry = checked(arguments.registry)
    except WrongRegistry as error:
        print(error, file=sys.stderr)
        return USAGE
    problems = machine.problems(cluster=False, images=True)
    if problems:
        raise NotReady("\n".join(map(str, problems)))
    if missing := machine.missing_packages({"mmdebstrap": "mmdebstrap"}):
        machine.install_packages(missing)
    images = images_to_push(everything=arguments.everything)
    [*pushed, generator] = publish(registry, [*images, loadtest()])
    print(f"\nfor load from inside a cluster: IMAGE={registry}/{generator.name}", file=sys.stderr)
    print("\nto go into Pulumi.<stack>.yaml, below `config:`:\n", file=sys.stderr)
    print(textwrap.indent(configuration(registry, pushed), "  "))
    return OK


def _images_load(instance: Instance, _arguments: Arguments) -> int:
    cluster = Cluster.recorded(instance)
    if cluster is None:
        print("no local cluster is there: `make up` makes one", file=sys.stderr)
        return NOT_RUNNING
    print(bring(cluster, loadtest()))
    return OK


def _enter(instance: Instance, arguments: Arguments) -> int:
    cluster = Cluster.recorded(instance)
    nodes = {node.name: node for node in cluster.nodes} if cluster else {}
    if arguments.node not in nodes:
        known = ", ".join(nodes) or "none: no cluster runs"
        print(f"node: given {arguments.node!r}, allowed are {known}", file=sys.stderr)
        return USAGE
    return _become(nodes[arguments.node].command(arguments.words or ["sh"]), os.environ)


def _run(instance: Instance, arguments: Arguments) -> int:
    if not arguments.words:
        print("run: given nothing, allowed is a command: `run -- kubectl get pods`", file=sys.stderr)
        return USAGE
    return _become(
        arguments.words, {**Stack(instance).users_environment(os.environ), **_kubeconfig(instance)}
    )


def _kubeconfig(instance: Instance) -> dict[str, str]:
    given = given_cluster()
    path = given.kubeconfig if given else instance.kubeconfig
    return {"KUBECONFIG": str(path)} if path.exists() else {}


def _become(command: list[str], environment: Mapping[str, str]) -> NoReturn:
    """Replace this process, so that signals and the exit code are the command's own."""
    os.execvpe(command[0], command, environment)  # noqa: S606 - no shell wanted


def _require_stack(instance: Instance) -> None:
    if not Stack(instance).exists:
        print("no stack is there: `make up` makes one", file=sys.stderr)
        raise SystemExit(NOT_RUNNING)


_COMMANDS: dict[str, Callable[[Instance, Arguments], int]] = {
    "up": _up,
    "down": _down,
    "status": _status,
    "preview": _preview,
    "outputs": _outputs,
    "hosts": _hosts,
    "secrets": _secrets,
    "check": _check,
    "prepare-tests": _prepare_tests,
    "prepare-loadtest": _prepare_loadtest,
    "lock-debian": _lock_debian,
    "images": _images,
    "images-push": _images_push,
    "images-load": _images_load,
    "enter": _enter,
    "run": _run,
}
_HELP = {
    "up": "bring everything up, or up to date",
    "down": "take everything away again",
    "status": "what runs, from where, and whether it is healthy",
    "preview": "what `up` would change",
    "outputs": "the stack's outputs as JSON",
    "hosts": "lead the stack's names to it, by a line in /etc/hosts",
    "secrets": "create a stack's missing secrets, renew its certificates, or replace one of them",
    "check": "whether this machine has what `up` needs",
    "prepare-tests": "install and build the programs that tests call",
    "prepare-loadtest": "install what load runs need: the tools of the link emulator",
    "lock-debian": "write local/images/debian.lock from what was built here",
    "images": "the digests of the images that are built here, as JSON",
    "images-push": "build our images, publish them in a registry, and print their configuration",
    "images-load": "have the load generator's image on the local cluster's nodes, and print its reference",
    "enter": "a shell, or a command, on a node",
    "run": "a command with this checkout's Python, tools and kubeconfig",
}


def _parse(argv: list[str] | None) -> Arguments:
    parser = argparse.ArgumentParser(
        prog="python3 -m local",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    parsers = {name: commands.add_parser(name, help=_HELP[name]) for name in _COMMANDS}
    for name in ("up", "status", "check"):
        parsers[name].add_argument("--json", action="store_true", help="the result as JSON")
    parsers["outputs"].add_argument("--secrets", action="store_true", help="secret outputs too")
    parsers["secrets"].add_argument("--stack", default=stack_secrets.LOCAL)
    parsers["secrets"].add_argument("--rotate", default="", metavar="NAME", help="what to replace")
    parsers["preview"].add_argument(
        "--expect-no-changes", action="store_true", help="exit with 5 on a change"
    )
    parsers["images-push"].add_argument("registry")
    parsers["images-push"].add_argument(
        "--all", action="store_true", dest="everything", help="every image that the program deploys"
    )
    parsers["enter"].add_argument("node")
    parsers["enter"].add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    parsers["run"].add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    given = parser.parse_args(argv)
    return Arguments(
        command=given.command,
        json=getattr(given, "json", False),
        secrets=getattr(given, "secrets", False),
        stack=getattr(given, "stack", ""),
        rotate=getattr(given, "rotate", ""),
        expect_no_changes=getattr(given, "expect_no_changes", False),
        node=getattr(given, "node", ""),
        registry=getattr(given, "registry", ""),
        everything=getattr(given, "everything", False),
        words=_without_separator(getattr(given, "words", [])),
    )


def _without_separator(words: list[str]) -> list[str]:
    """argparse keeps the first `--` among the rest."""
    return words[1:] if words[:1] == ["--"] else words
