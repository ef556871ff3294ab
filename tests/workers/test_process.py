"""A worker's process, as the supervisor sees it."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import Any

from twisted.internet.task import Clock

from myserv.workers.messages import Message
from myserv.workers.process import HUNG_UP, ChildProcess


class Reactor(Clock):
    """Watches nothing: the test knows when something happens."""

    def addReader(self, reader: Any) -> None:
        """Remember who waits; the last is the one that waits for the end."""
        self.reader = reader

    def removeReader(self, reader: Any) -> None:
        """Nobody was watched."""

    removeWriter = removeReader


class Owner:
    """Is told of the end."""

    reason = ""

    def received(self, message: Message) -> None:
        """Nothing is said here."""

    def ended(self, reason: str) -> None:
        """Remember why."""
        self.reason = reason


def test_oneThatDoesNotEnd() -> None:
    """A process that has closed its channel and goes on is killed, and the reason is told."""
    reactor, owner = Reactor(), Owner()
    ours, theirs = socket.socketpair()
    log, logEnd = os.pipe()
    output, outputEnd = os.pipe()
    for each in (logEnd, outputEnd):
        os.close(each)
    child = subprocess.Popen(["sleep", "100"])
    process = ChildProcess(reactor, owner, 1, child.pid, ours, (log, output), {})
    death = reactor.reader
    theirs.close()
    process._hungUp("it closed the channel")
    reactor.advance(HUNG_UP)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    death.doRead()
    child.returncode = 0
    assert owner.reason == "killed, since it had hung up and did not end within 5 s"
