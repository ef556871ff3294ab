"""
What happens on a transport, as scenarios that any transport can play.

Each is played in memory here and over loopback TCP in C{tests/wire}, and must
come out the same: that is what makes the kit's word worth anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from typing import Protocol as Shape

from attrs import frozen
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IPullProducer,
    IPushProducer,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

MUCH = 12 * 1024 * 1024
"""Bytes that no kernel takes for a peer that does not read."""


class Client(Shape):
    """What a scenario does at the peer's end."""

    @property
    def received(self) -> bytes: ...
    @property
    def writeClosed(self) -> bool: ...
    @property
    def aborted(self) -> bool: ...
    def send(self, data: bytes) -> None: ...
    def closeWrite(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def pauseReading(self) -> None: ...
    def resumeReading(self) -> None: ...


class Wire(Shape):
    """What a scenario is played on."""

    async def connect(self, protocol: Protocol) -> Client:
        """Connect a client to a server that serves it with this protocol."""

    async def settle(self) -> None:
        """Wait until nothing more happens."""


class Recorder(Protocol):
    """Writes down what its transport calls."""

    transport: Any

    def __init__(self) -> None:
        self.log: list[str] = []

    def connectionMade(self) -> None:
        self.log.append("connectionMade")

    def dataReceived(self, data: bytes) -> None:
        # A stream may be cut anywhere: what came in a row is one line.
        if self.log[-1].startswith("dataReceived "):
            self.log[-1] += data.decode()
        else:
            self.log.append(f"dataReceived {data.decode()}")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.log.append(f"connectionLost {type(reason.value).__name__}")


@implementer(IHalfCloseableProtocol)
class HalfRecorder(Recorder):
    """The same, and knows half a connection."""

    def readConnectionLost(self) -> None:
        self.log.append("readConnectionLost")

    def writeConnectionLost(self) -> None:
        self.log.append("writeConnectionLost")


@implementer(IPushProducer, IPullProducer)
class RecordingProducer:
    """Writes down what its consumer calls."""

    def __init__(self, log: list[str], transport: Any = None, blocks: int = 0) -> None:
        self.log = log
        self.transport = transport
        self.blocks = blocks

    def pauseProducing(self) -> None:
        self.log.append("pauseProducing")

    def resumeProducing(self) -> None:
        self.log.append("resumeProducing")
        if self.blocks:
            self.blocks -= 1
            self.transport.write(b"block")
        elif self.transport is not None:
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        self.log.append("stopProducing")


@frozen
class Scenario:
    """
    @ivar name: What it is called.
    @ivar play: Plays it and returns what happened.
    @ivar expected: What has to have happened.
    """

    name: str
    play: Callable[[Wire], Awaitable[list[str]]]
    expected: tuple[str, ...]


SCENARIOS: list[Scenario] = []


def scenario(
    *expected: str,
) -> Callable[[Callable[[Wire], Awaitable[list[str]]]], Callable[[Wire], Awaitable[list[str]]]]:
    """Add a scenario, with what has to happen."""

    def add(
        play: Callable[[Wire], Awaitable[list[str]]],
    ) -> Callable[[Wire], Awaitable[list[str]]]:
        SCENARIOS.append(Scenario(play.__name__, play, expected))
        return play

    return add


@scenario("connectionMade", "dataReceived ping", "client: pong", "connectionLost ConnectionDone")
async def questionAndAnswer(wire: Wire) -> list[str]:
    """A client asks, is answered, and leaves."""
    server = Recorder()
    client = await wire.connect(server)
    client.send(b"ping")
    await wire.settle()
    server.transport.write(b"po")
    server.transport.writeSequence([b"n", b"g"])
    await wire.settle()
    server.log.append(f"client: {client.received.decode()}")
    client.close()
    await wire.settle()
    return server.log


@scenario("connectionMade", "dataReceived last", "connectionLost ConnectionDone", "client: ")
async def answerToHalfClosedClientIsLost(wire: Wire) -> list[str]:
    """Twisted drops what it has not sent when a plain protocol's peer ends."""

    class Answers(Recorder):
        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            self.transport.write(b"answer")

    server = Answers()
    client = await wire.connect(server)
    client.send(b"last")
    client.closeWrite()
    await wire.settle()
    return [*server.log, f"client: {client.received.decode()}"]


@scenario(
    "connectionMade",
    "dataReceived last",
    "readConnectionLost",
    "client: answer open",
    "connectionLost ConnectionDone",
    "client: answer ended",
)
async def answerToHalfClosedClient(wire: Wire) -> list[str]:
    """A protocol that knows half a connection answers after the peer's end."""
    server = HalfRecorder()
    client = await wire.connect(server)
    client.send(b"last")
    client.closeWrite()
    await wire.settle()
    server.transport.write(b"answer")
    await wire.settle()
    server.log.append(f"client: {client.received.decode()} {_state(client)}")
    server.transport.loseConnection()
    await wire.settle()
    return [*server.log, f"client: {client.received.decode()} {_state(client)}"]


def _state(client: Client) -> str:
    return "aborted" if client.aborted else "ended" if client.writeClosed else "open"


@scenario("connectionMade", "still connected", "connectionLost ConnectionDone", "12582912 ended")
async def loseConnectionFlushes(wire: Wire) -> list[str]:
    """The connection lives until a slow reader has read everything."""
    server = Recorder()
    client = await wire.connect(server)
    client.pauseReading()
    server.transport.write(b"x" * MUCH)
    server.transport.loseConnection()
    await wire.settle()
    server.log.append("still connected")
    client.resumeReading()
    await wire.settle()
    return [*server.log, f"{len(client.received)} {_state(client)}"]


@scenario("connectionMade", "connectionLost ConnectionDone", "early late")
async def writeAfterLoseConnection(wire: Wire) -> list[str]:
    """Twisted still sends what is written before the connection is lost."""
    server = Recorder()
    client = await wire.connect(server)
    server.transport.write(b"early ")
    server.transport.loseConnection()
    server.transport.write(b"late")
    await wire.settle()
    server.transport.write(b"too late")
    await wire.settle()
    return [*server.log, client.received.decode()]


@scenario(
    "connectionMade", "pauseProducing", "resumeProducing", "open", "connectionLost ConnectionDone"
)
async def loseConnectionWaitsForPausedProducer(wire: Wire) -> list[str]:
    """A producer that was paused may finish before the connection is lost."""
    server = Recorder()
    client = await wire.connect(server)
    server.transport.registerProducer(RecordingProducer(server.log), True)
    client.pauseReading()
    server.transport.write(b"x" * MUCH)
    server.transport.loseConnection()
    client.resumeReading()
    await wire.settle()
    server.log.append(_state(client))
    server.transport.unregisterProducer()
    await wire.settle()
    return server.log


@scenario("connectionMade", "called", "connectionLost ConnectionAborted", "client:  aborted")
async def abortConnection(wire: Wire) -> list[str]:
    """The connection is cut later, not inside the call, and nothing is sent."""
    server = Recorder()
    client = await wire.connect(server)
    server.transport.write(b"never sent")
    server.transport.abortConnection()
    server.transport.abortConnection()
    server.log.append("called")
    client.send(b"never read")
    await wire.settle()
    return [*server.log, f"client: {client.received.decode()} {_state(client)}"]


@scenario("connectionMade", "connectionLost ConnectionLost")
async def clientAborts(wire: Wire) -> list[str]:
    """A reset is a connection lost in an unclean way."""
    server = Recorder()
    client = await wire.connect(server)
    client.abort()
    await wire.settle()
    return server.log


@scenario("connectionMade", "dataReceived last words", "connectionLost ConnectionLost")
async def clientAbortsAfterSending(wire: Wire) -> list[str]:
    """What came before a reset is read."""
    server = Recorder()
    client = await wire.connect(server)
    client.send(b"last words")
    await wire.settle()
    client.abort()
    await wire.settle()
    return server.log


@scenario("connectionMade", "connectionLost ConnectionLost")
async def clientLeavesWhileServerWrites(wire: Wire) -> list[str]:
    """Whoever leaves bytes unread resets the connection."""
    server = Recorder()
    client = await wire.connect(server)
    client.pauseReading()
    server.transport.write(b"x" * MUCH)
    await wire.settle()
    client.close()
    await wire.settle()
    return server.log


@scenario("connectionMade", "paused", "dataReceived ab", "connectionLost ConnectionDone")
async def pausedTransport(wire: Wire) -> list[str]:
    """A paused transport reads nothing, not even the end, until it is resumed."""
    server = Recorder()
    client = await wire.connect(server)
    server.transport.pauseProducing()
    client.send(b"a")
    client.send(b"b")
    client.close()
    await wire.settle()
    server.log.append("paused")
    server.transport.resumeProducing()
    await wire.settle()
    return server.log


@scenario(
    "connectionMade",
    "RuntimeError",
    "pauseProducing",
    "written",
    "resumeProducing",
    "connectionLost ConnectionDone",
)
async def pushProducer(wire: Wire) -> list[str]:
    """A push producer is paused once for a full buffer, resumed for an empty one."""
    server = Recorder()
    client = await wire.connect(server)
    producer = RecordingProducer(server.log)
    server.transport.registerProducer(producer, True)
    try:
        server.transport.registerProducer(producer, True)
    except RuntimeError:
        server.log.append("RuntimeError")
    client.pauseReading()
    server.transport.write(b"x" * MUCH)
    await wire.settle()
    server.log.append("written")
    client.resumeReading()
    await wire.settle()
    server.transport.unregisterProducer()
    client.close()
    await wire.settle()
    return server.log


@scenario("connectionMade", "written 65536", "pauseProducing", "written 65537")
async def highWaterMark(wire: Wire) -> list[str]:
    """A buffer is full when it holds more than 64 KiB."""
    server = Recorder()
    client = await wire.connect(server)
    server.transport.registerProducer(RecordingProducer(server.log), True)
    server.transport.write(b"x" * 65536)
    server.log.append("written 65536")
    server.transport.write(b"x")
    server.log.append("written 65537")
    log = list(server.log)
    server.transport.unregisterProducer()
    client.close()
    await wire.settle()
    return log


@scenario(
    "connectionMade",
    "resumeProducing",
    "registered",
    "resumeProducing",
    "resumeProducing",
    "client: blockblock",
    "connectionLost ConnectionDone",
)
async def pullProducer(wire: Wire) -> list[str]:
    """A pull producer is asked at once, and again whenever all is sent."""
    server = Recorder()
    client = await wire.connect(server)
    producer = RecordingProducer(server.log, server.transport, blocks=2)
    server.transport.registerProducer(producer, False)
    server.log.append("registered")
    await wire.settle()
    server.log.append(f"client: {client.received.decode()}")
    client.close()
    await wire.settle()
    return server.log


@scenario("connectionMade", "stopProducing", "connectionLost ConnectionDone", "stopProducing")
async def producerOfLostConnection(wire: Wire) -> list[str]:
    """A producer is stopped before the protocol hears, and one that comes late too."""
    server = Recorder()
    client = await wire.connect(server)
    transport = server.transport
    transport.registerProducer(RecordingProducer(server.log), True)
    client.close()
    await wire.settle()
    transport.registerProducer(RecordingProducer(server.log), True)
    return server.log


@scenario(
    "connectionMade",
    "writeConnectionLost",
    "client: bye ended",
    "dataReceived question",
    "readConnectionLost",
    "connectionLost ConnectionDone",
)
async def loseWriteConnection(wire: Wire) -> list[str]:
    """The server ends its half first, and still reads."""
    server = HalfRecorder()
    client = await wire.connect(server)
    server.transport.write(b"bye")
    server.transport.loseWriteConnection()
    await wire.settle()
    server.transport.write(b"not sent")
    await wire.settle()
    server.log.append(f"client: {client.received.decode()} {_state(client)}")
    client.send(b"question")
    await wire.settle()
    client.close()
    await wire.settle()
    server.transport.loseConnection()
    await wire.settle()
    return server.log


@scenario("connectionMade", "connectionLost ConnectionDone")
async def nothingIsReadAfterLoseConnection(wire: Wire) -> list[str]:
    """What arrives after loseConnection is not delivered."""
    server = Recorder()
    client = await wire.connect(server)
    client.send(b"unheard")
    server.transport.loseConnection()
    await wire.settle()
    return server.log


@scenario("connectionMade", "False True", "False True", "IPv4Address IPv4Address")
async def socketOptions(wire: Wire) -> list[str]:
    """TCP options can be set and are told back; addresses are what TCP has."""
    server = Recorder()
    client = await wire.connect(server)
    transport = server.transport
    before = transport.getTcpNoDelay()
    transport.setTcpNoDelay(True)
    server.log.append(f"{before} {transport.getTcpNoDelay()}")
    before = transport.getTcpKeepAlive()
    transport.setTcpKeepAlive(True)
    server.log.append(f"{before} {transport.getTcpKeepAlive()}")
    host, peer = transport.getHost(), transport.getPeer()
    log = [*server.log, f"{type(host).__name__} {type(peer).__name__}"]
    client.close()
    await wire.settle()
    return log
