"""C{python -m myserv.cli}."""

import sys

from myserv.cli import main
from myserv.server.inquiry import leadSession

if "--json" in sys.argv:
    # A server asks, and ends what this process starts with it.
    leadSession()
sys.exit(main())
