"""`make secrets` on an owner's stack: what it writes, what it does not change, and what it never shows."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from common.commands import Completed, run
from livekit_platform.config_loader import SECRET_SECTIONS, parse
from tests.stack_secrets.conftest import COMMENT, NAME, OWNERS, WITH_CERTIFICATES, Owner, new_owner
from tests.stack_secrets.key_service import KEY, key_service

NEEDED = {"secrets.livekit_api_secret", "secrets.turn_secret", "secrets.api_service_key"}
PASSWORDS = {"secrets.redis_password", "secrets.redis_replication_password"}
CERTIFICATES = {
    *("certificates.ca_certificate", "certificates.ca_private_key"),
    *("certificates.server_certificate", "certificates.server_private_key"),
}


def private(values: dict[str, str]) -> list[str]:
    """Every secret text, and the middle of every private key."""
    keys = [value.splitlines()[1] for key, value in values.items() if key.endswith("private_key")]
    return [*keys, *(value for key, value in values.items() if key.startswith("secrets."))]


def shows_none_of(values: dict[str, str], *texts: str) -> bool:
    return not [value for value in private(values) if any(value in text for text in texts)]


@pytest.fixture(scope="module")
def completed_once(pulumi: Path, tmp_path_factory: pytest.TempPathFactory, without_own_stack: None) -> Owner:
    made = new_owner(tmp_path_factory.mktemp("completed"), pulumi)
    made.init()
    made.completed()
    return made


@pytest.fixture
def completed(completed_once: Owner, owner: Owner) -> Owner:
    """An owner with a stack that has all its secrets."""
    owner.take_copy_of(completed_once)
    return owner


def test_a_new_stack_gets_what_it_needs_and_nothing_is_shown(owner: Owner) -> None:
    owner.init(config=WITH_CERTIFICATES)
    owner.file.chmod(0o640)
    done = owner.secrets()
    assert done.returncode == 0, done.stderr
    values = owner.values()
    assert set(values) == NEEDED | PASSWORDS | CERTIFICATES
    _, mistakes = parse(owner.raw(), set(SECRET_SECTIONS), stack=NAME)
    assert not [mistake for mistake in mistakes if mistake.key.startswith(SECRET_SECTIONS)]
    assert len(private(values)) == len(NEEDED | PASSWORDS) + 2
    assert shows_none_of(values, done.stdout, done.stderr, owner.calls, owner.file.read_text())
    assert COMMENT in owner.file.read_text()
    assert stat.S_IMODE(owner.file.stat().st_mode) == 0o640
    assert {f"livekit-platform:{key}" for key in SECRET_SECTIONS} | set(WITH_CERTIFICATES) == set(
        owner.document()["config"]
    )


def test_a_second_time_nothing_is_written(completed: Owner) -> None:
    owner = completed
    before, modified = owner.file.read_bytes(), owner.file.stat().st_mtime_ns
    assert owner.completed() == []
    assert (owner.file.read_bytes(), owner.file.stat().st_mtime_ns) == (before, modified)


def test_one_is_replaced_and_no_other_is_touched(completed: Owner) -> None:
    owner = completed
    before, values = owner.document()["config"], owner.values()
    done = owner.secrets("--rotate", "turn_secret")
    assert done.stdout == "replaced secrets.turn_secret\n"
    after = owner.document()["config"]
    # All other secrets keep even their ciphertexts.
    key = "livekit-platform:secrets"
    assert {name for name in before[key] if before[key][name] != after[key][name]} == {"turn_secret"}
    assert {**after, key: before[key]} == before
    assert owner.values()["secrets.turn_secret"] != values["secrets.turn_secret"]
    assert shows_none_of(owner.values(), done.stdout, done.stderr, owner.calls)


def test_an_owner_s_value_stays_and_replaces_a_generated_one(completed: Owner) -> None:
    """The owner sets a secret, for example from Vault, with the engine's own command, before or after."""
    owner = completed
    given = "given-by-the-owner-0123456789abcdef"
    (owner.directory / "given").write_text(given)
    key = "livekit-platform:secrets.turn_secret"
    command = f"pulumi config set --secret --path {key} --stack {NAME} --config-file {owner.file}"
    for _ in range(2):
        # The README also uses a shell redirection.
        owner_sets(owner, f"{command} --cwd {owner.project} --non-interactive <{owner.directory / 'given'}")
        assert owner.completed() == []
        assert owner.values()["secrets.turn_secret"] == given


def owner_sets(owner: Owner, command: str) -> Completed:
    return run(["env", "sh", "-c", command], env=owner.variables, timeout=60)


def test_a_key_service_encrypts_where_the_stack_has_one(owner: Owner) -> None:
    """There is no passphrase: only the engine knows how the stack's values are encrypted."""
    with key_service() as service:
        del owner.variables["PULUMI_CONFIG_PASSPHRASE"]
        owner.variables |= {"VAULT_SERVER_URL": service.url, "VAULT_SERVER_TOKEN": "of the test"}
        owner.init("--secrets-provider", f"hashivault://{KEY}")
        provider = {key: owner.document()[key] for key in ("secretsprovider", "encryptedkey")}
        owner.completed()
        assert set(owner.values()) == NEEDED
        assert {key: owner.document()[key] for key in provider} == provider
        assert {"encrypt", "decrypt"} == set(service.requests)


@pytest.mark.parametrize("name", ["turn", "s3_secret_key"])
def test_a_wrong_name_lists_the_right_ones_and_changes_nothing(owner: Owner, name: str) -> None:
    owner.init()
    before = owner.file.read_bytes()
    done = owner.secrets("--rotate", name)
    assert done.returncode == 2
    assert f"ROTATE: given '{name}', allowed are livekit_api_secret, turn_secret, " in done.stderr
    assert owner.file.read_bytes() == before


def test_a_wrong_section_is_named_and_nothing_is_written(owner: Owner) -> None:
    owner.init(config={**OWNERS, "livekit-platform:redis": {"kind": "sentinal"}})
    before = owner.file.read_bytes()
    done = owner.secrets()
    assert done.returncode == 2
    assert 'livekit-platform:redis.kind: given "sentinal"; allowed: ' in done.stderr
    assert owner.file.read_bytes() == before


# Fails before the engine sets this value. The engine's message may contain anything.
_FAILS = """\
case "$*" in *"secrets.turn_secret"*) echo "cannot go on" >&2; exit 9;; esac
"""
_EDITS = """\
case "$*" in *"secrets.turn_secret"*) echo "# edited" >>"{file}";; esac
"""
_LEAKS = """\
case "$*" in *--show-secrets*) echo "the-value-of-a-secret"; echo "cannot decrypt" >&2; exit 9;; esac
"""


def test_an_interrupted_run_leaves_the_file_as_it_was(owner: Owner) -> None:
    owner.init()
    before = owner.file.read_bytes()
    owner.trap.write_text(_FAILS)
    done = owner.secrets()
    assert done.returncode == 1
    assert "cannot go on" in done.stderr
    assert owner.file.read_bytes() == before
    owner.trap.unlink()
    assert len(owner.completed()) == len(NEEDED)


def test_an_edit_meanwhile_is_not_overwritten(owner: Owner) -> None:
    owner.init()
    owner.trap.write_text(_EDITS.format(file=owner.file))
    done = owner.secrets()
    assert done.returncode == 2
    assert "was changed meanwhile" in done.stderr
    assert owner.file.read_text().endswith("# edited\n")
    assert "livekit-platform:secrets" not in owner.document()["config"]


def test_what_the_engine_printed_before_it_failed_is_not_repeated(owner: Owner) -> None:
    owner.init()
    owner.trap.write_text(_LEAKS)
    done = owner.secrets()
    assert done.returncode == 1
    assert "cannot decrypt" in done.stderr
    assert "the-value-of-a-secret" not in done.stdout + done.stderr


def test_a_stack_or_a_file_that_is_not_there_is_named(owner: Owner) -> None:
    done = owner.secrets()
    assert done.returncode == 1
    assert f"no stack named '{NAME}' found" in done.stderr
    assert f"`pulumi stack init {NAME}` makes the stack" in done.stderr
    owner.init()
    owner.file.unlink()
    done = owner.secrets()
    assert done.returncode == 2
    assert f"`pulumi stack init {NAME}` writes it" in done.stderr


def _preview(owner: Owner) -> str:
    done = owner.engine("preview", check=False)
    assert not done.ok, "there is no cluster"
    return done.stdout + done.stderr


def test_the_preview_of_the_real_program_names_what_is_missing(owner: Owner, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("{}")
    own: dict[str, Any] = {
        **WITH_CERTIFICATES,
        "livekit-platform:kubeconfig": str(kubeconfig),
        "livekit-platform:nodes": [{"name": "a", "address": "198.51.100.11"}],
    }
    owner.init(config=own)
    before = _preview(owner)
    for key in NEEDED | PASSWORDS:
        allowed = f"a secret: `make secrets STACK={NAME}` creates it"
        assert f"livekit-platform:{key}: given nothing; allowed: {allowed}" in before
    for key in CERTIFICATES:
        assert f"livekit-platform:{key}: given nothing; allowed: `make secrets STACK={NAME}`" in before
    # Other mistakes are in the same list.
    assert "livekit-platform:images: given nothing" in before
    owner.completed()
    after = _preview(owner)
    assert "livekit-platform:images: given nothing" in after
    assert "has 1 mistake:" in after
    assert shows_none_of(owner.values(), after)
