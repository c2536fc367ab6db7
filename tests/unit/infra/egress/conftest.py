from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from livekit_platform.config import PlatformConfig
from tests.unit.infra.conftest import ConfigMaker
from tests.unit.infra.egress.configs import changes
from tests.unit.infra.program import (
    RECORDER_IMAGE,
    minimal_config,
)


@pytest.fixture
def workers(make_config: ConfigMaker, kubeconfig: Path) -> ConfigMaker:
    """Makes a valid configuration with workers of a kind, as `changes` does."""
    images = {**minimal_config(kubeconfig)["images"], "recorder": RECORDER_IMAGE}

    def make(kind: str, *others: dict[str, Any], **own: Any) -> PlatformConfig:
        return make_config(images=images, **changes(kind, *others, **own))

    return make
