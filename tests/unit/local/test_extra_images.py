"""The load generator's image: no part of `make up`, and with all in it that its pods import."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from common.commands import run
from local import cli
from local.images import catalog
from local.images.catalog import PythonPackages, Source
from local.paths import CHECKOUT

# Imports what pods run, where nothing can be found that is not among the packages given as argument.
_IMPORT = """
import json, re, sys
from importlib.metadata import packages_distributions

class OnlyThese:
    given = set(json.loads(sys.argv[1]))
    known = packages_distributions()

    def find_spec(self, name, path=None, target=None):
        of = {re.sub(r"[-_.]+", "-", each).lower() for each in self.known.get(name.partition(".")[0], ())}
        if of and not of & self.given:
            raise ModuleNotFoundError(f"No module named {name!r} in the image", name=name)

sys.meta_path.insert(0, OnlyThese())
import loadtest.job.pod
import loadtest.client.session
import loadtest.api_load.__main__
"""


def _pinned(requirements: Path) -> set[tuple[str, str]]:
    """Names and versions; a universal lock has several for some names."""
    return set(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", requirements.read_text(), re.MULTILINE))


def test_it_is_ours_and_no_stack_runs_it() -> None:
    image = catalog.loadtest()
    assert image.ours
    assert image.reference not in {each.reference for each in catalog.all_images()}
    assert image.user == catalog.NOBODY
    assert image.entrypoint == ("python3", "-m", "loadtest.job")
    assert image.config().labels["org.opencontainers.image.title"] == "loadtest"


def test_it_holds_the_engine_with_what_that_reads() -> None:
    sources = {part.path: part for part in catalog.loadtest().parts if isinstance(part, Source)}
    assert sources.keys() == {"app/common", "app/loadtest"}
    names = {str(path.relative_to(CHECKOUT / "loadtest")) for path in sources["app/loadtest"].files}
    assert {"job/__main__.py", "run/engine.py", "client/__main__.py", "profiles/ideal.yaml"} <= names


def test_all_that_a_pod_imports_is_in_it_and_in_the_versions_that_are_tested_here() -> None:
    [packages] = [part for part in catalog.loadtest().parts if isinstance(part, PythonPackages)]
    pinned = _pinned(packages.requirements)
    run([sys.executable, "-c", _IMPORT, json.dumps([name for name, _ in pinned])], cwd=CHECKOUT, timeout=60)
    tested = _pinned(CHECKOUT / "requirements.txt")
    assert pinned <= tested


def test_without_a_local_cluster_there_is_nowhere_to_load_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LKP_INSTANCE", "abc123")
    assert cli.main(["images-load"]) == cli.NOT_RUNNING
    assert capsys.readouterr() == ("", "no local cluster is there: `make up` makes one\n")
