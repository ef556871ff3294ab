"""Ports that accept; see tests/wire/test_ports.py for real sockets."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionLost
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from myserv.endpoints.accepting import ACCEPT_PAUSE, ACCEPTS_PER_TURN, AcceptingPort
from myserv.testing.logged import LoggedFailures
from tests.endpoints.ports import ScriptedSocket, WatchingReactor, failing


class Serving(Factory):
    """Builds what a test wants, and counts."""

    noisy = False

    def __init__(self, build: Any = Protocol) -> None:
        self.build = build
        self.addresses: list[Any] = []
        self.running = 0

    def startFactory(self) -> None:
        self.running += 1

    def stopFactory(self) -> None:
        self.running -= 1

    def buildProtocol(self, addr: Any) -> Any:
        self.addresses.append(addr)
        return self.build()


class Stage:
    """A port and what comes to it."""

    def __init__(self, build: Any = Protocol, factory: Any = None, **arguments: Any) -> None:
        self.reactor = WatchingReactor()
        sock: Any = ScriptedSocket(name=("10.0.0.1", 7))
        self.socket = sock
        self.factory = factory or Serving(build)
        self.port: Any = AcceptingPort(sock, self.factory, self.reactor, **arguments)
        self.port.startListening()

    def arrive(self, count: int = 1) -> list[ScriptedSocket]:
        """Let some connect."""
        arrivals = [ScriptedSocket() for _ in range(count)]
        for number, each in enumerate(arrivals):
            self.socket.incoming.append((each, ("10.0.0.2", 1000 + number)))
        return arrivals

    @property
    def reading(self) -> bool:
        """Whether the reactor watches it."""
        return self.port in self.reactor.reading


def test_fromStartToEnd() -> None:
    """It is watched, and closes once."""
    closed: list[str] = []
    stage = Stage(closed=lambda: closed.append("closed"))
    assert repr(stage.port) == "<AcceptingPort of Serving on 7>"
    assert stage.port.getHost() == IPv4Address("TCP", "10.0.0.1", 7)
    assert stage.port.fileno() == 5
    assert stage.port.logPrefix() == "Serving"
    assert stage.factory.running == 1
    done: list[Any] = []
    for _ in range(2):
        stopping = stage.port.stopListening()
        assert stopping is not None
        stopping.addCallback(done.append)
    assert not stage.reading
    assert done == []
    stage.reactor.advance(0)
    assert done == [None, None]
    assert (closed, stage.socket.closed, stage.socket.ended) == (["closed"], True, False)
    assert stage.factory.running == 0
    assert stage.port.stopListening() is None
    assert repr(stage.port) == "<AcceptingPort of Serving (not listening)>"
    assert stage.port.fileno() == -1


def test_aSocketOfOurOwn() -> None:
    """Ends for whoever holds it, too."""
    stage = Stage(shared=False)
    stage.port.loseConnection()
    stage.reactor.advance(0)
    assert stage.socket.ended

    def gone(how: int) -> None:
        raise failing(errno.ENOTCONN)

    stage = Stage(shared=False)
    stage.socket.shutdown = gone
    stage.port.connectionLost(Failure(CONNECTION_LOST))
    assert stage.socket.closed


def test_aFactoryThatDoesNotStart() -> None:
    """Leaves no socket."""

    class Broken(Factory):
        noisy = False

        def startFactory(self) -> None:
            raise ZeroDivisionError

    closed: list[str] = []
    sock: Any = ScriptedSocket()
    port = AcceptingPort(sock, Broken(), WatchingReactor(), lambda: closed.append("closed"))
    with pytest.raises(ZeroDivisionError):
        port.startListening()
    assert sock.closed
    assert closed == ["closed"]


def test_aFactorysOwnName() -> None:
    """Is used in log lines."""

    class Named(Serving):
        def logPrefix(self) -> str:
            return "chat"

    assert Stage(factory=Named()).port.logPrefix() == "chat"

    class Nameless:
        """No Factory, but as good as one."""

        def doStart(self) -> None:
            pass

    assert Stage(factory=Nameless()).port.logPrefix() == "Nameless"


def test_aFewATurn() -> None:
    """A storm does not starve those who are connected."""
    stage = Stage()
    stage.arrive(ACCEPTS_PER_TURN + 3)
    stage.port.doRead()
    assert len(stage.factory.addresses) == ACCEPTS_PER_TURN
    stage.port.doRead()
    assert len(stage.factory.addresses) == ACCEPTS_PER_TURN + 3
    assert stage.factory.addresses[:2] == [
        IPv4Address("TCP", "10.0.0.2", 1000),
        IPv4Address("TCP", "10.0.0.2", 1001),
    ]


@pytest.mark.parametrize("where", ["buildProtocol", "makeConnection"])
def test_stoppingInTheMiddle(where: str) -> None:
    """Nothing more is accepted until reading starts again."""

    class Stopping(Protocol):
        def __init__(self) -> None:
            if where == "buildProtocol":
                stage.port.stopReading()

        def connectionMade(self) -> None:
            stage.port.stopReading()

    stage = Stage(Stopping)
    stage.arrive(3)
    stage.port.doRead()
    assert len(stage.factory.addresses) == 1
    assert len(stage.socket.incoming) == 2
    assert not stage.reading
    stage.port.startReading()
    assert stage.reading


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPERM, errno.EPROTO])
def test_anArrivalThatCameToNothing(number: int) -> None:
    """The next one is accepted all the same."""
    stage = Stage()
    stage.socket.incoming.append(failing(number))
    stage.arrive()
    stage.port.doRead()
    assert len(stage.factory.addresses) == 1
    assert stage.reading


@pytest.mark.parametrize(
    "number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EINVAL]
)
def test_nothingCanBeAccepted(number: int) -> None:
    """The port pauses, says so to who wants to know, and goes on by itself."""
    told: list[Any] = []

    class Telling(Serving):
        def acceptFailed(self, error: OSError, wait: float) -> None:
            told.append((error.errno, wait))

    stage = Stage(factory=Telling())
    stage.socket.incoming.append(failing(number))
    stage.arrive()
    stage.port.doRead()
    assert told == [(number, ACCEPT_PAUSE)]
    assert stage.factory.addresses == []
    assert not stage.reading
    # Not even one who resumes the port ends the pause.
    stage.port.startReading()
    assert not stage.reading
    stage.reactor.advance(ACCEPT_PAUSE)
    assert stage.reading
    stage.port.doRead()
    assert len(stage.factory.addresses) == 1
    assert stage.reactor.getDelayedCalls() == []


def test_pausedAndStopped() -> None:
    """A pause does not resume what somebody has stopped, nor outlive the port."""
    stage = Stage()
    stage.socket.incoming.append(failing(errno.EMFILE))
    stage.port.doRead()
    stage.port.stopReading()
    stage.reactor.advance(ACCEPT_PAUSE)
    assert not stage.reading
    stage.port.startReading()
    stage.socket.incoming.append(failing(errno.EMFILE))
    stage.port.doRead()
    stage.port.stopListening()
    stage.reactor.advance(0)
    assert stage.reactor.getDelayedCalls() == []


def test_aFactoryThatRaisesWhenTold(loggedErrors: LoggedFailures) -> None:
    """Is logged, and the port lives."""

    class Broken(Serving):
        def acceptFailed(self, error: OSError, wait: float) -> None:
            raise ZeroDivisionError

    stage = Stage(factory=Broken())
    stage.socket.incoming.append(failing(errno.EMFILE))
    stage.port.doRead()
    assert len(loggedErrors.take(ZeroDivisionError)) == 1
    stage.reactor.advance(ACCEPT_PAUSE)
    assert stage.reading


def test_noProtocol() -> None:
    """The arrival is closed."""
    stage = Stage(lambda: None)
    [arrival] = stage.arrive()
    stage.port.doRead()
    assert arrival.closed
    assert arrival.options == []


def test_turnedAway() -> None:
    """Reset at once: there is no transport, and nothing that ends."""

    class Refused:
        closesAtOnce = True

    stage = Stage(Refused)
    [arrival] = stage.arrive()
    stage.port.doRead()
    assert arrival.closed
    [(level, option, value)] = arrival.options
    assert (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER)
    assert value == b"\1\0\0\0\0\0\0\0"
    assert stage.reactor.reading == {stage.port}


@pytest.mark.parametrize("where", ["buildProtocol", "connectionMade"])
def test_aBug(where: str, loggedErrors: LoggedFailures) -> None:
    """Costs that arrival, and is logged once."""
    lost: list[object] = []

    class Broken(Protocol):
        def __init__(self) -> None:
            if where == "buildProtocol" and len(stage.factory.addresses) == 1:
                raise ZeroDivisionError

        def connectionMade(self) -> None:
            if len(stage.factory.addresses) == 1:
                raise ZeroDivisionError

        def connectionLost(self, reason: object = None) -> None:
            lost.append(reason)

    stage = Stage(Broken)
    first, second = stage.arrive(2)
    stage.port.doRead()
    stage.reactor.advance(0)
    assert len(loggedErrors.take(ZeroDivisionError)) == 1
    assert first.closed
    assert not second.closed
    assert len(lost) == (where == "connectionMade")


def test_addressesOfIPv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the interface where they are none without it."""
    stage = Stage()
    plain = stage.port.buildAddress(("2001:db8::1", 80, 0, 0))
    assert plain == IPv6Address("TCP", "2001:db8::1", 80)
    monkeypatch.setattr(socket, "getnameinfo", lambda *_: ("fe80::1%eth9", "80"))
    linked = stage.port.buildAddress(("fe80::1", 80, 0, 9))
    assert linked == IPv6Address("TCP", "fe80::1%eth9", 80, 0, 9)


def test_theReactorEndsIt() -> None:
    """It has lost the socket, or stops."""
    stage = Stage()
    stage.port.connectionLost(Failure(ConnectionLost()))
    stage.port.connectionLost(Failure(ConnectionLost()))
    assert stage.socket.closed
    assert stage.factory.running == 0
