"""`python -m greensock`."""

import sys

from greensock.cli import main

if __name__ == "__main__":
    sys.exit(main())
