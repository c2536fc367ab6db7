"""`python3 -m token_api`."""

import sys

from token_api.cli import main

if __name__ == "__main__":
    sys.exit(main())
