"""``python -m tenure.cli``: the same as the command ``tenure``."""

import sys

from tenure.cli.entry import main

sys.exit(main())
