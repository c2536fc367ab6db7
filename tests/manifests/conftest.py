"""Fixtures of the manifest tests: every chart, rendered with every set of values."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.manifests.rendering import CASES, Case, Manifest, stack_values, template, tool
from tests.unit.infra.program import STACKS, Deployment, run, stack_config


@pytest.fixture(scope="session")
def helm() -> Path:
    return tool("helm")


@pytest.fixture(scope="session")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Deployment]:
    """What the program registers for each stack of the repository."""
    kubeconfig = tmp_path_factory.mktemp("program") / "kubeconfig"
    kubeconfig.touch()
    return {name: run(stack_config(name, kubeconfig)) for name in STACKS}


@pytest.fixture(scope="session")
def local_stack(stacks: dict[str, Deployment]) -> Deployment:
    """What the program registers for stack `local`."""
    return stacks["local"]


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    found = request.param
    assert isinstance(found, Case)
    return found


@pytest.fixture(scope="session")
def render(helm: Path, stacks: dict[str, Deployment]) -> Callable[[Case], list[Manifest]]:
    """Renders each case once."""

    @cache
    def rendered(case: Case) -> list[Manifest]:
        if case.stack is not None:
            return template(helm, case.chart, stack_values(stacks[case.stack], case.chart))
        assert case.values is not None
        return template(helm, case.chart, yaml.safe_load(case.values.read_text()) or {})

    return rendered


@pytest.fixture
def manifests(render: Callable[[Case], list[Manifest]], case: Case) -> list[Manifest]:
    """The objects of one case. All tests share them: none may change them."""
    return render(case)
