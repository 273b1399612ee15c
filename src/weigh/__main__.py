"""`python -m weigh` is `weigh`."""

import sys

from weigh.cli import main

sys.exit(main())
