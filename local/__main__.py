"""`python3 -m local COMMAND`: enters the checkout's Python environment, making it where it is missing."""

from __future__ import annotations

import sys

from local.toolchain import bootstrap

bootstrap.enter()

from local.cli import main  # noqa: E402 - only that environment has what this imports

sys.exit(main())
