"""Programs as `pulumi` on a command line runs them: by our language host, in a process of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from common.commands import Completed, run
from common.waiting import wait_until
from tests.running import ClusterAccess

PULUMI_YAML = "name: hosted\nruntime: python\nmain: program\n"


@dataclass(frozen=True)
class Project:
    """A Pulumi project on disk, with a stack `test`."""

    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PULUMI_BACKEND_URL": (self.directory / "state").as_uri(),
            "PULUMI_HOME": str(self.directory / "home"),
            "PULUMI_CONFIG_PASSPHRASE": "only for this test",
        }

    def write(self, program: str) -> None:
        (self.directory / "program" / "__main__.py").write_text(textwrap.dedent(program))

    def pulumi(self, *arguments: str, check: bool = True) -> Completed:
        return run(
            ["pulumi", "--non-interactive", *arguments],
            timeout=120,
            cwd=self.directory,
            env=self.environment,
            check=check,
        )

    def up(self, program: str, check: bool = True) -> Completed:
        self.write(program)
        return self.pulumi("up", "--yes", "--skip-preview", check=check)


@pytest.fixture
def project(_engine: None, tmp_path: Path) -> Project:
    """An empty project."""
    for name in ("program", "state"):
        (tmp_path / name).mkdir()
    (tmp_path / "Pulumi.yaml").write_text(PULUMI_YAML)
    made = Project(tmp_path)
    made.pulumi("stack", "init", "test")
    return made


def test_what_a_program_registered_for_its_end_is_done(project: Project) -> None:
    # So the Kubernetes client removes the files into which it wrote the key of the cluster.
    left = project.directory / "left"
    left.touch()
    project.up(f"import atexit, os; atexit.register(os.remove, {str(left)!r})")
    assert not left.exists()


def test_a_program_gets_all_that_the_engine_says_of_the_run(project: Project) -> None:
    (project.directory / "program" / "beside.py").write_text("HERE = 'imported from beside the program'\n")
    project.pulumi("config", "set", "plain", "a value")
    project.pulumi("config", "set", "--secret", "hidden", "a s3cret value")
    done = project.up(
        """
        import os, sys, pulumi, beside
        config = pulumi.Config()
        print("printed by the program", flush=True)
        pulumi.export("facts", {
            "name": pulumi.get_project(), "stack": pulumi.get_stack(),
            "organization": pulumi.get_organization(), "root": pulumi.get_root_directory()
            if hasattr(pulumi, "get_root_directory") else None,
            "directory": os.getcwd(), "argv": sys.argv, "path": os.environ.get("PYTHONPATH"),
            "plain": config.require("plain"), "beside": beside.HERE, "preview": pulumi.runtime.is_dry_run(),
        })
        pulumi.export("hidden", config.require_secret("hidden"))
        """
    )
    facts = json.loads(project.pulumi("stack", "output", "--json").stdout)
    assert facts["hidden"] == "[secret]"
    assert "s3cret" not in done.stdout
    assert facts["facts"] == {
        "name": "hosted",
        "stack": "test",
        "organization": "organization",
        "root": str(project.directory),
        "directory": str(project.directory / "program"),
        "argv": ["."],
        "path": os.environ.get("PYTHONPATH"),
        "plain": "a value",
        "beside": "imported from beside the program",
        "preview": False,
    }
    assert "printed by the program" in done.stdout


def test_an_exception_is_shown_from_the_program_s_own_line_on(project: Project) -> None:
    failed = project.up("def deep():\n    raise ValueError('of the program')\n\ndeep()\n", check=False)
    assert failed.returncode != 0
    assert "ValueError: of the program" in failed.stdout
    assert '__main__.py", line 4' in failed.stdout
    assert "runpy" not in failed.stdout
    assert "exit code" not in failed.stdout, "one error, told once"


def test_an_error_for_the_user_is_shown_without_a_traceback(project: Project) -> None:
    failed = project.up("import pulumi\nraise pulumi.RunError('set the domain first')\n", check=False)
    assert failed.returncode != 0
    assert "error: set the domain first" in failed.stdout
    assert "Traceback" not in failed.stdout


def test_the_exit_code_of_a_program_is_told(project: Project) -> None:
    failed = project.up("import sys\nsys.exit(7)\n", check=False)
    assert failed.returncode != 0
    assert "program exited with non-zero exit code: 7" in failed.stdout


def test_a_cancelled_run_ends_the_program_and_keeps_what_is_there(
    project: Project, cluster: ClusterAccess, namespace: str, core: Any
) -> None:
    """The first Ctrl-C while an object is awaited: no process and no lock stays, the state has the object."""
    project.write(
        f"""
        import pulumi, pulumi_kubernetes as k8s
        provider = k8s.Provider("cluster", kubeconfig={str(cluster.kubeconfig)!r})
        print("the program has begun", flush=True)
        k8s.core.v1.Pod("pod", metadata={{"name": "pod", "namespace": {namespace!r}}}, spec={{
            "containers": [{{"name": "pod", "image": "registry.invalid/nothing:none"}}],
            "automountServiceAccountToken": False,
        }}, opts=pulumi.ResourceOptions(provider=provider))
        """
    )
    log = project.directory / "log"
    with log.open("w") as out:
        pulumi = subprocess.Popen(
            ["pulumi", "--non-interactive", "up", "--yes", "--skip-preview"],
            cwd=project.directory,
            env={**os.environ, **project.environment},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_until(
                lambda: core.list_namespaced_pod(namespace).items,
                timeout=60,
                describe="the pod to be awaited",
            )
            children = _descendants(pulumi.pid)
            assert len(children) >= 3, "language host, program and provider"
            pulumi.send_signal(signal.SIGINT)
            code = pulumi.wait(timeout=30)
        finally:
            pulumi.kill()
    said = log.read_text()
    assert code != 0, said
    assert "Traceback" not in said
    wait_until(
        lambda: not [pid for pid in children if Path(f"/proc/{pid}").exists()],
        timeout=10,
        describe="all processes of the run to be gone",
    )
    exported = json.loads(project.pulumi("stack", "export").stdout)
    (pod,) = [one for one in exported["deployment"]["resources"] if one["urn"].endswith("::pod")]
    assert pod["initErrors"], "what was awaited is not known to be ready"
    project.pulumi("destroy", "--yes")  # also: no lock was left behind


def _descendants(pid: int) -> set[int]:
    """All processes that `pid` started, directly or not."""
    found: set[int] = set()
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            found |= {child} | _descendants(child)
    return found
