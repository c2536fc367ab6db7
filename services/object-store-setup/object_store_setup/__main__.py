"""`python3 -m object_store_setup`."""

import sys

from object_store_setup.cli import main

sys.exit(main())
