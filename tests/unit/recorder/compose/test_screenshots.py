from __future__ import annotations

from pathlib import Path

from PIL import Image

from recorder.compose.layouts import Brightness, Layout
from tests.unit.recorder.compose.screenshots import write


def test_each_layout_is_drawn(tmp_path: Path) -> None:
    written = write(tmp_path)
    assert len(written) == 2 * len(Layout) * len(Brightness)
    # The same: speaker and grid with a screen, and one camera that hides the background.
    assert len({Image.open(path).tobytes() for path in written}) == len(written) - 3
