"""A connection stands between a transport and a protocol."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IFileDescriptorReceiver,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IProtocol,
    IPullProducer,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
    ITransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from myserv.endpoints.farewell import LINGER
from myserv.events import ConnectionEnded, ConnectionStarted, ProtocolRaised
from myserv.plugin import ProtocolPlugin
from myserv.server.connection import Connection, describeEnd
from myserv.testing import MemoryPeer, MemoryServer, hostPlugin


class Recorder(Protocol):
    """Writes down what it is told."""

    transport: Any

    def __init__(self) -> None:
        self.log: list[str] = []

    def connectionMade(self) -> None:
        self.log.append("connectionMade")

    def dataReceived(self, data: bytes) -> None:
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


class Stage:
    """A protocol in a connection, and its peer."""

    def __init__(self, protocol: Any = Recorder) -> None:
        self.server: MemoryServer = hostPlugin(ProtocolPlugin("hall", "", stream=protocol))
        self.peer: MemoryPeer = self.server.connect()
        self.settle()

    @property
    def connection(self) -> Connection:
        assert self.server.streamListener is not None
        [connection] = self.server.streamListener.connections
        return connection

    @property
    def connected(self) -> bool:
        assert self.server.streamListener is not None
        return bool(self.server.streamListener.connections)

    def settle(self) -> None:
        assert self.server.settle()

    def raised(self) -> list[str]:
        return [each.during for each in self.server.observer.ofType(ProtocolRaised)]

    def ended(self) -> ConnectionEnded:
        [ended] = self.server.observer.ofType(ConnectionEnded)
        return ended


class TestLife:
    def test_events(self) -> None:
        """A connection's life is known, with what went in and out."""
        stage = Stage()
        started = stage.server.observer.ofType(ConnectionStarted)
        number = stage.connection.number
        assert started == [ConnectionStarted("hall", number, stage.peer.address)]
        stage.peer.send(b"hello")
        stage.settle()
        stage.connection.write(b"wel")
        stage.connection.writeSequence(iter([b"co", b"me"]))
        stage.settle()
        assert stage.peer.received == b"welcome"
        stage.server.advance(7)
        stage.peer.close()
        stage.settle()
        assert stage.ended() == ConnectionEnded(
            "hall", number, stage.peer.address, "closed", 7.0, bytesReceived=5, bytesSent=7
        )

    def test_protocolHears(self) -> None:
        """The protocol is told what a transport tells."""
        stage = Stage()
        protocol = stage.connection.protocol
        stage.peer.send(b"hello")
        stage.settle()
        stage.peer.close()
        stage.settle()
        assert protocol.log == [
            "connectionMade",
            "dataReceived hello",
            "connectionLost ConnectionDone",
        ]

    def test_transport(self) -> None:
        """To the protocol the connection is the transport, whole."""
        stage = Stage()
        transport: Any = stage.connection.protocol.transport
        connection: Any = stage.connection
        assert transport is connection
        assert transport.getPeer() == stage.peer.address
        assert transport.getHost() == IPv4Address("TCP", "198.51.100.1", 7000)
        transport.setTcpNoDelay(True)
        assert transport.getTcpNoDelay()
        with pytest.raises(AttributeError):
            _ = transport.fly

    def test_late(self) -> None:
        """Bytes that come after the end go nowhere."""
        stage = Stage()
        connection = stage.connection
        protocol = connection.protocol
        stage.peer.abort()
        stage.settle()
        connection.dataReceived(b"late")
        assert protocol.log[-1] == "connectionLost ConnectionLost"
        assert connection.protocol is None

    def test_handover(self) -> None:
        """A protocol can hand its connection over to another one."""
        stage = Stage()
        first, second = stage.connection.protocol, HalfRecorder()
        stage.connection.protocol = second
        second.makeConnection(stage.connection)
        stage.peer.send(b"hello")
        stage.settle()
        stage.peer.closeWrite()
        stage.settle()
        assert first.log == ["connectionMade"]
        assert second.log == ["connectionMade", "dataReceived hello", "readConnectionLost"]


class TestInterfaces:
    def test_transportsOwn(self) -> None:
        """It provides what its transport does, and what a protocol does."""
        connection = Stage().connection
        for interface in (IProtocol, ITransport, ITCPTransport, IConsumer):
            assert interface.providedBy(connection)
        assert not ISSLTransport.providedBy(connection)

    @pytest.mark.parametrize("interface", [IHandshakeListener, IFileDescriptorReceiver])
    def test_protocolsOwn(self, interface: Any) -> None:
        """It provides what a transport may ask of a protocol, if that does."""
        special = implementer(interface)(type("Special", (Recorder,), {}))
        assert interface.providedBy(Stage(special).connection)
        assert not interface.providedBy(Stage().connection)

    def test_passedOn(self) -> None:
        """What a transport says to such a protocol is passed on."""

        @implementer(IHandshakeListener, IFileDescriptorReceiver)
        class Special(Recorder):
            def handshakeCompleted(self) -> None:
                self.log.append("handshakeCompleted")

            def fileDescriptorReceived(self, descriptor: int) -> None:
                self.log.append(f"fileDescriptorReceived {descriptor}")

        connection = Stage(Special).connection
        connection.handshakeCompleted()
        connection.fileDescriptorReceived(7)
        assert connection.protocol.log[1:] == ["handshakeCompleted", "fileDescriptorReceived 7"]


class TestEnds:
    def test_loseConnection(self) -> None:
        """What was written is sent first."""
        stage = Stage()
        connection = stage.connection
        assert not connection.disconnecting
        connection.write(b"bye")
        connection.loseConnection()
        connection.loseConnection()
        assert connection.disconnecting
        stage.settle()
        assert stage.peer.received == b"bye"
        assert stage.peer.closed
        assert stage.ended().reason == "closed"
        assert stage.server.reactor.getDelayedCalls() == []

    def test_talkativePeerIsHeardOut(self) -> None:
        """A peer that still sends has time to read, and its bytes go nowhere."""
        stage = Stage()
        protocol = stage.connection.protocol
        stage.peer.stay()
        stage.connection.write(b"bye")
        stage.connection.loseConnection()
        stage.settle()
        assert stage.peer.writeClosed
        stage.peer.send(b"but")
        stage.server.advance(LINGER - 0.1)
        assert stage.peer.unread == 0
        assert stage.connected
        stage.server.advance(0.1)
        assert not stage.connected
        assert stage.peer.closed
        assert protocol.log == ["connectionMade", "connectionLost ConnectionDone"]

    def test_pausedTransportHearsTheEnd(self) -> None:
        """A protocol may close while it has paused its peer."""
        stage = Stage()
        stage.connection.pauseProducing()
        stage.connection.loseConnection()
        stage.settle()
        assert not stage.connected

    def test_slowReaderGetsAll(self) -> None:
        """The time to answer the end starts when everything was read."""
        stage = Stage()
        stage.peer.pauseReading(window=10)
        stage.connection.write(b"x" * 100)
        stage.connection.loseConnection()
        stage.server.advance(10 * LINGER)
        assert stage.connected
        stage.peer.resumeReading()
        stage.settle()
        assert stage.peer.received == b"x" * 100
        assert stage.peer.closed
        assert not stage.connected

    def test_abortConnection(self) -> None:
        """The connection is cut."""
        stage = Stage()
        stage.connection.write(b"never sent")
        stage.connection.abortConnection()
        stage.settle()
        assert stage.peer.aborted
        assert stage.peer.received == b""
        assert stage.ended().reason == "aborted"

    def test_abortWhileClosing(self) -> None:
        """It may be cut while it waits for its peer."""
        stage = Stage()
        stage.peer.stay()
        stage.connection.loseConnection()
        stage.settle()
        stage.connection.abortConnection()
        stage.settle()
        assert stage.peer.aborted
        assert stage.server.reactor.getDelayedCalls() == []

    def test_peerAborts(self) -> None:
        """A reset is known as a loss."""
        stage = Stage()
        stage.peer.abort()
        stage.settle()
        assert stage.ended().reason == "lost"

    @pytest.mark.parametrize("leave", [MemoryPeer.close, MemoryPeer.abort])
    def test_everythingAfterTheEndIsIgnored(self, leave: Any) -> None:
        """A protocol may close what has ended already, as Twisted's may."""

        class Tidy(Recorder):
            def connectionLost(self, reason: Failure = connectionDone) -> None:
                self.transport.write(b"late")
                self.transport.loseConnection()
                self.transport.abortConnection()

        stage = Stage(Tidy)
        connection = stage.connection
        leave(stage.peer)
        stage.settle()
        connection.write(b"later")
        connection.loseConnection()
        connection.abortConnection()
        stage.settle()
        assert stage.raised() == []
        assert stage.server.reactor.getWriters() == []
        assert stage.server.reactor.getDelayedCalls() == []

    def test_loseConnectionAfterReset(self) -> None:
        """So it may after a reset, however late."""
        stage = Stage()
        connection = stage.connection
        stage.peer.abort()
        stage.settle()
        connection.loseConnection()
        stage.settle()
        assert stage.server.reactor.getWriters() == []

    def test_halfClosedPeerIsAnswered(self) -> None:
        """A protocol that knows no halves answers a peer's last words."""

        class Answers(Recorder):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                self.transport.write(b"answer")

        stage = Stage(Answers)
        stage.peer.send(b"last")
        stage.peer.closeWrite()
        stage.settle()
        assert stage.peer.received == b"answer"
        assert stage.peer.closed
        assert stage.ended().reason == "closed"

    def test_halfCloseableProtocolHearsHalves(self) -> None:
        """One that knows halves decides by itself."""
        stage = Stage(HalfRecorder)
        protocol = stage.connection.protocol
        stage.peer.stay()
        protocol.transport.loseWriteConnection()
        stage.settle()
        stage.peer.closeWrite()
        stage.settle()
        assert protocol.log == ["connectionMade", "writeConnectionLost", "readConnectionLost"]
        assert stage.connected
        protocol.transport.loseConnection()
        stage.settle()
        assert not stage.connected

    def test_plainProtocolMayEndItsHalf(self) -> None:
        """One that does not know halves may still end its own."""
        stage = Stage()
        protocol = stage.connection.protocol
        stage.connection.loseWriteConnection()
        stage.settle()
        assert stage.peer.writeClosed
        assert protocol.log == ["connectionMade", "connectionLost ConnectionDone"]

    def test_pipe(self) -> None:
        """A transport that cannot abort is closed instead."""
        closed: list[str] = []

        class Pipe:
            def write(self, data: bytes) -> None: ...
            def getPeer(self) -> None: ...
            def loseConnection(self) -> None:
                closed.append("loseConnection")

        stage = Stage()
        assert stage.server.streamListener is not None
        connection = Connection(stage.server.streamListener, Recorder(), 1)
        connection.makeConnection(Pipe())
        connection.abortConnection()
        assert closed == ["loseConnection"]
        connection.connectionLost(Failure(ConnectionDone()))

    def test_layerSaysGoodbyeItself(self) -> None:
        """A transport that is no socket is only asked to close."""
        asked: list[str] = []

        class Layer:
            def write(self, data: bytes) -> None: ...
            def getPeer(self) -> None: ...
            def loseConnection(self) -> None:
                asked.append("loseConnection")

        stage = Stage()
        assert stage.server.streamListener is not None
        connection = Connection(stage.server.streamListener, Recorder(), 1)
        connection.makeConnection(Layer())
        connection.loseConnection()
        assert asked == ["loseConnection"]
        connection.connectionLost(Failure(ConnectionDone()))


@implementer(IPullProducer, IPushProducer)
class Producer:
    """Has so much to write, and does not unregister inside a call."""

    def __init__(self, transport: Any, blocks: int) -> None:
        self.transport = transport
        self.blocks = blocks
        self.stopped = False

    def resumeProducing(self) -> None:
        if self.blocks:
            self.blocks -= 1
            self.transport.write(b"block")

    def pauseProducing(self) -> None: ...

    def stopProducing(self) -> None:
        self.stopped = True


class TestProducers:
    def test_loseConnectionWaitsForProducer(self) -> None:
        """As with Twisted's transports, the last bytes are the producer's."""
        stage = Stage()
        connection = stage.connection
        connection.registerProducer(Producer(connection, 3), False)
        connection.loseConnection()
        stage.settle()
        assert stage.connected
        assert stage.peer.received == b"blockblockblock"
        connection.unregisterProducer()
        stage.settle()
        assert not stage.connected
        assert stage.peer.closed

    def test_pausedPushProducer(self) -> None:
        """One that was paused may finish first too."""
        stage = Stage()
        connection = stage.connection
        connection.registerProducer(Producer(connection, 1), True)
        stage.peer.pauseReading(window=10)
        connection.write(b"x" * 100_000)
        connection.loseConnection()
        stage.peer.resumeReading()
        # The buffer is empty, the producer resumed, and it writes once more.
        stage.settle()
        connection.unregisterProducer()
        stage.settle()
        assert len(stage.peer.received) == 100_005
        assert not stage.connected

    def test_unregisterWithoutClosing(self) -> None:
        """A producer that is done leaves the connection open."""
        stage = Stage()
        connection = stage.connection
        connection.registerProducer(Producer(connection, 1), False)
        stage.settle()
        connection.unregisterProducer()
        stage.settle()
        assert stage.connected
        connection.write(b"more")
        stage.settle()
        assert stage.peer.received == b"blockmore"

    def test_producerOfLostConnection(self) -> None:
        """A producer is stopped when the peer goes."""
        stage = Stage()
        producer = Producer(stage.connection, 0)
        stage.connection.registerProducer(producer, True)
        stage.peer.abort()
        stage.settle()
        assert producer.stopped

    def test_pullProducerOfPeerThatLeft(self) -> None:
        """A peer that has gone does not stay because there was more to say."""
        stage = Stage()
        connection = stage.connection
        connection.registerProducer(Producer(connection, 1_000_000), False)
        stage.server.reactor.settle(5)
        stage.peer.close()
        stage.settle()
        assert not stage.connected


class TestRaises:
    @pytest.mark.parametrize("during", ["connectionMade", "dataReceived", "readConnectionLost"])
    def test_costsTheConnection(self, during: str) -> None:
        """A protocol's bug costs its peer the connection, and nobody else."""

        def oops(self: Any, *arguments: object) -> None:
            raise KeyError("oops")

        stage = Stage(type("Broken", (HalfRecorder,), {during: oops}))
        stage.peer.send(b"hello")
        stage.settle()
        if during == "readConnectionLost":
            stage.peer.closeWrite()
        stage.settle()
        assert stage.peer.aborted
        expected = "makeConnection" if during == "connectionMade" else during
        assert stage.raised() == [expected]
        [event] = stage.server.observer.ofType(ProtocolRaised)
        assert event.failure.check(KeyError)
        assert event.peer == stage.peer.address
        other = stage.server.connect()
        stage.settle()
        assert other.aborted is (during == "connectionMade")

    def test_atTheEnd(self) -> None:
        """The connection is over all the same."""

        class Broken(Recorder):
            def connectionLost(self, reason: Failure = connectionDone) -> None:
                raise KeyError("oops")

        stage = Stage(Broken)
        stage.peer.close()
        stage.settle()
        assert stage.raised() == ["connectionLost"]
        assert not stage.connected
        assert stage.ended().reason == "closed"

    def test_nothingIsDeliveredAfterwards(self) -> None:
        """A protocol that raised hears of the end, and of nothing else."""

        class Broken(Recorder):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                raise KeyError("oops")

        stage = Stage(Broken)
        protocol = stage.connection.protocol
        stage.peer.send(b"one")
        stage.server.reactor.turn()
        stage.peer.send(b"two")
        stage.settle()
        assert protocol.log == [
            "connectionMade",
            "dataReceived one",
            "connectionLost ConnectionAborted",
        ]


def test_describeEnd() -> None:
    """Every reason is a few words."""
    assert describeEnd(Failure(ConnectionDone())) == "closed"
    assert describeEnd(Failure(ConnectionLost())) == "lost"
    assert describeEnd(Failure(TimeoutError("It took too long."))) == "It took too long"
