"""The Pulumi stack `local` on a cluster: backend, passphrase, configuration, and the engine's commands."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from common.commands import Completed, run, started
from common.files import write_whole
from local import old_state, stack_secrets, variables
from local.paths import CHECKOUT, Instance, cache_dir, state_root
from local.plugins.shims import official_host, write_shim
from local.toolchain import kubernetes_provider, tools, venv
from local.toolchain.kubernetes_provider import Provider

NAME = "local"
_PROJECT = "livekit-platform"
_CHECKED_IN = CHECKOUT / "Pulumi.local.yaml"
# The generated file also contains the encryption salt and the instance's own secrets and certificates. No
# other file contains them.
_SALT = "encryptionsalt"
_OWN_SECTIONS = ("secrets", "certificates")
_PULUMI = (*variables.OWN_PASSPHRASE, "pulumi")
_NAMESPACE_TYPE = "kubernetes:core/v1:Namespace"
_UP_SECONDS = 1800.0
_DOWNLOAD_SECONDS = 300.0


@dataclass(frozen=True)
class ClusterFacts:
    """What only the cluster knows and the program's configuration needs."""

    kubeconfig: Path
    context: str | None = None
    nodes: tuple[tuple[str, str], ...] = ()  # name and address of each
    images: tuple[tuple[str, str], ...] = ()  # configuration key and reference of each

    def to_config(self) -> dict[str, Any]:
        """As keys of the stack's configuration; what is None or empty is left to the checkout's."""
        config: dict[str, Any] = {"kubeconfig": str(self.kubeconfig)}
        if self.context:
            config["context"] = self.context
        if self.nodes:
            config["nodes"] = [{"name": name, "address": address} for name, address in self.nodes]
        if self.images:
            config["images"] = dict(self.images)
        return config


def merge_config(
    checked_in: str, previous: str | None, facts: ClusterFacts, overlay: Mapping[str, Any] | None = None
) -> str:
    """The generated configuration file: the checkout's, with an overlay and the cluster's facts laid over it.

    Args:
        checked_in: Pulumi.local.yaml as it is now.
        previous: the file as generated before. It has the only copy of the encryption salt, secrets and
            certificates, so these are kept, whatever the other layers contain.
        overlay: keys of the configuration, with the project's prefix, that are tried out.
    """
    document: dict[str, Any] = yaml.safe_load(checked_in) or {}
    found = {f"{_PROJECT}:{key}": value for key, value in facts.to_config().items()}
    config: dict[str, Any] = dict(document.get("config") or {})
    for layer in (overlay or {}, found):
        for name, value in layer.items():
            given = config.get(name)
            if isinstance(given, dict) and isinstance(value, dict):
                value = {**given, **value}  # noqa: PLW2901 - one section over another
            config[name] = value
    document["config"] = config
    before: dict[str, Any] = (yaml.safe_load(previous) or {}) if previous else {}
    _keep_own(config, before.get("config") or {})
    if before.get(_SALT):
        document[_SALT] = before[_SALT]
    return yaml.safe_dump(document, sort_keys=False)


def _keep_own(config: dict[str, Any], before: Mapping[str, Any]) -> None:
    """Restore the instance's own sections in `config`, but drop plain text in `secrets`: it is a mistake."""
    for section in _OWN_SECTIONS:
        key = f"{_PROJECT}:{section}"
        own = before.get(key)
        if not isinstance(own, dict):
            continue
        kept = {
            name: value
            for name, value in own.items()
            if section != "secrets" or (isinstance(value, dict) and "secure" in value)
        }
        given = config.get(key)
        config[key] = {**(given if isinstance(given, dict) else {}), **kept}


def overlay_file() -> dict[str, Any]:
    """What LKP_OVERLAY names: a file with `config:` like Pulumi.local.yaml, for this one `up`; {} without it.

    Raises:
        ValueError: it is no such file.
    """
    path = os.environ.get("LKP_OVERLAY")
    if not path:
        return {}
    try:
        document = yaml.safe_load(Path(path).read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"LKP_OVERLAY: given {path!r}, allowed is a YAML file: {error}") from error
    config = document.get("config") if isinstance(document, dict) else None
    if not isinstance(config, dict):
        raise ValueError(f"LKP_OVERLAY: given {path!r}, allowed is a file with `config:` and keys below it")
    return config


class Stack:
    """Stack `local` of one instance, driven by the real engine."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    @property
    def exists(self) -> bool:
        return self._state_file.exists()

    @property
    def _state_file(self) -> Path:
        return self._instance.pulumi_backend / ".pulumi" / "stacks" / _PROJECT / f"{NAME}.json"

    @property
    def namespaces(self) -> list[str]:
        """Namespaces of the cluster that this stack created, even if an `up` failed half-way."""
        try:
            checkpoint = json.loads(self._state_file.read_text())["checkpoint"]["latest"]
        except FileNotFoundError:
            return []
        resources = (checkpoint or {}).get("resources") or []
        return [str(one["id"]) for one in resources if one.get("type") == _NAMESPACE_TYPE and one.get("id")]

    @property
    def _may_be_old(self) -> bool:
        return self.exists and old_state.mentions_old_provider(self._state_file.read_bytes())

    @property
    def others(self) -> list[str]:
        """Stacks beside this one in the instance's backend, by path: somebody put them there."""
        stacks = self._instance.pulumi_backend / ".pulumi" / "stacks"
        names = {
            str(path.relative_to(stacks)).removesuffix(".gz").removesuffix(".json")
            for path in stacks.rglob("*")
            if path.name.endswith((".json", ".json.gz"))
        }
        return sorted(names - {f"{_PROJECT}/{NAME}"})

    def prepare(self, facts: ClusterFacts) -> None:
        """Backend, passphrase, configuration, plugins, and the stack itself; again is harmless."""
        overlay = overlay_file()
        self._instance.pulumi_backend.mkdir(parents=True, exist_ok=True)
        if not self._instance.passphrase.exists():
            self._instance.passphrase.touch(mode=0o600)
            self._instance.passphrase.write_text(secrets.token_urlsafe(32))
        self._choose_plugins()
        if self.exists:
            self._convert_old_state()
            known: str | None = self._instance.stack_config.read_text()
        else:
            known = self._create()
        merged = merge_config(_CHECKED_IN.read_text(), known, facts, overlay)
        write_whole(self._instance.stack_config, merged, mode=0o600)
        self.complete_secrets(stack_secrets.Request())

    def complete_secrets(self, request: stack_secrets.Request) -> None:
        """Create, renew and replace secrets and certificates in the generated configuration.

        Raises:
            stack_secrets.Refused: the request or the configuration is wrong.
        """
        stack_secrets.show(stack_secrets.complete(self._instance, self.environment(), request))

    def kubernetes_provider(self) -> Provider | None:
        """The provider to use; None if it must be downloaded or built first."""
        return kubernetes_provider.find(tools.machines_path(), self._pulumi_home)

    def linked_provider(self) -> Provider | None:
        """The provider that the last `up` used; None if it no longer exists, or if there was no `up`."""
        return kubernetes_provider.linked(self._shims, tools.machines_path(), self._pulumi_home)

    def download_provider(self) -> None:
        """Let Pulumi download the provider. If it cannot, the call ends within seconds, without an error."""
        command = [*_PULUMI, "plugin", "install", "resource", "kubernetes", kubernetes_provider.sdk_version()]
        run(command, env=self.environment(), timeout=_DOWNLOAD_SECONDS, check=False)

    def _choose_plugins(self) -> None:
        """Choose the plugins again in each run, so that newly installed official plugins are used.

        Raises:
            RuntimeError: the provider is missing; the steps before this one should have installed it.
        """
        provider = self.kubernetes_provider()
        if provider is None:
            raise RuntimeError(f"{kubernetes_provider.NAME} is missing: `make up` downloads or builds it")
        searched = {**os.environ, **self.environment(), "PATH": self._path(shims=False)}
        write_shim(self._shims, venv.python(), CHECKOUT, official=official_host(searched))
        kubernetes_provider.link(provider, self._shims)

    def _convert_old_state(self) -> None:
        """Convert the state once, if the stack was made with this project's earlier Kubernetes provider."""
        if not self._may_be_old:
            return
        exported = self._pulumi("stack", "export", "--stack", NAME, cwd=CHECKOUT, timeout=60).stdout
        deployment, count = old_state.converted(json.loads(exported))
        if count:
            command = [*_PULUMI, "stack", "import", "--stack", NAME, "--cwd", str(CHECKOUT)]
            run(command, env=self.environment(), timeout=60, input=json.dumps(deployment))

    def _reject_old_state(self) -> None:
        if self._may_be_old:
            raise RuntimeError(
                "this stack was made with the Kubernetes provider of an earlier version of this project: "
                "run `make up` once, which converts its state; nothing was changed"
            )

    def _create(self) -> str:
        """`pulumi stack init`; gives the configuration file that it wrote, with the encryption salt.

        It knows no --config-file and would write into the checkout, so it runs beside a copy of
        the project file.
        """
        with tempfile.TemporaryDirectory() as scratch:
            shutil.copy(CHECKOUT / "Pulumi.yaml", scratch)
            self._pulumi("stack", "init", NAME, cwd=scratch, timeout=120)
            return (Path(scratch) / f"Pulumi.{NAME}.yaml").read_text()

    def up(self) -> int:
        """`pulumi up`, its display on stderr; returns its exit code.

        The provider may report an update as complete before the rollout begins. `local.health` waits for the
        rollout.
        """
        self._release_stale_lock()
        return self._shown("up", "--refresh", "--yes", "--skip-preview")

    def preview(self, facts: ClusterFacts, *, expect_no_changes: bool) -> int:
        """`pulumi preview --diff`, its display on stderr; with `expect_no_changes` a change is an error.

        The configuration is merged anew, as `up` would do it, into a file that is gone afterwards.

        Raises:
            ValueError: as `overlay_file`.
            RuntimeError: the state must be converted first.
        """
        self._reject_old_state()
        before = self._instance.stack_config.read_text()
        merged = merge_config(_CHECKED_IN.read_text(), before, facts, overlay_file())
        flags = ["--expect-no-changes"] if expect_no_changes else []
        with tempfile.TemporaryDirectory() as scratch:
            config = Path(scratch) / f"Pulumi.{NAME}.yaml"
            config.write_text(merged)
            return self._shown("preview", "--refresh", "--diff", *flags, config=config)

    def destroy(self) -> int:
        """`pulumi destroy`: for a cluster that stays when the platform goes.

        Raises:
            RuntimeError: the state must be converted first.
        """
        self._reject_old_state()
        self._release_stale_lock()
        # Secrets that an earlier version left in the state can be deleted only by that version's program. So
        # take them out of the state first.
        self.complete_secrets(stack_secrets.Request(take_over_only=True))
        return self._shown("destroy", "--yes", "--skip-preview")

    def outputs(self, *, show_secrets: bool) -> dict[str, Any]:
        """The stack's outputs; secret ones only with `show_secrets`."""
        flags = ["--show-secrets"] if show_secrets else []
        printed = self._pulumi("stack", "output", "--json", "--stack", NAME, *flags, cwd=CHECKOUT, timeout=60)
        outputs = json.loads(printed.stdout)
        return {key: value for key, value in outputs.items() if show_secrets or value != "[secret]"}

    @property
    def _pulumi_home(self) -> Path:
        return Path(os.environ.get("PULUMI_HOME") or cache_dir() / "pulumi-home")

    @property
    def _shims(self) -> Path:
        return self._instance.root / "plugins"

    def _path(self, *, shims: bool) -> str:
        first = [self._shims] if shims else []
        return os.pathsep.join([*map(str, [*first, *self._tools]), os.environ["PATH"]])

    @property
    def _tools(self) -> list[Path]:
        return [tools.directory(self._instance), venv.directory() / "bin"]

    def users_environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """All variables of a command that the user runs: where `given` has other ones than ours, it wins."""
        return variables.for_command(given, self.environment(), state_root(), self._shims, self._tools)

    def environment(self) -> dict[str, str]:
        """Variables under which `pulumi` finds this stack, its plugins and its tools, whatever the user's."""
        embedded = any(self._shims.iterdir()) if self._shims.exists() else False
        return {
            "PATH": self._path(shims=True),
            "PULUMI_BACKEND_URL": f"file://{self._instance.pulumi_backend}",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(self._instance.passphrase),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_HOME": str(self._pulumi_home),
            # Same as the program's option `enable_patch_force`, which only providers since 4.29 know.
            "PULUMI_K8S_ENABLE_PATCH_FORCE": "true",
            # All plugins are present. Without this variable the engine would look for newer ones online.
            **({"PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true"} if embedded else {}),
        }

    def _pulumi(self, *words: str, cwd: Path | str, timeout: float) -> Completed:
        command = [*_PULUMI, *words, "--cwd", str(cwd), "--non-interactive"]
        return run(command, env=self.environment(), timeout=timeout)

    def _shown(self, *words: str, config: Path | None = None) -> int:
        """Run with the engine's display going to stderr as it comes."""
        file = config or self._instance.stack_config
        where = ["--stack", NAME, "--config-file", str(file), "--cwd", str(CHECKOUT)]
        with started(
            [*_PULUMI, *words, "--non-interactive", *where],
            interrupt=signal.SIGINT,  # the engine finishes operations that it has begun and saves its state
            process_group=0,  # so that only we forward a Ctrl-C: a second SIGINT would abort the engine
            env={**os.environ, **self.environment()},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            stderr=sys.stderr,
        ) as process:
            try:
                return process.wait(timeout=_UP_SECONDS)
            except (subprocess.TimeoutExpired, KeyboardInterrupt) as error:
                process.send_signal(signal.SIGINT)
                process.wait()
                if isinstance(error, KeyboardInterrupt):
                    raise
                return 1

    def _release_stale_lock(self) -> None:
        """A killed run leaves its lock; under the instance's own lock no other run can hold it."""
        locks = list((self._instance.pulumi_backend / ".pulumi" / "locks").rglob("*.json"))
        for lock in locks:
            pid = json.loads(lock.read_text()).get("pid")
            if pid is None or not Path(f"/proc/{pid}").exists():
                lock.unlink()
