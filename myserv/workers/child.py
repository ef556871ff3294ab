"""
A worker: C{python -m myserv.workers.child DESCRIPTOR}, which the supervisor starts.

It is told what to do over the channel that the descriptor is an end of, and when that
closes, it drains and goes: without the supervisor there is nobody to replace it, and
its sockets are in the way of whoever starts the server again.
"""

from __future__ import annotations

import signal
import socket
import sys
import traceback
from typing import TYPE_CHECKING, Final, NoReturn

from myserv.errors import ConfigurationError, describeException
from myserv.workers.messages import Assignment, Failed, MessageReader, encode
from myserv.workers.privileges import Identity

if TYPE_CHECKING:
    from myserv.workers.serving import Worker

TOLD: Final = 30.0
"""Seconds that the supervisor has to say what to do."""

_CHUNK: Final = 65536

_UNANSWERED: Final = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that a terminal or an operator sends to all processes of the server, and that
the supervisor answers."""


def main() -> None:
    """
    Serve as the supervisor says.
    """
    for number in _UNANSWERED:
        # Not SIG_IGN, which programs that a protocol starts would inherit.
        signal.signal(number, lambda *_: None)
    channel = socket.socket(fileno=int(sys.argv[1]))
    try:
        assignment = awaitAssignment(channel)
    except (OSError, EOFError):
        # The supervisor has gone, or has changed its mind.
        sys.exit(1)
    try:
        prepare(assignment)
        worker = _makeWorker(assignment, channel)
    except ConfigurationError as error:
        _refuse(channel, str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, the supervisor has to know
        traceback.print_exc()
        _refuse(channel, f"a worker cannot start: {describeException(error)}")
    sys.exit(worker.run())


def _refuse(channel: socket.socket, reason: str) -> NoReturn:
    channel.setblocking(True)
    channel.sendall(encode(Failed(reason)))
    sys.exit(1)


def awaitAssignment(channel: socket.socket) -> Assignment:
    """
    Wait for the first message, without a reactor: it says which one to have.

    What comes after it is left in the channel.

    Raises:
        EOFError: It did not come.
        OSError: It took too long.
    """
    channel.settimeout(TOLD)
    reader = MessageReader()
    while True:
        there = channel.recv(_CHUNK, socket.MSG_PEEK)
        if not there:
            raise EOFError
        end = there.find(b"\n") + 1 or len(there)
        for message in reader.receiveData(channel.recv(end)):
            if not isinstance(message, Assignment):
                raise EOFError
            return message


def prepare(assignment: Assignment) -> None:
    """
    Become who the operator said, before anything of a plugin's is imported.

    What we are made of is imported before: the user may not be able to read it.

    Raises:
        ConfigurationError: It cannot be done.
    """
    sys.path += [each for each in assignment.searchPath if each not in sys.path]
    installBestReactor(assignment.reactor)
    import myserv.observe.log
    import myserv.workers.serving  # noqa: F401 - to have it

    identity = Identity(assignment.uid, assignment.gid, assignment.user)
    try:
        identity.assume()
    except OSError as error:
        raise ConfigurationError(
            f"a worker cannot run as {assignment.user or assignment.gid}: {error.strerror}"
        ) from None


def installBestReactor(name: str) -> None:
    """
    Install a reactor.

    Args:
        name: As for twistd's C{--reactor}; empty for the native one, where uvloop is
            installed, or Twisted's own choice.

    Raises:
        ConfigurationError: There is no such reactor, or it cannot be had here.
    """
    from twisted.application import reactors

    try:
        if name:
            reactors.installReactor(name)
            return
        from myserv.reactor import install

        install()
    except reactors.NoSuchReactor:
        raise ConfigurationError(f"there is no reactor {name!r}") from None
    except ImportError as error:
        if name:
            raise ConfigurationError(f"the reactor {name!r} cannot be had: {error}") from None
        from twisted.internet import default

        default.install()


def _makeWorker(assignment: Assignment, channel: socket.socket) -> Worker:
    from twisted.internet import reactor
    from twisted.logger import globalLogBeginner

    from myserv.workers.lines import RecordWriter
    from myserv.workers.serving import Worker

    log = RecordWriter(assignment.log)
    globalLogBeginner.beginLoggingTo([log], redirectStandardIO=True)
    log.writeFrom(reactor)
    return Worker(reactor, assignment, channel, log)


if __name__ == "__main__":
    main()
