"""The commands' exit codes and sentences, where no stack runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from common.commands import CommandFailed, Completed, run
from common.waiting import NeverHappened
from local import cli, debian_lock, machine
from local.cluster import network
from local.cluster.cluster import Cluster
from local.cluster.topology import Topology
from local.lock import exclusive
from local.machine import Problem
from local.paths import CHECKOUT, Instance
from local.stack import Stack
from local.status import Observation, Part, provider_part
from local.toolchain.kubernetes_provider import Origin, Provider
from tests.unit.local.conftest import Home


@pytest.fixture(autouse=True)
def instance(monkeypatch: pytest.MonkeyPatch) -> Instance:
    monkeypatch.setenv("LKP_INSTANCE", "abc123")
    return Instance.current()


@pytest.fixture
def stack_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stack, "exists", True)


def _as_process(home: Home, *words: str) -> Completed:
    """With the real cache, where the Python environment is, and a state of the test's own."""
    cache = {name: value for name, value in home.environment.items() if name == "XDG_CACHE_HOME"}
    without = ["env", "-u", "XDG_CACHE_HOME", *(f"{name}={value}" for name, value in cache.items())]
    return run([*without, sys.executable, "-m", "local", *words], cwd=CHECKOUT, timeout=60, check=False)


@pytest.mark.parametrize("words", [[], ["nothing"], ["up", "--nothing"], ["enter"], ["status", "more"]])
def test_wrong_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert "usage: python3 -m local" in capsys.readouterr().err


def test_run_without_a_command_says_what_is_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["run"], ["run", "--"]):
        assert cli.main(words) == 2
        assert "run: given nothing, allowed is a command" in capsys.readouterr().err


def test_an_unknown_node_is_wrong_usage_and_the_known_ones_are_named(
    instance: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["enter", "node1"]) == 2
    assert capsys.readouterr().err == "node: given 'node1', allowed are none: no cluster runs\n"
    Topology(instance.id, "10.213.0.0/24", 2).save(instance.record)
    assert cli.main(["enter", "node3", "--", "true"]) == 2
    assert capsys.readouterr().err == "node: given 'node3', allowed are node1, node2\n"


def test_a_wrong_instance_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LKP_INSTANCE", "NOT-GOOD")
    assert cli.main(["status"]) == 2
    assert "LKP_INSTANCE: given 'NOT-GOOD', allowed are" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["status"], ["status", "--json"], ["outputs"], ["preview"]])
def test_what_needs_a_running_stack_says_so(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = cli.main(words)
    except SystemExit as ended:
        code = int(ended.code or 0)
    printed = capsys.readouterr()
    assert (code, printed.out) == (4, "")
    assert "`make up`" in printed.err


def test_taking_down_what_is_not_there_is_no_failure(instance: Instance) -> None:
    assert cli.main(["down"]) == 0
    assert not instance.root.exists()


@pytest.mark.parametrize("local_cluster", [True, False])
def test_what_holds_another_stack_s_state_is_not_taken_down(
    local_cluster: bool,
    instance: Instance,
    stack_exists: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    removed: list[str] = []
    monkeypatch.setattr(Cluster, "remove", lambda _: removed.append("cluster"))

    def destroy(_: Stack) -> int:
        removed.append("stack")
        return 0

    monkeypatch.setattr(Stack, "destroy", destroy)
    if local_cluster:
        Topology(instance.id, "10.213.0.0/24", 2).save(instance.record)
    stacks = instance.pulumi_backend / ".pulumi" / "stacks" / "livekit-platform"
    stacks.mkdir(parents=True)
    # The engine keeps the last state beside each, and of a removed stack nothing else.
    for name in ("local.json", "local.json.bak", "staging.json", "gone.json.bak"):
        (stacks / name).write_text("{}")
    assert cli.main(["down"]) == 1
    said = capsys.readouterr().err
    assert "also holds livekit-platform/staging: `down` would delete that state" in said
    assert (removed, (stacks / "staging.json").exists()) == ([], True)

    (stacks / "staging.json").unlink()
    assert cli.main(["down"]) == 0
    assert removed == ["cluster" if local_cluster else "stack"]


def test_a_cluster_without_a_readable_record_is_named_and_can_be_taken_down(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    removed: list[Topology] = []
    monkeypatch.setattr(Cluster, "remove", lambda cluster: removed.append(cluster.topology))
    monkeypatch.setattr(network, "network_namespaces", set)
    (instance.nodes / "node2").mkdir(parents=True)
    instance.record.write_text('{"instance": "abc1')
    for command in ("up", "status", "check"):
        assert cli.main([command]) == 1
        printed = capsys.readouterr()
        assert printed.err.startswith(f"\n{command} failed: {instance.record} cannot be read (")
        assert "`make down` removes what carries this instance's name" in printed.err
    assert cli.main(["down"]) == 0
    assert "cannot be read" in capsys.readouterr().err
    assert [node.netns for topology in removed for node in topology.nodes] == [
        "lkp-abc123-node1",
        "lkp-abc123-node2",
    ]


def test_a_machine_that_lacks_something_is_told_so_and_nothing_is_touched(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        machine, "problems", lambda **_: [Problem("A is missing.", "Get A."), Problem("B.", "C.")]
    )
    for command in ("up", "check"):
        assert cli.main([command]) == 3
        printed = capsys.readouterr()
        assert (printed.err if command == "up" else printed.out) == "A is missing. Get A.\nB. C.\n"
    assert not instance.root.exists()


def test_a_check_can_be_read_by_a_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "problems", lambda **_: [Problem("A is missing.", "Get A.")])
    assert cli.main(["check", "--json"]) == 3
    assert json.loads(capsys.readouterr().out) == [{"what": "A is missing.", "remedy": "Get A."}]
    monkeypatch.setattr(machine, "problems", lambda **_: [])
    assert cli.main(["check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert cli.main(["check"]) == 0


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a given cluster."""
    path = tmp_path / "kubeconfig"
    path.write_text("")
    monkeypatch.setenv("LKP_KUBECONFIG", str(path))
    return path


def test_a_given_cluster_needs_no_machine_for_nodes(
    kubeconfig: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[dict[str, bool]] = []

    def problems(**what: bool) -> list[Problem]:
        asked.append(what)
        return []

    monkeypatch.setattr(machine, "problems", problems)
    assert cli.main(["check"]) == 0
    assert asked == [{"cluster": False, "running": False}]
    kubeconfig.unlink()
    assert cli.main(["check"]) == 3
    assert "kubeconfig: given" in capsys.readouterr().err


def test_a_stack_on_a_local_cluster_is_not_led_to_a_given_one(
    instance: Instance, kubeconfig: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Topology(instance.id, "10.213.0.0/24", 2).save(instance.record)
    assert cli.main(["up"]) == 3
    assert "this checkout's stack is on a local cluster" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["up"], ["down"], ["preview"]])
def test_while_another_command_works_it_is_busy(
    words: list[str], instance: Instance, stack_exists: None, capsys: pytest.CaptureFixture[str]
) -> None:
    # The kernel tells two open files apart also within one process.
    with exclusive(instance):
        assert cli.main(words) == 6
    assert "works on this stack" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "engine", "code"),
    [
        (["preview"], 0, 0),
        (["preview"], 255, 1),
        (["preview", "--expect-no-changes"], 0, 0),
        (["preview", "--expect-no-changes"], 255, 5),
    ],
)
def test_a_preview_tells_changes_from_failures_as_far_as_the_engine_does(
    words: list[str], engine: int, code: int, stack_exists: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def preview(_: Instance, *, expect_no_changes: bool) -> int:
        asked.append(expect_no_changes)
        return engine

    monkeypatch.setattr(cli, "preview", preview)
    assert cli.main(words) == code
    assert asked == [len(words) > 1]


@pytest.mark.parametrize("healthy", [True, False])
def test_a_status_has_parts_and_warnings(
    healthy: bool, stack_exists: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    part = Part("node", "node1", "node1", "v1.35.4", "", healthy, "" if healthy else "NotReady: [no] word")
    monkeypatch.setattr(cli, "observe", lambda _instance, **_: Observation(broken=(part,)))
    monkeypatch.setattr(debian_lock, "warning", lambda: "1 Debian package differs")
    provider = Provider(Path("/bin/it"), "4.25.0", Origin.BUILT)
    monkeypatch.setattr(Stack, "linked_provider", lambda _stack: provider)
    assert cli.main(["status"]) == (0 if healthy else 1)
    printed = capsys.readouterr()
    assert part.detail in printed.out  # brackets are printed as they are
    assert printed.err == "warning: 1 Debian package differs\n"
    assert cli.main(["status", "--json"]) == (0 if healthy else 1)
    assert json.loads(capsys.readouterr().out) == {
        "healthy": healthy,
        "parts": [provider_part(provider).to_json(), part.to_json()],
        "warnings": ["1 Debian package differs"],
    }


def test_sigterm_ends_a_command_as_ctrl_c_does(home: Home) -> None:
    """SIGTERM ends running work cleanly. Python's default handling would leave processes behind."""
    script = (
        "import sys, time\nfrom local import cli\n"
        "def up(instance):\n    print('works', flush=True)\n    time.sleep(600)\n"
        "cli.up = up\nsys.exit(cli.main(['up']))\n"
    )
    environment = {**os.environ, "XDG_STATE_HOME": str(home.state)}
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=CHECKOUT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "works\n"
        process.terminate()
        _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (130, "\ninterrupted; `make up` goes on from here\n")


@pytest.mark.parametrize(
    "error",
    [
        CommandFailed(["kubeadm", "init"], "exited with 1", "", "its words"),
        NeverHappened("waited 30 s for its words"),
        RuntimeError("its words"),
        OSError("its words"),
    ],
)
def test_a_failure_is_a_sentence_and_no_traceback(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_: Instance) -> int:
        raise error

    monkeypatch.setattr(cli, "up", fails)
    assert cli.main(["up"]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("\nup failed: ")
    assert "its words" in printed.err


def test_an_interrupted_command_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: Instance) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "up", interrupted)
    assert cli.main(["up"]) == 130
    assert "`make up` goes on from here" in capsys.readouterr().err


def test_run_becomes_the_command_with_its_exit_code_and_output(home: Home) -> None:
    done = _as_process(home, "run", "--", "sh", "-c", 'echo "$1"; echo e >&2; exit 7', "sh", "--json")
    assert (done.returncode, done.stdout, done.stderr) == (7, "--json\n", "e\n")


def test_run_has_the_checkouts_python_first_on_its_path(home: Home) -> None:
    assert _as_process(home, "run", "--", "sh", "-c", "command -v python").stdout.strip() == sys.executable


def test_run_lets_the_backend_of_the_user_be(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """State of another stack in the instance's directory would go with `make down`."""
    for name in [name for name in os.environ if name.startswith("PULUMI_")]:
        monkeypatch.delenv(name)
    words = ["run", "--", "sh", "-c", 'echo "$PULUMI_BACKEND_URL ${PULUMI_CONFIG_PASSPHRASE_FILE-none}"']
    instance = Instance.current()
    ours = f"file://{instance.pulumi_backend} {instance.passphrase}\n"
    assert _as_process(home, *words).stdout == ours
    assert _as_process(home, "run", "--", "python", "-m", "local", *words).stdout == ours
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://mine")
    assert _as_process(home, *words).stdout == "s3://mine none\n"


def test_run_hands_signals_on_to_the_command(home: Home) -> None:
    """The command is that process itself: whoever ends it ends the command."""
    command = [sys.executable, "-m", "local", "run", "--", "sh", "-c", "echo $$; exec sleep 600"]
    environment = {name: value for name, value in home.environment.items() if not name.startswith("LKP_")}
    environment["XDG_STATE_HOME"] = str(home.state)
    with subprocess.Popen(
        command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert int(process.stdout.readline()) == process.pid
        process.terminate()
        assert process.wait(timeout=20) == -15


def test_run_of_a_command_that_is_not_there_is_a_failure_in_a_sentence(home: Home) -> None:
    done = _as_process(home, "run", "--", "no-such-command")
    assert (done.returncode, done.stdout) == (1, "")
    assert "run failed: " in done.stderr
    assert "no-such-command" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_only_tests_need_is_installed_where_it_is_missing_and_only_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed: list[list[str]] = []
    built: list[Instance] = []
    monkeypatch.setattr(machine, "install_packages", installed.append)
    monkeypatch.setattr(cli, "build_tools", built.append)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert cli.main(["prepare-tests"]) == 0
    assert installed == []
    assert len(built) == 1, "isolated tests call tools before the stack is up"
    monkeypatch.setattr(
        shutil, "which", lambda name: None if name in ("chromium", "certutil", "nft") else name
    )
    assert cli.main(["prepare-tests"]) == 0
    assert installed == [["chromium", "libnss3-tools"]]


def test_what_only_load_runs_need_is_installed_without_a_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[list[str]] = []
    monkeypatch.setattr(machine, "install_packages", installed.append)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert cli.main(["prepare-loadtest"]) == 0
    assert installed == [["iptables", "irtt"]]


def test_help_lists_every_command_and_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    commands = ("up", "down", "status", "preview", "outputs", "check", "prepare-tests", "prepare-loadtest")
    for command in (*commands, "enter", "run"):
        assert f"\n    {command} " in text
    for code in range(7):
        assert f"\n    {code}  " in text
