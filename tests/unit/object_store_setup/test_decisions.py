"""What is granted, what is said of a store, and what the environment may hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from object_store_setup import cli, settings
from object_store_setup.client import Key, Store
from object_store_setup.failures import Cause, Failure
from object_store_setup.preflight import verdict
from object_store_setup.rights import RIGHTS, Act, cors, mistakes, policy

STORE = Store("https://s3.example.com", "eu-central-1", "x", path_style=True)
DENIED = Failure(Cause.DENIED, "AccessDenied")


def granted(account: str) -> set[tuple[str, str]]:
    return {
        (action, statement["Resource"])
        for statement in json.loads(policy("calls"))["Statement"]
        for action in statement["Action"]
        if statement["Principal"]["AWS"] == [account] and statement["Effect"] == "Allow"
    }


def test_the_policy_names_the_accounts_and_nothing_beyond_what_each_needs() -> None:
    objects, bucket = "arn:aws:s3:::calls/*", "arn:aws:s3:::calls"
    assert granted("egress") == {
        ("s3:PutObject", objects),
        ("s3:AbortMultipartUpload", objects),
        ("s3:ListMultipartUploadParts", objects),
    }
    assert granted("token-api") == {
        ("s3:GetObject", objects),
        ("s3:DeleteObject", objects),
        ("s3:ListBucket", bucket),
    }
    assert granted("operator") == {("s3:*", objects), ("s3:*", bucket)}
    named = {tuple(s["Principal"]["AWS"]) for s in json.loads(policy("calls"))["Statement"]}
    assert named == {(account,) for account in RIGHTS}


def test_pages_may_read_and_nothing_else() -> None:
    [rule] = cors(["https://api.example.com"])["CORSRules"]
    assert rule["AllowedOrigins"] == ["https://api.example.com"]
    assert rule["AllowedMethods"] == ["GET", "HEAD"]


def test_too_much_and_too_little_are_both_mistakes() -> None:
    found = {Act.PUT: None, Act.GET: None, Act.LIST: "denied (AccessDenied)", Act.DELETE: "denied"}
    assert mistakes('account "a"', frozenset({Act.PUT, Act.LIST}), found) == [
        'account "a" may GetObject, which it must not',
        'account "a" may not ListObjectsV2, which it must: denied (AccessDenied)',
    ]


def test_a_missing_permission_is_named_in_one_line() -> None:
    assert verdict(STORE, {}, left_behind=None) is None
    assert verdict(STORE, {Act.DELETE: DENIED}, left_behind="probe/1") == (
        'object_store: given bucket "x" at https://s3.example.com: DeleteObject is denied (AccessDenied); '
        "allowed is a key with s3:PutObject, s3:GetObject, s3:ListBucket, s3:DeleteObject; "
        "the probe object probe/1 stays there"
    )
    several = verdict(STORE, {Act.PUT: DENIED, Act.LIST: DENIED}, left_behind=None)
    assert several is not None
    assert "PutObject, ListObjectsV2 are denied" in several


@pytest.mark.parametrize(
    ("cause", "allowed"),
    [
        (Cause.NAME, "object_store.external.endpoint"),
        (Cause.UNREACHABLE, "object_store.external.endpoint"),
        (Cause.NOT_S3, "object_store.external.endpoint"),
        (Cause.TLS, "a public authority"),
        (Cause.WRONG_KEY, "object_store.external.secret_name"),
        (Cause.NO_KEY, "object_store.external.secret_name"),
        (Cause.WRONG_REGION, 'object_store.region says "eu-central-1"'),
        (Cause.NO_BUCKET, "a bucket that is there"),
        (Cause.CLOCK, "15 minutes"),
    ],
)
def test_what_is_allowed_goes_with_what_is_wrong(cause: Cause, allowed: str) -> None:
    line = verdict(STORE, {Act.PUT: Failure(cause, "words")}, left_behind=None)
    assert line is not None
    assert line.startswith('object_store: given bucket "x" at https://s3.example.com: PutObject: ')
    assert allowed in line.partition("; allowed is ")[2]


def environment(accounts: Path) -> dict[str, str]:
    accounts.write_text(
        json.dumps({"accessAccounts": {name: {"access": name, "secret": f"s-{name}"} for name in RIGHTS}})
    )
    return {
        "OBJECT_STORE_ENDPOINT": "http://object-store.livekit.svc:7070",
        "OBJECT_STORE_ADMIN_ENDPOINT": "http://object-store.livekit.svc:7071",
        "OBJECT_STORE_REGION": "us-east-1",
        "OBJECT_STORE_BUCKET": "calls",
        "OBJECT_STORE_PATH_STYLE": "true",
        "OBJECT_STORE_ACCOUNTS_FILE": str(accounts),
        "OBJECT_STORE_ALLOWED_ORIGINS": "https://api.example.com,http://localhost:*",
        "OBJECT_STORE_ROOT_ACCESS_KEY_ID": "root",
        "OBJECT_STORE_ROOT_SECRET_ACCESS_KEY": "the-root-secret",
        "OBJECT_STORE_PATIENCE_SECONDS": "240",
    }


def test_a_good_environment_is_read(tmp_path: Path) -> None:
    given = settings.ensure_bucket(environment(tmp_path / "users.json"))
    assert given.store == Store("http://object-store.livekit.svc:7070", "us-east-1", "calls", path_style=True)
    assert given.accounts["egress"] == Key("egress", "s-egress")
    assert given.origins == ("https://api.example.com", "http://localhost:*")
    assert "the-root-secret" not in str(given)
    assert "s-egress" not in str(given)


@pytest.mark.parametrize(
    ("variable", "wrong"),
    [
        ("OBJECT_STORE_ENDPOINT", "s3.example.com"),
        ("OBJECT_STORE_ENDPOINT", "https://s3.example.com/path"),
        ("OBJECT_STORE_ADMIN_ENDPOINT", ""),
        ("OBJECT_STORE_PATH_STYLE", "yes"),
        ("OBJECT_STORE_ACCOUNTS_FILE", "/nowhere"),
        ("OBJECT_STORE_ALLOWED_ORIGINS", "*"),
        ("OBJECT_STORE_ROOT_SECRET_ACCESS_KEY", ""),
        ("OBJECT_STORE_PATIENCE_SECONDS", "0"),
    ],
)
def test_a_wrong_variable_is_named_with_what_is_allowed(tmp_path: Path, variable: str, wrong: str) -> None:
    with pytest.raises(settings.BadEnvironment) as refused:
        settings.ensure_bucket({**environment(tmp_path / "users.json"), variable: wrong})
    [line] = str(refused.value).splitlines()
    assert line.startswith(f"{variable}: given {repr(wrong) if wrong else 'nothing'}; allowed is ")


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(settings.BadEnvironment) as refused:
        settings.preflight({})
    assert len(str(refused.value).splitlines()) == 5


def test_the_reason_goes_where_the_kubelet_takes_it_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    monkeypatch.setattr(cli, "_TERMINATION_LOG", log)
    monkeypatch.delenv("OBJECT_STORE_ENDPOINT", raising=False)
    assert cli.main(["preflight"]) == cli.EX_CONFIG
    assert "OBJECT_STORE_ENDPOINT: given nothing" in log.read_text()
    assert log.read_text().strip() == capsys.readouterr().err.strip()
