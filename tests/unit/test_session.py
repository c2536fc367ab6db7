"""The test session itself: told to stop, it takes down what it started."""

from __future__ import annotations

import signal

import pytest


def test_sigterm_unwinds_the_session_as_ctrl_c_does() -> None:
    assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL, "it would end this session at once"
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
