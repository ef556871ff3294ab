"""What every test gets."""

from __future__ import annotations

import signal

pytest_plugins = ["myserv.testing.fixtures"]

# A shell makes what it starts in the background deaf to SIGINT, and so what that starts;
# the tests stop servers with it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
