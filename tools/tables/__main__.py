"""``python tools/tables``; see `making`."""

import sys

from making import main

if __name__ == "__main__":
    sys.exit(main())
