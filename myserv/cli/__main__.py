"""C{python -m myserv.cli}."""

import sys

from myserv.cli import main

sys.exit(main())
