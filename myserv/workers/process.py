"""
A worker's process, as the supervisor sees it: started, spoken to, listened to, buried.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from attrs import evolve
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from myserv.workers.channel import Channel
from myserv.workers.messages import Assignment, Message
from myserv.workers.records import LineReader, Relay

COMMAND: Final = ("-m", "myserv.workers.child")

HUNG_UP: Final = 5.0
"""Seconds that a process has to end when it has closed its channel."""

_NOT_INHERITED: Final = frozenset(
    {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"}
)
"""What systemd says to the supervisor alone."""


class Owner(Protocol):
    """Who started a process, and is told of it."""

    def received(self, message: Message) -> None:
        """It said something."""

    def ended(self, reason: str) -> None:
        """It is gone; the last call."""


class Process(Protocol):
    """
    A process that was started.

    @ivar pid: Its number.
    """

    pid: int

    def send(self, message: Message, *, needed: bool = True) -> None:
        """Tell it something."""

    def kill(self) -> None:
        """End it at once."""

    def describe(self) -> dict[str, Any]:
        """Write down what the supervisor's next program has to know."""


class Spawner(Protocol):
    """What starts processes."""

    def spawn(self, owner: Owner, worker: int, assignment: Assignment) -> Process:
        """
        Start a worker.

        Raises:
            OSError: There is no process.
        """

    def adopt(self, owner: Owner, worker: int, described: Mapping[str, Any]) -> Process:
        """Take over a process of the supervisor's last program."""


def workerEnvironment(environment: Mapping[str, str]) -> dict[str, str]:
    """
    Say what a worker finds in its environment.

    Args:
        environment: The supervisor's.
    """
    return {name: value for name, value in environment.items() if name not in _NOT_INHERITED}


def describeStatus(status: int) -> str:
    """
    Say how a process ended.

    Args:
        status: Its exit code; negative for a signal.
    """
    if status >= 0:
        return f"exit code {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


class ChildSpawner:
    """
    Starts workers in interpreters of their own.
    """

    def __init__(self, reactor: Any, directory: str) -> None:
        """
        Args:
            reactor: Watches them.
            directory: Where modules and relative paths are looked for.
        """
        self._reactor = reactor
        self._directory = directory

    def spawn(self, owner: Owner, worker: int, assignment: Assignment) -> ChildProcess:
        """
        Start a worker; see L{Spawner}.
        """
        ours, theirs = socket.socketpair()
        logRead, logWrite = os.pipe2(os.O_CLOEXEC)
        outRead, outWrite = os.pipe2(os.O_CLOEXEC)
        # What it prints past Python is lost rather than waited for.
        os.set_blocking(outWrite, False)
        inherited: list[int] = [theirs.fileno(), logWrite]
        if assignment.tallies >= 0:
            inherited.append(assignment.tallies)
        for _, _, descriptors in assignment.sockets:
            inherited += descriptors
        try:
            child = subprocess.Popen(  # noqa: S603 - ourselves
                [sys.executable, *COMMAND, str(theirs.fileno())],
                cwd=self._directory,
                env=workerEnvironment(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=outWrite,
                stderr=outWrite,
                pass_fds=inherited,
            )
        except OSError:
            ours.close()
            for each in (logRead, outRead):
                os.close(each)
            raise
        finally:
            theirs.close()
            for each in (logWrite, outWrite):
                os.close(each)
        # It is waited for by its number, as one of the last program's is.
        child.returncode = 0
        process = ChildProcess(
            self._reactor, owner, worker, child.pid, ours, (logRead, outRead), {}
        )
        process.send(evolve(assignment, log=logWrite))
        return process

    def adopt(self, owner: Owner, worker: int, described: Mapping[str, Any]) -> ChildProcess:
        """
        Take over a process; see L{Spawner}.
        """
        descriptors = (described["channel"], described["log"], described["output"])
        for each in descriptors:
            os.set_inheritable(each, False)
        sock = socket.socket(fileno=described["channel"])
        return ChildProcess(
            self._reactor,
            owner,
            worker,
            described["pid"],
            sock,
            (described["log"], described["output"]),
            described,
        )


class ChildProcess:
    """
    A worker's process.

    Resources:
        A descriptor each for the process, its channel, its log and its output, all
        closed when it has ended.
    """

    def __init__(
        self,
        reactor: Any,
        owner: Owner,
        worker: int,
        pid: int,
        sock: socket.socket,
        pipes: Sequence[int],
        before: Mapping[str, str],
    ) -> None:
        self.pid = pid
        self._reactor = reactor
        self._owner = owner
        self._isLate = False
        relay = self._relay = Relay(worker)
        log, output = pipes
        self._log = LineReader(reactor, log, relay.record, _bytes(before, "unreadLog"))
        self._output = LineReader(reactor, output, relay.line, _bytes(before, "unreadOutput"))
        self._channel = Channel(
            reactor,
            sock,
            owner.received,
            self._hungUp,
            _bytes(before, "unread"),
            _bytes(before, "unsent"),
        )
        self._death = Death(reactor, pid, self._ended)

    def send(self, message: Message, *, needed: bool = True) -> None:
        """
        Tell it something; see L{Channel.send}.
        """
        self._channel.send(message, needed=needed)

    def kill(self) -> None:
        """
        End it at once.
        """
        self._death.kill()

    def _hungUp(self, reason: str) -> None:
        # It ends by itself, or is of no use any more: there is no other way to it.
        self._reactor.callLater(HUNG_UP, self._killLate)

    def _killLate(self) -> None:
        self._isLate = not self._death.isOver
        self._death.kill()

    def _ended(self, status: int) -> None:
        # What it said last comes before the end of it.
        if self._channel.isOpen:
            self._channel.drain()
        self._log.finish()
        self._output.finish()
        self._channel.close()
        reason = describeStatus(status)
        if self._isLate and status == -signal.SIGKILL:
            reason = f"killed, since it had hung up and did not end within {HUNG_UP:g} s"
        if status > 0 and self._relay.last:
            # Python's own last words: it did not come as far as to say why.
            reason += f": {self._relay.last}"
        self._owner.ended(reason)

    def describe(self) -> dict[str, Any]:
        """
        See L{Process}.
        """
        return {
            "pid": self.pid,
            "channel": self._channel.socket.fileno(),
            "log": self._log.fileno(),
            "output": self._output.fileno(),
            "unread": self._channel.unread.decode("latin-1"),
            "unsent": self._channel.unsent.decode("latin-1"),
            "unreadLog": self._log.unread.decode("latin-1"),
            "unreadOutput": self._output.unread.decode("latin-1"),
        }


def _bytes(described: Mapping[str, str], name: str) -> bytes:
    return described.get(name, "").encode("latin-1")


@implementer(IReadDescriptor)
class Death:
    """
    Waits for the end of a process of ours.

    @ivar isOver: It has ended.
    """

    def __init__(self, reactor: Any, pid: int, ended: Callable[[int], None]) -> None:
        """
        Args:
            reactor: Watches it.
            pid: The process.
            ended: Called with its exit code, or a signal's number as a negative one.
        """
        self._reactor = reactor
        self._pid = pid
        self._ended = ended
        self.isOver = False
        # It cannot be the number of another process before we have waited for it.
        self._descriptor = os.pidfd_open(pid)
        reactor.addReader(self)

    def doRead(self) -> None:
        """
        It has ended.
        """
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid == 0:
            return
        self.isOver = True
        self._reactor.removeReader(self)
        os.close(self._descriptor)
        self._ended(os.waitstatus_to_exitcode(status))

    def kill(self) -> None:
        """
        End it, unless it has ended.
        """
        if not self.isOver:
            os.kill(self._pid, signal.SIGKILL)

    def fileno(self) -> int:
        """
        The descriptor, for the reactor.
        """
        return self._descriptor

    def connectionLost(self, reason: Failure) -> None:
        """
        The reactor gave it up: never.
        """

    def logPrefix(self) -> str:
        """
        What the reactor calls it in the log.
        """
        return "workers"
