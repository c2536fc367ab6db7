"""Go modules whose files tests read: their versions stand in modules/go.mod, their sums in modules/go.sum."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from common.commands import run

KEDA = "github.com/kedacore/keda/v2"
# As livekit/egress v1.14.1 requires them.
LIVEKIT_PROTOCOL = "github.com/livekit/protocol"
LIVEKIT_STORAGE = "github.com/livekit/storage"

_PINNED = Path(__file__).parent / "modules"


@cache
def directory(module: str) -> Path:
    """Where the module's files are. It is downloaded if it is missing.

    Raises:
        CommandFailed: with the words of Go or of the module proxy.
    """
    found = json.loads(run(["go", "mod", "download", "-json", module], cwd=_PINNED, timeout=300).stdout)
    return Path(found["Dir"])
