"""What systemd is told."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from myserv.tap.notify import Notifier


class Systemd:
    """Listens where systemd would."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """What it was told since it was last asked."""
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    def close(self) -> None:
        """Listen no longer."""
        self._socket.close()


@pytest.fixture
def address(tmp_path: Path) -> str:
    """Where systemd listens."""
    return str(tmp_path / "notify")


@pytest.fixture
def systemd(address: str) -> Iterator[Systemd]:
    """One that listens."""
    listening = Systemd(address)
    yield listening
    listening.close()


def test_aServersLife(systemd: Systemd, address: str) -> None:
    """Ready, reloading, ready again, stopping."""
    notifier = Notifier(Clock(), {"NOTIFY_SOCKET": address})
    notifier.ready("serving echo")
    notifier.reloading()
    notifier.ready("serving echo")
    notifier.stopping()
    ready = f"READY=1\nSTATUS=serving echo\nMAINPID={os.getpid()}"
    first, reloading, second, stopping = systemd.heard()
    assert (first, second, stopping) == (ready, ready, "STOPPING=1")
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert reloading.rpartition("=")[2].isdigit()


def test_anAbstractSocket() -> None:
    """A name that starts with @ is in no file system."""
    name = f"myserv-test-{os.getpid()}"
    systemd = Systemd("\0" + name)
    Notifier(Clock(), {"NOTIFY_SOCKET": "@" + name}).stopping()
    assert systemd.heard() == ["STOPPING=1"]
    systemd.close()


def test_nobodyListens(address: str) -> None:
    """A server outlives whoever wanted to know."""
    Notifier(Clock(), {"NOTIFY_SOCKET": address}).ready("serving")
    Notifier(Clock(), {}).ready("serving")


def test_theWatchdogIsFed(systemd: Systemd, address: str) -> None:
    """At half its limit, from when the server is ready until it stops."""
    clock = Clock()
    notifier = Notifier(clock, {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000"})
    assert clock.getDelayedCalls() == []
    notifier.ready("serving")
    notifier.ready("serving")
    assert systemd.heard()[1:] == ["WATCHDOG=1", readiness()]
    clock.advance(1.4)
    assert systemd.heard() == []
    clock.advance(0.1)
    assert systemd.heard() == ["WATCHDOG=1"]
    notifier.stopping()
    assert systemd.heard() == ["STOPPING=1"]
    assert clock.getDelayedCalls() == []


def readiness() -> str:
    """What systemd hears of a server that is ready."""
    return f"READY=1\nSTATUS=serving\nMAINPID={os.getpid()}"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"},
    ],
)
def test_noWatchdog(systemd: Systemd, address: str, environment: dict[str, str]) -> None:
    """Where systemd wants none, or of another process."""
    clock = Clock()
    Notifier(clock, {"NOTIFY_SOCKET": address, **environment}).ready("serving")
    assert len(systemd.heard()) == 1
    assert clock.getDelayedCalls() == []


def test_patience(systemd: Systemd, address: str) -> None:
    """A drain may take longer than systemd would wait, and a little more."""
    notifier = Notifier(Clock(), {"NOTIFY_SOCKET": address})
    notifier.draining(3, 120.0)
    assert systemd.heard() == [
        "EXTEND_TIMEOUT_USEC=125000000\nSTATUS=draining 3 connection(s), 120 s at most"
    ]
