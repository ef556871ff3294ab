"""
Telling systemd how the server is: sd_notify(3).

Does nothing where systemd does not listen, which it says in C{NOTIFY_SOCKET}.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from typing import Any, Final

from twisted.internet.task import LoopingCall

STOP_MARGIN: Final = 5.0
"""Seconds that a server has beyond the deadline of its drain: connections are cut, files
are closed, Python ends."""


class Notifier:
    """
    Tells systemd what a unit of C{Type=notify-reload} or C{notify} has to tell.
    """

    def __init__(self, reactor: Any, environment: Mapping[str, str] = os.environ) -> None:
        """
        Args:
            reactor: Tells the time between two signs of life.
            environment: Where systemd says what it wants to know.
        """
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        self._watchdog: LoopingCall | None = None
        interval = _watchdogInterval(environment)
        if self._address and interval is not None:
            self._watchdog = LoopingCall(self._send, "WATCHDOG=1")
            self._watchdog.clock = reactor
            self._interval = interval

    def ready(self, status: str) -> None:
        """
        Every endpoint is open.

        Args:
            status: One line for C{systemctl status}.
        """
        self._send("READY=1", f"STATUS={status}", f"MAINPID={os.getpid()}")
        if self._watchdog is not None and not self._watchdog.running:
            # A reactor that is stuck gives no sign of life.
            self._watchdog.start(self._interval)

    def reloading(self) -> None:
        """
        What may have changed is being read; L{ready} ends it.
        """
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def stopping(self) -> None:
        """
        The server is on its way out.
        """
        self._send("STOPPING=1")
        if self._watchdog is not None and self._watchdog.running:
            self._watchdog.stop()

    def draining(self, connections: int, seconds: float) -> None:
        """
        The server waits for connections to end, perhaps for longer than the unit's
        C{TimeoutStopSec=}.

        Args:
            connections: How many there are.
            seconds: How long it waits at most.
        """
        microseconds = round((seconds + STOP_MARGIN) * 1e6)
        status = f"STATUS=draining {connections} connection(s), {seconds:.3g} s at most"
        self._send(f"EXTEND_TIMEOUT_USEC={microseconds}", status)

    def _send(self, *assignments: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)
            # Whoever listened may be gone or busy, and the server has work to do.
            with contextlib.suppress(OSError):
                sock.sendto("\n".join(assignments).encode(), self._address)


def _watchdogInterval(environment: Mapping[str, str]) -> float | None:
    try:
        limit = int(environment.get("WATCHDOG_USEC", "0")) / 1e6
        pid = int(environment.get("WATCHDOG_PID", str(os.getpid())))
    except ValueError:
        return None
    # Half the limit, as sd_watchdog_enabled(3) recommends.
    return limit / 2 if limit > 0 and pid == os.getpid() else None
