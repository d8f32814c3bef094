"""`python -m tiffin`: the command line."""

import sys

from tiffin.cli.main import main

sys.exit(main())
