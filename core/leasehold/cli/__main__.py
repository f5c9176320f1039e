"""``python -m leasehold.cli``: the same as the command ``leasehold``."""

import sys

from leasehold.cli.entry import main

sys.exit(main())
