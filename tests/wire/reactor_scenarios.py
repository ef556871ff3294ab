"""
What the reactor is tried with, each in a process of its own:
C{python -m tests.wire.reactor_scenarios NAME}.

A scenario is an async function here whose name is public.  It gets the reactor, which
runs, and fails by raising, or by something that is logged as an error.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import resource
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    FileDescriptorOverrun,
    InvalidAddressError,
    MessageLengthError,
    NotConnectingError,
    ReactorNotRunning,
    UnsupportedAddressFamily,
    UserError,
)
from twisted.internet.interfaces import IFileDescriptorReceiver, IHalfCloseableProtocol
from twisted.internet.protocol import (
    ClientFactory,
    DatagramProtocol,
    Factory,
    Protocol,
)
from twisted.internet.tcp import makeBinding
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from myserv.reactor import install
from myserv.reactor.batches import Singly, receiverOf
from myserv.reactor.stream import BULK

LOCAL = "127.0.0.1"
TIMEOUT = 10.0

problems: list[Any] = []
"""What was logged as an error."""


class Recorder(Protocol):
    """Keeps what happens to it."""

    def __init__(self) -> None:
        self.made = False
        self.received = b""
        self.lost: Failure | None = None

    def connectionMade(self) -> None:
        self.made = True

    def dataReceived(self, data: bytes) -> None:
        assert type(data) is bytes
        self.received += data

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        assert self.lost is None
        self.lost = reason


@implementer(IHalfCloseableProtocol)
class HalfRecorder(Recorder):
    """Hears of the halves, too."""

    def __init__(self) -> None:
        super().__init__()
        self.halves: list[str] = []

    def readConnectionLost(self) -> None:
        self.halves.append("read")

    def writeConnectionLost(self) -> None:
        self.halves.append("write")


class Builder(Factory):
    """Keeps what it builds."""

    noisy = False

    def __init__(self, kind: Callable[[], Any] = Recorder) -> None:
        self.kind = kind
        self.built: list[Any] = []
        self.failures: list[OSError] = []

    def buildProtocol(self, addr: Any) -> Any:
        self.built.append(self.kind())
        return self.built[-1]


@contextmanager
def raises(kind: type[BaseException]) -> Iterator[None]:
    """Expect an error; as pytest's, which takes longer to import than a scenario to run."""
    try:
        yield
    except kind:
        return
    raise AssertionError(f"no {kind.__name__}")


def turn(reactor: Any, seconds: float = 0.0) -> Deferred[None]:
    """Let time pass."""
    passed: Deferred[None] = Deferred()
    reactor.callLater(seconds, passed.callback, None)
    return passed


async def until(reactor: Any, happened: Callable[[], object]) -> None:
    """Wait for something."""
    end = time.monotonic() + TIMEOUT
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        await turn(reactor, 0.002)


def connect(port: Any) -> socket.socket:
    """Connect a plain socket; the kernel answers whether the port accepts or not."""
    host = port.getHost()
    sock = socket.create_connection((host.host, host.port), timeout=TIMEOUT)
    sock.settimeout(TIMEOUT)
    return sock


async def read(reactor: Any, sock: socket.socket) -> bytes:
    """Read a plain socket once, while the reactor goes on."""
    sock.setblocking(False)
    got: list[bytes] = []

    def ready() -> bool:
        try:
            got.append(sock.recv(2**20))
        except BlockingIOError:
            return False
        return True

    await until(reactor, ready)
    return got[0]


async def pair(reactor: Any, kind: Callable[[], Any] = Recorder) -> tuple[Any, socket.socket]:
    """Have a protocol at our end, and a plain socket at the other."""
    factory = Builder(kind)
    port = reactor.listenTCP(0, factory, interface=LOCAL)
    sock = connect(port)
    await until(reactor, lambda: factory.built and factory.built[0].transport)
    await port.stopListening()
    return factory.built[0], sock


# Accepting.


async def pausesAtOnce(reactor: Any) -> None:
    """A port that is paused in the middle of a batch accepts nobody else."""
    factory = Builder()
    port = reactor.listenTCP(0, factory, backlog=50, interface=LOCAL)
    first = connect(port)
    await until(reactor, lambda: len(factory.built) == 1)

    def pausing() -> Recorder:
        if len(factory.built) == 3:
            port.stopReading()
        return Recorder()

    factory.kind = pausing
    # They wait together, so a batch would have them all.
    others = [connect(port) for _ in range(20)]
    await turn(reactor, 0.1)
    assert len(factory.built) == 4
    assert not port.reading
    assert port not in reactor.getReaders()
    factory.kind = Recorder
    port.startReading()
    await until(reactor, lambda: len(factory.built) == 21)
    await until(reactor, lambda: all(each.made for each in factory.built))
    for each in (first, *others):
        each.close()
    await until(reactor, lambda: all(each.lost for each in factory.built))
    await port.stopListening()


async def refusesWithNone(reactor: Any) -> None:
    """A factory that builds nothing, or raises, costs the peer its connection."""
    factory = Builder(lambda: None)
    port = reactor.listenTCP(0, factory, interface=LOCAL)
    assert await read(reactor, connect(port)) == b""

    def raising() -> None:
        raise KeyError("nothing to build")

    factory.kind = raising
    assert await read(reactor, connect(port)) == b""
    assert problems.pop()["log_failure"].check(KeyError)
    path = str(Path(tempfile.mkdtemp()) / "s")
    unix = reactor.listenUNIX(path, factory)
    for kind in (lambda: None, raising):
        factory.kind = kind
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        assert await read(reactor, sock) == b""
    assert problems.pop()["log_failure"].check(KeyError)
    await unix.stopListening()
    await port.stopListening()


async def rests(reactor: Any) -> None:
    """Without descriptors a port rests, says so, and comes back; others are served."""

    class Told(Builder):
        def acceptFailed(self, error: OSError, wait: float) -> None:
            assert wait == 0.5
            self.failures.append(error)

    factory, quiet = Told(), Builder()
    port = reactor.listenTCP(0, factory, interface=LOCAL)
    second = reactor.listenTCP(0, quiet, interface=LOCAL)
    established = connect(port)
    await until(reactor, lambda: factory.built and factory.built[0].made)
    clients = [connect(port), connect(second)]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    started = time.process_time()
    await turn(reactor, 1.6)
    established.sendall(b"still there?")
    await until(reactor, lambda: factory.built[0].received == b"still there?")
    assert len(factory.built) == 1
    assert not quiet.built
    # Every half second, and without spinning.
    assert 2 <= len(factory.failures) <= 5, factory.failures
    assert factory.failures[0].errno == errno.EMFILE
    assert time.process_time() - started < 0.5
    assert 1 <= len(problems) <= 2, problems
    assert "cannot accept" in str(problems)
    problems.clear()
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    await until(reactor, lambda: len(factory.built) == 2 and quiet.built)
    for each in (established, *clients):
        each.close()
    await port.stopListening()
    await second.stopListening()


async def stopsWhileResting(reactor: Any) -> None:
    """A port that rests can be stopped, and paused."""
    port = reactor.listenTCP(0, Builder(), interface=LOCAL)
    port._rest(OSError(errno.ENOMEM, "no memory"))
    port.stopReading()
    await turn(reactor, 0.6)
    assert not port.reading
    port.startReading()
    port._rest(OSError(errno.ENOMEM, "no memory"))
    await port.stopListening()
    assert problems
    problems.clear()


async def goesOnAfterPassingErrors(reactor: Any) -> None:
    """A peer that left before it was accepted is not an error; others are logged."""
    factory = Builder()
    port = reactor.listenTCP(0, factory, interface=LOCAL)
    real = port.socket
    raised = [OSError(errno.ECONNABORTED, "left"), OSError(errno.EIO, "odd"), KeyError("bug")]

    class Failing:
        def _accept(self) -> Any:
            if raised:
                raise raised.pop(0)
            return real._accept()

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    port.socket = Failing()
    with connect(port):
        await until(reactor, lambda: factory.built)
    assert problems.pop()["log_failure"].check(KeyError)
    assert "odd" in str(problems.pop())
    await port.stopListening()


async def turnsAway(reactor: Any) -> None:
    """A protocol that closes at once costs no transport: the socket is reset."""

    class Closes(Recorder):
        closesAtOnce = True

    factory = Builder(Closes)
    port = reactor.listenTCP(0, factory, interface=LOCAL)
    path = str(Path(tempfile.mkdtemp()) / "s")
    local = reactor.listenUNIX(path, factory)
    with connect(port) as sock:
        await until(reactor, lambda: len(factory.built) == 1)
        with raises(ConnectionResetError):
            sock.recv(1)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        assert await read(reactor, sock) == b""
    assert len(factory.built) == 2
    assert not any(each.made or each.lost for each in factory.built)
    await local.stopListening()
    await port.stopListening()


async def adoptsUNIXSockets(reactor: Any) -> None:
    """A UNIX socket of somebody's own keeps its file, and knows its peers."""
    path = Path(tempfile.mkdtemp()) / "s"
    sock = socket.socket(socket.AF_UNIX)
    sock.setblocking(False)
    sock.bind(str(path))
    sock.listen()
    path.chmod(0o640)
    closed: list[bool] = []
    factory = Builder()
    port = reactor.adoptUNIXSocket(sock, factory, lambda: closed.append(True))
    assert port.getHost().name == os.fsencode(path)
    clients = [socket.socket(socket.AF_UNIX) for _ in range(2)]
    clients[0].connect(str(path))
    await until(reactor, lambda: factory.built and factory.built[0].made)
    # One on uvloop's transport, one on Twisted's.
    factory.kind = Receiver
    clients[1].connect(str(path))
    await until(reactor, lambda: len(factory.built) == 2 and factory.built[1].made)
    for protocol in factory.built:
        assert protocol.transport.getPeer().name is None
        credentials = protocol.transport.peerCredentials
        assert credentials[:3] == (os.getpid(), os.getuid(), os.getgid())
        assert set(credentials.groups) == {os.getgid(), *os.getgroups()}
        assert credentials.uid == os.getuid()
    for each in clients:
        each.close()
    await until(reactor, lambda: all(each.lost for each in factory.built))
    await port.stopListening()
    assert closed == [True]
    assert sock.fileno() == -1
    assert path.stat().st_mode & 0o777 == 0o640
    path.unlink()

    class Unstarted(Builder):
        def doStart(self) -> None:
            raise KeyError("not today")

    sock = socket.socket(socket.AF_UNIX)
    with raises(KeyError):
        reactor.adoptUNIXSocket(sock, Unstarted(), lambda: closed.append(True))
    assert len(closed) == 2
    assert sock.fileno() == -1


async def servesTheEstablishedInAStorm(reactor: Any) -> None:
    """Hundreds who connect do not keep those waiting who are connected."""
    factory = Builder()
    port = reactor.listenTCP(0, factory, backlog=500, interface=LOCAL)
    established = connect(port)
    await until(reactor, lambda: factory.built)
    turns: list[int] = []
    factory.built[0].dataReceived = lambda data: turns.append(len(factory.built))
    port.stopReading()
    storm = [connect(port) for _ in range(300)]
    port.startReading()
    established.sendall(b"x")
    await until(reactor, lambda: len(factory.built) == 301)
    assert turns[0] < 100, turns
    for each in (established, *storm):
        each.close()
    await port.stopListening()


async def sharesPorts(reactor: Any) -> None:
    """SO_REUSEPORT, IPv6, and sockets that others have opened."""
    factory = Builder()
    first = reactor.listenTCP(makeBinding(LOCAL, 0, reusePort=True), factory)
    number = first.getHost().port
    second = reactor.listenTCP(makeBinding(LOCAL, number, reusePort=True), factory)
    adopted = reactor.adoptStreamPort(first.fileno(), socket.AF_INET, factory)
    six = reactor.listenTCP(0, factory, interface="::1")
    assert second.getHost().port == adopted.getHost().port == number
    sock = connect(six)
    await until(reactor, lambda: factory.built and factory.built[0].transport)
    transport = factory.built[0].transport
    assert transport.getPeer().host == transport.getHost().host == "::1"
    assert repr(transport) == f"<Recorder #0 on {six.getHost().port}>"
    # A live connection moves to another transport.
    reactor.removeReader(transport)
    moved = reactor.adoptStreamConnection(transport.fileno(), socket.AF_INET6, factory)
    transport._shouldShutdown = False
    transport.connectionLost(Failure(ConnectionDone()))
    await until(reactor, lambda: factory.built[1].made)
    sock.sendall(b"to the other")
    await until(reactor, lambda: factory.built[1].received)
    moved.loseConnection()
    assert await read(reactor, sock) == b""
    factory.kind = lambda: None
    other = socket.create_server((LOCAL, 0))
    client = socket.create_connection(other.getsockname())
    server, _ = other.accept()
    assert reactor.adoptStreamConnection(server.fileno(), socket.AF_INET, factory) is None
    for each in (other, client, server):
        each.close()
    for family in (socket.AF_PACKET, 12345):
        for adopt in (reactor.adoptStreamPort, reactor.adoptStreamConnection):
            with raises(UnsupportedAddressFamily):
                adopt(0, family, factory)
    # Whoever shares a listening socket with the one that shuts it down is not to spin.
    await first.stopListening()
    await until(reactor, lambda: problems)
    assert "cannot accept" in str(problems.pop())
    for port in (second, adopted, six):
        await port.stopListening()


# Reading and writing.


async def rebinds(reactor: Any) -> None:
    """Whoever is to read can be replaced in each of the ways that there are."""
    protocol, sock = await pair(reactor)
    got: list[tuple[str, bytes]] = []

    async def said(who: str) -> None:
        sock.sendall(b"x")
        await until(reactor, lambda: got)
        assert got.pop() == (who, b"x"), who

    protocol.dataReceived = lambda data: got.append(("instance", data))
    await said("instance")
    other = Recorder()
    other.dataReceived = lambda data: got.append(("other", data))  # type: ignore[method-assign]
    protocol.transport.protocol = other
    await said("other")
    sock.close()
    await until(reactor, lambda: other.lost)
    assert other.lost is not None
    assert other.lost.check(ConnectionDone)


async def costsOnlyItsOwnConnection(reactor: Any) -> None:
    """A protocol that raises loses its connection, with what it raised; no other does."""
    good, goodSock = await pair(reactor)

    class Raising(Recorder):
        def dataReceived(self, data: bytes) -> None:
            raise ZeroDivisionError("a bug")

    bad, badSock = await pair(reactor, Raising)
    badSock.sendall(b"x")
    await until(reactor, lambda: bad.lost)
    assert bad.lost.check(ZeroDivisionError)
    assert problems.pop()["failure"].check(ZeroDivisionError)
    assert await read(reactor, badSock) == b""
    goodSock.sendall(b"x")
    await until(reactor, lambda: good.received == b"x")

    class Everywhere(Recorder):
        def connectionMade(self) -> None:
            raise KeyError("made")

        def connectionLost(self, reason: Any = None) -> None:
            self.lost = reason
            raise KeyError("lost")

    worst, worstSock = await pair(reactor, Everywhere)
    worst.transport.registerProducer(Raises(), True)
    worstSock.close()
    await until(reactor, lambda: worst.lost)
    kinds = [each["failure"].type for each in problems]
    assert kinds == [KeyError, ZeroDivisionError, KeyError], kinds
    problems.clear()
    goodSock.close()
    await until(reactor, lambda: good.lost)


class Raises:
    """A producer with a bug."""

    def stopProducing(self) -> None:
        raise ZeroDivisionError("a bug")


async def resets(reactor: Any) -> None:
    """C{abortConnection} resets, and a reset is a ConnectionLost with its error."""
    protocol, sock = await pair(reactor)
    protocol.transport.abortConnection()
    protocol.transport.abortConnection()
    assert not protocol.lost
    await until(reactor, lambda: protocol.lost)
    assert protocol.lost.check(ConnectionAborted)
    with raises(ConnectionResetError):
        await read(reactor, sock)
    protocol, sock = await pair(reactor)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    await until(reactor, lambda: protocol.lost)
    assert protocol.lost.check(ConnectionLost)
    assert protocol.lost.value.osError.errno == errno.ECONNRESET
    assert "reset" in str(protocol.lost.value)


async def flushesBeforeItCloses(reactor: Any) -> None:
    """What was written arrives, whenever C{loseConnection} comes, and nothing is after."""
    protocol, sock = await pair(reactor)
    transport = protocol.transport
    write = transport.write
    data = bytes(range(256)) * 20_000
    write(data)
    assert transport.getWriteBufferSize() > 0
    assert transport in reactor.getWriters()
    transport.loseConnection()
    transport.loseConnection()
    transport.resumeProducing()
    assert not transport.reading
    transport.writeSequence([b"the ", b"end"])
    got = b""
    while len(got) < len(data) + 7:
        got += await read(reactor, sock)
    assert got == data + b"the end"
    assert await read(reactor, sock) == b""
    await until(reactor, lambda: protocol.lost)
    assert protocol.lost.check(ConnectionDone)
    write(b"nobody hears it")
    transport.writeSequence([b"nor", b"this"])
    transport.loseConnection()
    transport.abortConnection()
    transport.startReading()
    assert transport.getWriteBufferSize() == 0
    assert transport.fileno() == -1
    assert not transport.reading


async def refusesText(reactor: Any) -> None:
    """Text is not bytes."""
    protocol, sock = await pair(reactor)
    for call in (protocol.transport.write, lambda text: protocol.transport.writeSequence([text])):
        with raises(TypeError):
            call("text")
    protocol.transport.writeSequence(each for each in (b"a", b"b"))
    protocol.transport.writeSequence([bytes(20_000), b"c"])
    got = b""
    while len(got) < 20_003:
        got += await read(reactor, sock)
    assert got == b"ab" + bytes(20_000) + b"c"
    sock.close()
    await until(reactor, lambda: protocol.lost)


async def closesByHalves(reactor: Any) -> None:
    """Each half closes by itself, and is told of when all has been sent."""
    protocol, sock = await pair(reactor, HalfRecorder)
    transport = protocol.transport
    transport.write(bytes(5_000_000))
    transport.loseWriteConnection()
    await turn(reactor, 0.05)
    assert protocol.halves == []
    got = 0
    while chunk := await read(reactor, sock):
        got += len(chunk)
    assert got == 5_000_000
    await until(reactor, lambda: protocol.halves == ["write"])
    transport.write(b"too late")
    transport.loseWriteConnection()
    sock.sendall(b"still heard")
    await until(reactor, lambda: protocol.received == b"still heard")
    sock.shutdown(socket.SHUT_WR)
    await until(reactor, lambda: protocol.halves == ["write", "read"])
    transport.resumeProducing()
    assert not transport.reading
    assert not protocol.lost
    transport.loseConnection()
    assert protocol.lost.check(ConnectionDone)
    # Without an interest in halves, the first ends both.
    plain, other = await pair(reactor)
    other.shutdown(socket.SHUT_WR)
    await until(reactor, lambda: plain.lost)
    assert plain.lost.check(ConnectionDone)
    ended, third = await pair(reactor)
    ended.transport.writeConnectionLost(Failure(ConnectionDone()))
    assert ended.lost.check(ConnectionDone)
    third.close()


class Producer:
    """Writes pieces when it is asked, or until it is paused."""

    def __init__(self, transport: Any, pieces: int, *, push: bool) -> None:
        self.transport = transport
        self.left = pieces
        self.push = push
        self.paused = False
        self.stopped = False
        self.pauses = 0
        self.most = 0

    def resumeProducing(self) -> None:
        self.paused = False
        self.produce()

    def produce(self) -> None:
        while self.left and not self.paused:
            self.left -= 1
            self.transport.write(bytes(10_000))
            self.most = max(self.most, self.transport.getWriteBufferSize())
            if not self.push:
                return
        if not self.left:
            self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        self.paused = True
        self.pauses += 1

    def stopProducing(self) -> None:
        self.stopped = True


async def paces(reactor: Any) -> None:
    """A push producer is paused, a pull producer asked, and neither outruns the peer."""
    for push in (True, False):
        await _paced(reactor, push=push)
        await _stopped(reactor, push=push)
    # After a pull producer, writes cost no more than before it.
    protocol, sock = await pair(reactor)
    protocol.transport.registerProducer(Producer(protocol.transport, 2, push=False), False)
    await until(reactor, lambda: protocol.transport.producer is None)
    assert protocol.transport._direct
    protocol.transport.stopConsuming()
    await until(reactor, lambda: protocol.lost)
    sock.close()


async def _paced(reactor: Any, *, push: bool) -> None:
    protocol, sock = await pair(reactor)
    transport = protocol.transport
    producer = Producer(transport, 1_000, push=push)
    transport.registerProducer(producer, push)
    if push:
        producer.produce()
    if transport.producer:
        with raises(RuntimeError):
            transport.registerProducer(producer, push)
    transport.loseConnection()
    got = 0
    while chunk := await read(reactor, sock):
        got += len(chunk)
    assert got == 10_000_000, (push, got)
    assert producer.most <= transport.bufferSize + 10_000
    assert producer.pauses > 0 or not push
    await until(reactor, lambda: protocol.lost)
    assert not producer.stopped


async def _stopped(reactor: Any, *, push: bool) -> None:
    protocol, sock = await pair(reactor)
    producer = Producer(protocol.transport, 1_000, push=push)
    protocol.transport.write(bytes(20_000_000))
    protocol.transport.registerProducer(producer, push)
    assert producer.paused is push
    sock.close()
    await until(reactor, lambda: protocol.lost)
    assert producer.stopped
    late = Producer(protocol.transport, 1, push=push)
    protocol.transport.registerProducer(late, push)
    assert late.stopped
    protocol.transport.unregisterProducer()


async def pausesFromTheBeginning(reactor: Any) -> None:
    """A protocol that pauses in C{connectionMade} gets nothing until it resumes."""

    class Shy(Recorder):
        def connectionMade(self) -> None:
            assert self.transport is not None
            self.transport.pauseProducing()  # type: ignore[attr-defined]

    factory = Builder(Shy)
    port = reactor.listenTCP(0, factory, interface=LOCAL)
    sock = connect(port)
    sock.sendall(b"early")
    await until(reactor, lambda: factory.built and factory.built[0].transport)
    shy = factory.built[0]
    await turn(reactor, 0.05)
    assert shy.received == b""
    shy.transport.resumeProducing()
    await until(reactor, lambda: shy.received == b"early")
    shy.transport.stopProducing()
    await until(reactor, lambda: shy.lost)
    sock.close()
    await port.stopListening()


async def hasOptions(reactor: Any) -> None:
    """Addresses, socket options, and the socket itself."""
    protocol, sock = await pair(reactor)
    transport = protocol.transport
    assert (transport.getPeer().host, transport.getPeer().port) == sock.getsockname()
    assert (transport.getHost().host, transport.getHost().port) == sock.getpeername()
    assert transport.getTcpNoDelay()
    transport.setTcpNoDelay(False)
    assert not transport.getTcpNoDelay()
    assert not transport.getTcpKeepAlive()
    transport.setTcpKeepAlive(True)
    assert transport.getTcpKeepAlive()
    handle = transport.getHandle()
    assert handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert handle.fileno() == transport.fileno()
    assert handle.family == socket.AF_INET
    assert transport.logPrefix() == f"Recorder,0,{LOCAL}"
    sock.close()
    await until(reactor, lambda: protocol.lost)
    transport.setTcpNoDelay(True)


# Clients.


async def namesItsPeers(reactor: Any) -> None:
    """What log lines and programs call a connection, and its socket once it is over."""
    for host in (LOCAL, "::1"):
        await _named(reactor, host)


async def _named(reactor: Any, host: str) -> None:
    factory = Builder()
    port = reactor.listenTCP(0, factory, interface=host)
    with connect(port) as sock:
        await until(reactor, lambda: factory.built and factory.built[0].made)
        transport = factory.built[0].transport
        assert transport.client == sock.getsockname()
        assert transport.hostname == host
        assert transport.logPrefix() == f"Recorder,0,{host}"
        assert repr(transport) == f"<Recorder #0 on {port.getHost().port}>"
        assert transport.fileno() >= 0
    await until(reactor, lambda: factory.built[0].lost)
    assert transport.fileno() == -1
    with raises(OSError):
        transport.getHandle()
    assert transport.getPeer().host == host
    await port.stopListening()


async def survivesRefusalsOfTheLoop(reactor: Any) -> None:
    """A connection that uvloop does not take is closed, and costs no other."""
    factory = Builder()
    port = reactor.listenTCP(0, factory, interface=LOCAL)
    loop = reactor.eventLoop

    class Refusing:
        async def connect_accepted_socket(self, *arguments: Any) -> None:
            raise OSError(errno.EINVAL, "not taken")

        def __getattr__(self, name: str) -> Any:
            return getattr(loop, name)

    reactor.eventLoop = Refusing()
    with connect(port) as sock:
        assert await read(reactor, sock) == b""
    reactor.eventLoop = loop
    assert problems.pop()["log_failure"].check(OSError)
    with connect(port):
        await until(reactor, lambda: len(factory.built) == 2 and factory.built[1].made)
    assert not factory.built[0].made
    await until(reactor, lambda: factory.built[1].lost)
    await port.stopListening()


async def connects(reactor: Any) -> None:
    """Connections that we open; and those that come to nothing."""

    class Clients(ClientFactory):
        noisy = False

        def __init__(self, kind: Callable[[], Any]) -> None:
            self.kind = kind
            self.failed: Failure | None = None
            self.lost: Failure | None = None
            self.protocol: Any = None

        def buildProtocol(self, addr: Any) -> Any:
            self.protocol = self.kind()
            return self.protocol

        def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
            self.failed = reason

        def clientConnectionLost(self, connector: Any, reason: Failure) -> None:
            self.lost = reason

    server = Builder()
    port = reactor.listenTCP(0, server, interface=LOCAL)
    number = port.getHost().port
    clients = Clients(Recorder)
    connector = reactor.connectTCP(LOCAL, number, clients)
    await until(reactor, lambda: clients.protocol)
    await until(reactor, lambda: server.built and server.built[0].made)
    assert clients.protocol.transport.logstr == "Recorder,client"
    clients.protocol.transport.write(b"hello")
    await until(reactor, lambda: server.built[0].received == b"hello")
    connector.disconnect()
    await until(reactor, lambda: clients.lost and server.built[0].lost)

    none = Clients(lambda: None)
    reactor.connectTCP(LOCAL, number, none)
    await until(reactor, lambda: none.lost)

    def raising() -> None:
        raise KeyError("nothing to build")

    broken = Clients(raising)
    reactor.connectTCP(LOCAL, number, broken)
    await until(reactor, lambda: broken.failed)
    assert problems.pop()["log_failure"].check(KeyError)

    hasty = Clients(Recorder)
    connector = reactor.connectTCP(LOCAL, number, hasty)
    real = connector.transport.__class__._connectDone

    def handedOver(connecting: Any) -> None:
        real(connecting)
        connector.stopConnecting()

    former: Any = connector.transport
    former._connectDone = lambda: handedOver(former)
    await until(reactor, lambda: hasty.failed)
    assert hasty.failed is not None
    assert hasty.failed.check(UserError)
    await turn(reactor, 0.05)
    assert hasty.protocol is None
    with raises(NotConnectingError):
        connector.stopConnecting()
    await port.stopListening()
    refused = Clients(Recorder)
    reactor.connectTCP(LOCAL, number, refused)
    await until(reactor, lambda: refused.failed)


async def passesDescriptors(reactor: Any) -> None:
    """A UNIX connection sends descriptors in their place among the bytes."""
    path = str(Path(tempfile.mkdtemp()) / "s")
    factory = Builder()
    port = reactor.listenUNIX(path, factory)
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    await until(reactor, lambda: factory.built and factory.built[0].transport)
    protocol = factory.built[0]
    transport = protocol.transport
    assert transport.getHost().name == path.encode()
    assert transport.getPeer().name is None
    assert not transport.getTcpNoDelay()
    transport.setTcpNoDelay(True)
    # More than the kernel takes comes first, so the descriptor has to wait.
    transport.write(bytes(3_000_000))
    with tempfile.TemporaryFile() as file:
        file.write(b"it came")
        file.flush()
        transport.sendFileDescriptor(file.fileno())
        transport.write(b"with this")
        assert transport.getWriteBufferSize() > 9
        transport.loseConnection()
        got, descriptors = b"", []
        while True:
            sock.setblocking(False)
            try:
                data, fds, _, _ = socket.recv_fds(sock, 2**16, 4)
            except BlockingIOError:
                await turn(reactor, 0.001)
                continue
            if not data:
                break
            got += data
            descriptors += fds
    assert got == bytes(3_000_000) + b"with this"
    assert os.pread(descriptors[0], 100, 0) == b"it came"
    await until(reactor, lambda: protocol.lost)
    assert protocol.lost.check(ConnectionDone)
    transport.sendFileDescriptor(0)
    # A descriptor without a byte to go with.
    adopted = Builder()
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    moved = reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, adopted)
    await until(reactor, lambda: adopted.built[0].made)
    moved.sendFileDescriptor(0)
    await until(reactor, lambda: adopted.built[0].lost)
    assert adopted.built[0].lost.check(FileDescriptorOverrun)
    for each in (ours, theirs, sock):
        each.close()
    await port.stopListening()


@implementer(IFileDescriptorReceiver)
class Receiver(Recorder):
    """Takes descriptors."""

    def __init__(self) -> None:
        super().__init__()
        self.descriptors: list[int] = []

    def fileDescriptorReceived(self, descriptor: int) -> None:
        self.descriptors.append(descriptor)


async def takesDescriptors(reactor: Any) -> None:
    """A protocol that takes descriptors gets them, accepted or adopted."""
    path = str(Path(tempfile.mkdtemp()) / "s")
    factory = Builder(Receiver)
    port = reactor.listenUNIX(path, factory)
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, factory)
    for each in (sock, theirs):
        socket.send_fds(each, [b"x"], [0])
    await until(reactor, lambda: [len(each.descriptors) for each in factory.built] == [1, 1])
    for each in (ours, theirs, sock):
        each.close()
    await until(reactor, lambda: all(each.lost for each in factory.built))
    for receiver in factory.built:
        os.close(receiver.descriptors[0])
    await port.stopListening()


# Datagrams.


class Datagrams(DatagramProtocol):
    """Keeps what arrives."""

    noisy = False

    def __init__(self) -> None:
        self.received: list[Any] = []
        self.refused = 0

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.received.append((datagram, addr))

    def connectionRefused(self) -> None:
        self.refused += 1


async def drainsDatagrams(reactor: Any) -> None:
    """A flood, of empty datagrams too, is read a few at a time, and others get on."""
    protocol = Datagrams()
    port = reactor.listenUDP(0, protocol, interface=LOCAL)
    number = port.getHost().port
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    most: list[int] = []

    def look() -> None:
        most.append(len(protocol.received))
        if len(protocol.received) < 150:
            reactor.callLater(0, look)

    port.stopReading()
    for _ in range(150):
        sock.sendto(b"", (LOCAL, number))
    port.startReading()
    look()
    await until(reactor, lambda: len(protocol.received) == 150)
    assert max(b - a for a, b in itertools.pairwise(most)) <= 64, most

    def raising(datagram: bytes, addr: Any) -> None:
        protocol.received.clear()
        raise KeyError("a bug")

    protocol.datagramReceived = raising  # type: ignore[method-assign]
    sock.sendto(b"x", (LOCAL, number))
    await until(reactor, lambda: problems)
    assert problems.pop()["log_failure"].check(KeyError)

    def pausing(datagram: bytes, addr: Any) -> None:
        protocol.received.append(datagram)
        port.stopReading()

    protocol.datagramReceived = pausing  # type: ignore[method-assign]
    sock.sendto(b"1", (LOCAL, number))
    sock.sendto(b"2", (LOCAL, number))
    await turn(reactor, 0.05)
    assert protocol.received == [b"1"]
    sock.close()
    await port.stopListening()


async def keepsWhatIsLeft(reactor: Any) -> None:
    """Of a batch in the middle of which reading stopped; it comes before anything new."""
    protocol = Datagrams()
    port = reactor.listenUDP(0, protocol, interface=LOCAL)
    host = port.getHost()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def send(*numbers: int) -> None:
        for number in numbers:
            sock.sendto(b"%d" % number, (LOCAL, host.port))

    stopsAt = {b"2", b"4", b"7"}

    def pausing(datagram: bytes, addr: Any) -> None:
        assert addr == (LOCAL, sock.getsockname()[1])
        protocol.received.append(int(datagram))
        if datagram in stopsAt:
            port.stopReading()

    protocol.datagramReceived = pausing  # type: ignore[method-assign]
    port.stopReading()
    send(*range(1, 7))
    port.startReading()
    await until(reactor, lambda: 2 in protocol.received)
    await turn(reactor, 0.02)
    assert protocol.received == [1, 2]
    port.startReading()
    port.startReading()
    assert protocol.received == [1, 2]
    late = port._late
    assert late in reactor.getDelayedCalls()
    port.stopReading()
    assert late not in reactor.getDelayedCalls()
    # Nothing new arrives.
    port.startReading()
    await until(reactor, lambda: 4 in protocol.received)
    assert protocol.received == [1, 2, 3, 4]
    # Something does.
    send(7, 8, 9)
    port.startReading()
    port.doRead()
    assert protocol.received == [1, 2, 3, 4, 5, 6]
    await until(reactor, lambda: 7 in protocol.received)
    assert protocol.received == [1, 2, 3, 4, 5, 6, 7]
    # One stays behind in the kernel or here.
    port.stopReading()
    port.startReading()
    port.connectionLost()
    assert port._late is None
    await turn(reactor, 0.02)
    assert protocol.received == [1, 2, 3, 4, 5, 6, 7]
    sock.close()


async def receivesOneByOne(reactor: Any) -> None:
    """Where it has to, as many in a turn, and in one that reads within itself."""
    protocol = Datagrams()
    port = reactor.listenUDP(0, protocol, interface=LOCAL)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    port._receiver = Singly(port.socket)
    port.stopReading()
    for number in range(100):
        sock.sendto(b"%d" % number, (LOCAL, port.getHost().port))
    port.doRead()
    assert not protocol.received
    port.startReading()
    port.doRead()
    assert len(protocol.received) == 64
    port._receiver = receiverOf(port.socket)

    def reading(datagram: bytes, addr: Any) -> None:
        protocol.received.append((datagram, addr))
        if len(protocol.received) == 70:
            port.doRead()

    protocol.datagramReceived = reading  # type: ignore[method-assign]
    await until(reactor, lambda: len(protocol.received) == 100)
    # It may be woken for nothing.
    port.doRead()
    assert [int(data) for data, _ in protocol.received] == [*range(100)]
    sock.close()
    await port.stopListening()


class Full:
    """A socket whose buffer is full when it is told so, or that fails otherwise."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.errno: int | None = None

    def sendto(self, *arguments: Any) -> Any:
        if self.errno is not None:
            raise OSError(self.errno, os.strerror(self.errno))
        return self._real.sendto(*arguments)

    def recvfrom(self, size: int) -> Any:
        if self.errno is not None:
            raise OSError(self.errno, os.strerror(self.errno))
        return self._real.recvfrom(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


async def keepsDatagrams(reactor: Any) -> None:
    """What the kernel has no room for waits, up to a limit, and is counted beyond."""
    taker = Datagrams()
    to = reactor.listenUDP(0, taker, interface=LOCAL).getHost()
    to = (to.host, to.port)
    port = reactor.listenUDP(0, Datagrams(), interface=LOCAL)
    port.socket = full = Full(port.socket)
    full.errno = errno.EAGAIN
    for number in range(1100):
        port.write(b"%d" % number, to)
    assert port.dropped == 76
    assert port.getWriteBufferSize() > 0
    assert port in reactor.getWriters()
    await turn(reactor, 0.01)
    assert not taker.received
    full.errno = None
    await until(reactor, lambda: len(taker.received) > 200)
    assert [data for data, _ in taker.received][:200] == [b"%d" % n for n in range(200)]
    await until(reactor, lambda: not port.getWriteBufferSize())
    full.errno = errno.EAGAIN
    port.write(b"lost", to)
    full.errno = errno.EPERM
    await until(reactor, lambda: not port.getWriteBufferSize())
    assert port.dropped == 77
    # The same error is told once, until one has been sent.
    with raises(PermissionError):
        port.write(b"x", to)
    port.write(b"x", to)
    full.errno = errno.ECONNREFUSED
    port.write(b"x", to)
    full.errno = None
    port.write(b"x", to)
    full.errno = errno.EPERM
    with raises(PermissionError):
        port.write(b"x", to)
    port._receiver = receiverOf(full)
    for code in (errno.ECONNRESET, errno.EINTR, errno.EIO):
        full.errno = code
        port.doRead()
    assert "cannot read" in str(problems.pop())
    full.errno = None
    with raises(MessageLengthError):
        port.write(bytes(70_000), to)
    for host in ("localhost", "::1"):
        with raises(InvalidAddressError):
            port.write(b"x", (host, 1))
    for number in range(5000):
        port._checkHost(f"127.1.{number >> 8}.{number & 255}")
    full.errno = errno.EAGAIN
    port.write(b"never sent", to)
    port.stopWriting()
    port.stopReading()
    await port.stopListening()


async def connectsDatagrams(reactor: Any) -> None:
    """A connected port hears that nobody is there; IPv6 and adopted sockets serve."""
    protocol = Datagrams()
    port = reactor.listenUDP(0, protocol, interface=LOCAL)
    nobody = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    nobody.bind((LOCAL, 0))
    address = nobody.getsockname()
    nobody.close()
    port.connect(*address)
    port.write(b"anybody?")
    await until(reactor, lambda: protocol.refused)

    def raising() -> None:
        raise KeyError("a bug")

    protocol.connectionRefused = raising  # type: ignore[method-assign]
    port.write(b"anybody?")
    await turn(reactor, 0.02)
    port.write(b"anybody?")
    await until(reactor, lambda: problems)
    problems.clear()
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(("::1", 0))
    six = Datagrams()
    adopted = reactor.adoptDatagramPort(sock.fileno(), socket.AF_INET6, six)
    number = adopted.getHost().port
    adopted.write(b"to myself", ("::1", number))
    await until(reactor, lambda: six.received)
    assert six.received == [(b"to myself", ("::1", number))]
    with raises(InvalidAddressError):
        adopted.write(b"x", (LOCAL, 1))
    with raises(UnsupportedAddressFamily):
        reactor.adoptDatagramPort(sock.fileno(), socket.AF_UNIX, six)
    sock.close()
    await adopted.stopListening()
    await port.stopListening()


# Time, threads, the loop.


async def givesWayAfterMuch(reactor: Any) -> None:
    """A peer that sends all it can is read from once in a turn; so others have theirs."""

    class Bulk(Recorder):
        """Notes in which turn much came, and pauses when it is told to."""

        turns: list[int]
        pauses = False

        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            if len(data) >= BULK:
                self.turns.append(passed[0])
            if self.pauses:
                self.transport.pauseProducing()  # type: ignore[union-attr]

    passed = [0]

    def count() -> None:
        passed[0] += 1
        reactor.eventLoop.call_soon(count)

    protocol, sock = await pair(reactor, Bulk)
    protocol.turns = []
    size = 30_000_000
    sender = threading.Thread(target=sock.sendall, args=(bytes(size),))
    sender.start()
    count()
    await until(reactor, lambda: len(protocol.received) > size // 2)
    protocol.pauses = True
    got = len(protocol.received)
    await until(reactor, lambda: len(protocol.received) > got)
    got = len(protocol.received)
    await turn(reactor, 0.05)
    assert len(protocol.received) == got, "a protocol that pauses stays paused"
    protocol.pauses = False
    protocol.transport.resumeProducing()
    await until(reactor, lambda: len(protocol.received) == size)
    sender.join()
    sock.close()
    await until(reactor, lambda: protocol.lost)
    assert len(protocol.turns) > 3
    assert len(set(protocol.turns)) == len(protocol.turns)


async def keepsTimeBesideWhatRepeats(reactor: Any) -> None:
    """What calls itself again and again, further on, does not make another call late."""
    began = reactor.seconds()
    times: list[float] = []
    done: Deferred[None] = Deferred()

    def again() -> None:
        times.append(reactor.seconds() - began)
        if len(times) < 3:
            reactor.callLater(0.4, again)
        else:
            done.callback(None)

    reactor.callLater(0.1, again)
    called: list[float] = []
    reactor.callLater(0.2, lambda: called.append(reactor.seconds() - began))
    # Not with until, which asks every moment.
    await done
    assert called
    assert 0.2 <= called[0] < 0.4, called


async def keepsTime(reactor: Any) -> None:
    """A call comes at its time: never before, hardly after, and in order."""
    late: list[float] = []
    for number in range(40):
        due = reactor.seconds() + number * 0.00173
        reactor.callLater(number * 0.00173, lambda due=due: late.append(reactor.seconds() - due))
    await until(reactor, lambda: len(late) == 40)
    assert min(late) >= 0
    assert sorted(late)[20] < 0.005, late
    sooner = reactor.callLater(50, late.clear)
    sooner.reset(0.01)
    await until(reactor, lambda: not late)
    order: list[int] = []
    for number in range(100):
        threading.Thread(target=reactor.callFromThread, args=(order.append, number)).start()
    await until(reactor, lambda: len(order) == 100)
    reactor.callFromThread(order.clear)
    for number in range(1000):
        reactor.callFromThread(order.append, number)
    await until(reactor, lambda: len(order) == 1000)
    assert order == list(range(1000))


async def speaksAsyncio(reactor: Any) -> None:
    """What is asyncio's is at hand, and what its callbacks raise is logged."""
    await turn(reactor)
    assert asyncio.get_running_loop() is reactor.eventLoop
    assert await Deferred.fromFuture(asyncio.ensure_future(asyncio.sleep(0.01, "slept"))) == "slept"
    reactor.eventLoop.call_soon(lambda: 1 / 0)
    await until(reactor, lambda: problems)
    assert problems.pop()["log_failure"].check(ZeroDivisionError)
    reactor.eventLoop.call_exception_handler({"message": "something odd"})
    assert "something odd" in str(problems.pop())

    class Broken:
        def __init__(self, descriptor: int) -> None:
            self.descriptor = descriptor
            self.lost: Failure | None = None

        def fileno(self) -> int:
            return self.descriptor

        def logPrefix(self) -> str:
            return "broken"

        def doRead(self) -> None:
            raise SystemExit("not yet")

        def connectionLost(self, reason: Failure) -> None:
            self.lost = reason

    reading, writing = os.pipe()
    broken = Broken(reading)
    reactor.addReader(broken)
    os.write(writing, b"x")
    await until(reactor, lambda: broken.lost)
    assert problems.pop()["log_failure"].check(SystemExit)


async def saysGoodbye(reactor: Any) -> None:
    """Who is connected when the reactor stops hears of it, as does the peer."""
    protocol, sock = await pair(reactor)
    ended: list[Failure] = []
    protocol.connectionLost = ended.append
    assert protocol.transport in reactor.getReaders()

    def check() -> None:
        assert ended[0].check(ConnectionLost)
        assert sock.recv(1) == b""

    reactor.addSystemEventTrigger("after", "shutdown", check)


def main(scenario: Callable[[Any], Coroutine[Any, Any, None]]) -> int:
    """Run one."""
    reactor: Any = install()
    outcome: list[Any] = []

    def observe(event: Any) -> None:
        if event["log_level"] >= LogLevel.error:
            problems.append(event)

    observer: Any = observe
    globalLogPublisher.addObserver(observer)

    def stop() -> None:
        # A scenario may have done so.
        with suppress(ReactorNotRunning):
            reactor.stop()

    def run() -> None:
        ran = Deferred.fromCoroutine(scenario(reactor))
        ran.addTimeout(2 * TIMEOUT, reactor)
        ran.addBoth(outcome.append)
        ran.addBoth(lambda _: stop())

    reactor.callWhenRunning(run)
    reactor.run()
    reactor.iterate()
    reactor.iterate(0.01)
    reactor.eventLoop.close()
    reactor.wakeUp()
    for each in outcome:
        if isinstance(each, Failure):
            sys.stderr.write(each.getTraceback())
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
        if "log_failure" in problem:
            sys.stderr.write(problem["log_failure"].getTraceback())
    return int(bool(problems) or outcome != [None])


if __name__ == "__main__":
    sys.exit(main(globals()[sys.argv[1]]))
