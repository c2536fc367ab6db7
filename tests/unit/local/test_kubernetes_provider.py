"""Which Kubernetes provider is used: the machine's own, else a download, else the one built here."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from local import up
from local.paths import Instance
from local.stack import Stack
from local.status import provider_part
from local.toolchain import go_tools, kubernetes_provider, tools
from local.toolchain.go_tools import GoTool
from local.toolchain.kubernetes_provider import NAME, Origin, Provider, find, link, linked, sdk_version

_PIN = go_tools.PULUMI_KUBERNETES.version
# A resource provider as the engine sees it: it prints its port and answers GetPluginInfo.
_SERVING = """\
#!{python}
import sys
from concurrent.futures import ThreadPoolExecutor
import grpc
from pulumi.runtime.proto import plugin_pb2, provider_pb2_grpc

class Provider(provider_pb2_grpc.ResourceProviderServicer):
    def GetPluginInfo(self, request, context):
        return plugin_pb2.PluginInfo(version="{version}")

assert len(sys.argv) == 1
server = grpc.server(ThreadPoolExecutor(1))
provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(), server)
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
"""


def _executable(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def _installed(machine: Path, version: str) -> Path:
    return _executable(machine / NAME, _SERVING.format(python=sys.executable, version=version))


def _downloaded(pulumi_home: Path, version: str) -> Path:
    return _executable(pulumi_home / "plugins" / f"resource-kubernetes-v{version}" / NAME)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A directory on PATH."""
    return tmp_path / "bin"


@pytest.fixture
def pulumi_home(tmp_path: Path) -> Path:
    """Pulumi's own directory."""
    return tmp_path / "pulumi-home"


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GoTool:
    """The tool, built in an otherwise empty cache."""
    monkeypatch.setattr(go_tools, "cache_dir", lambda: tmp_path / "cache")
    _executable(go_tools.PULUMI_KUBERNETES.path)
    return go_tools.PULUMI_KUBERNETES


@pytest.mark.usefixtures("built")
def test_the_machines_own_comes_first_then_a_download_then_ours(machine: Path, pulumi_home: Path) -> None:
    ours = Provider(go_tools.PULUMI_KUBERNETES.path, _PIN.removeprefix("v"), Origin.BUILT)
    assert find(str(machine), pulumi_home) == ours
    download = _downloaded(pulumi_home, sdk_version())
    assert find(str(machine), pulumi_home) == Provider(download, sdk_version(), Origin.DOWNLOADED)
    program = _installed(machine, "4.99.1")
    assert find(str(machine), pulumi_home) == Provider(program, "4.99.1", Origin.PATH)


def test_without_any_there_is_none(
    machine: Path, pulumi_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(go_tools, "cache_dir", lambda: tmp_path / "cache")
    assert find(str(machine), pulumi_home) is None


@pytest.mark.parametrize(
    ("version", "taken"),
    [
        (_PIN, True),
        ("4.24.1", False),
        ("5.0.0", False),
        ("", False),
    ],
)
@pytest.mark.usefixtures("built")
def test_the_machines_own_has_the_same_major_version_and_is_not_older_than_the_pin(
    version: str, taken: bool, machine: Path, pulumi_home: Path
) -> None:
    _installed(machine, version)
    found = find(str(machine), pulumi_home)
    assert found is not None
    assert (found.origin is Origin.PATH) is taken


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho no port\n", "no program"])
@pytest.mark.usefixtures("built")
def test_a_broken_one_is_not_taken(script: str, machine: Path, pulumi_home: Path) -> None:
    _executable(machine / NAME, script)
    found = find(str(machine), pulumi_home)
    assert found is not None
    assert found.origin is Origin.BUILT


@pytest.mark.usefixtures("built")
def test_a_download_that_is_older_than_the_sdk_or_incomplete_is_not_taken(
    machine: Path, pulumi_home: Path
) -> None:
    """The engine would not use it either, because the SDK requires its own version."""
    _downloaded(pulumi_home, "4.25.0")
    incomplete = _downloaded(pulumi_home, sdk_version()).parent
    incomplete.with_name(f"{incomplete.name}.partial").touch()
    found = find(str(machine), pulumi_home)
    assert found is not None
    assert found.origin is Origin.BUILT
    newest = _downloaded(pulumi_home, "4.100.0")
    _downloaded(pulumi_home, "4.99.0")
    assert find(str(machine), pulumi_home) == Provider(newest, "4.100.0", Origin.DOWNLOADED)


def test_the_link_takes_the_place_of_another_and_says_where_it_leads(
    built: GoTool, machine: Path, pulumi_home: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "plugins"
    assert linked(directory, str(machine), pulumi_home) is None
    for provider in (
        Provider(_downloaded(pulumi_home, sdk_version()), sdk_version(), Origin.DOWNLOADED),
        Provider(built.path, _PIN.removeprefix("v"), Origin.BUILT),
    ):
        link(provider, directory)
        assert linked(directory, str(machine), pulumi_home) == provider
        assert [entry.name for entry in directory.iterdir()] == [NAME]
    built.path.unlink()
    assert linked(directory, str(machine), pulumi_home) is None


def test_the_module_has_the_files_that_are_embedded() -> None:
    tool = go_tools.PULUMI_KUBERNETES
    for path in tool.embedded:
        assert tool.embedded_file(Path(path).name).stat().st_size > 100_000


def test_the_embedded_files_are_part_of_what_is_built() -> None:
    tool = go_tools.PULUMI_KUBERNETES
    assert replace(tool, embedded=()).key != tool.key


def test_the_name_is_the_executable_that_the_engine_looks_for() -> None:
    assert go_tools.PULUMI_KUBERNETES.name == "pulumi-resource-kubernetes" == kubernetes_provider.NAME


# Replaces the engine: it downloads the requested plugin, or nothing.
_PULUMI = """\
#!/bin/sh
echo "$@" >>"{log}"
[ "$1 $2 $3 $4" = "plugin install resource kubernetes" ] || exit 9
{download} || exit 0
mkdir -p "$PULUMI_HOME/plugins/resource-kubernetes-v$5"
printf '#!/bin/sh\\n' >"$PULUMI_HOME/plugins/resource-kubernetes-v$5/pulumi-resource-kubernetes"
chmod +x "$PULUMI_HOME/plugins/resource-kubernetes-v$5/pulumi-resource-kubernetes"
"""


@pytest.mark.parametrize("downloadable", [True, False])
def test_make_up_downloads_it_and_builds_it_only_where_that_failed(
    downloadable: bool, instance: Instance, tmp_path: Path, pulumi_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_HOME", str(pulumi_home))
    monkeypatch.setenv("PATH", os.defpath)  # a running stack's provider is on the tests' PATH
    built: list[str] = []

    def build(tool: GoTool) -> Path:
        built.append(tool.name)
        return _executable(tool.path)

    monkeypatch.setattr(GoTool, "build", build)
    monkeypatch.setattr(GoTool, "download", lambda tool: built.append(f"modules of {tool.name}"))
    script = _PULUMI.format(log=tmp_path / "log", download=str(downloadable).lower())
    _executable(tools.directory(instance) / "pulumi", script)
    stack = Stack(instance)

    steps = up._provider_steps(stack)
    assert [step.name.split()[0] for step in steps] == ["download", "download", "build"]
    for step in steps:
        step.action()
    assert (tmp_path / "log").read_text().split()[4] == sdk_version()
    assert built == ([] if downloadable else [f"modules of {NAME}", NAME])
    found = stack.kubernetes_provider()
    assert found is not None
    assert found.origin is (Origin.DOWNLOADED if downloadable else Origin.BUILT)
    assert up._provider_steps(stack) == [], "the next `make up` has nothing to do"


def test_status_shows_the_provider_its_version_and_where_it_is_from() -> None:
    part = provider_part(Provider(Path("/bin/it"), "4.25.0", Origin.BUILT))
    assert (part.name, part.version, part.origin, part.healthy) == (NAME, "v4.25.0", "built here", True)
    missing = provider_part(None)
    assert not missing.healthy
    assert "make up" in missing.detail
