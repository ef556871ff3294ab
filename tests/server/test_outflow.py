"""What waits for a peer that does not read."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from myserv.events import ConnectionCut, ProtocolRaised
from myserv.plugin import ProtocolPlugin
from myserv.server.connection import Connection
from myserv.server.deadlines import TICK
from myserv.testing import MemoryPeer, MemoryServer, hostPlugin


class Echo(Protocol):
    """Says what it hears."""

    transport: Any

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


@implementer(IPushProducer)
class Source:
    """A producer that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class Stage:
    """An echo service, and one client that does not read."""

    def __init__(self, **limits: object) -> None:
        plugin = ProtocolPlugin("hall", "", stream=Echo)
        self.server: MemoryServer = hostPlugin(plugin, limits=limits)
        self.peer: MemoryPeer = self.server.connect()
        self.server.settle()
        self.peer.pauseReading()

    @property
    def connection(self) -> Connection:
        assert self.server.streamListener is not None
        [connection] = self.server.streamListener.connections
        return connection

    def send(self, kilobytes: int) -> None:
        for _ in range(kilobytes // 50):
            self.peer.send(b"x" * 50_000)
            self.server.settle()

    def cuts(self) -> list[tuple[str, str]]:
        return [(each.limit, each.reason) for each in self.server.observer.ofType(ConnectionCut)]


class TestReading:
    def test_stops(self) -> None:
        """A client that sends and does not read is not read from either."""
        stage = Stage()
        stage.send(1000)
        assert stage.connection.bytesReceived < 300_000
        assert stage.peer.unread > 700_000

    def test_goesOn(self) -> None:
        """When it reads, it gets everything."""
        stage = Stage()
        stage.send(1000)
        stage.peer.resumeReading()
        stage.server.settle()
        assert stage.peer.bytesReceived == 1_000_000
        assert stage.cuts() == []

    def test_mark(self) -> None:
        """How much may wait is the operator's to say."""
        stage = Stage(writeBuffer="500kB")
        stage.send(1000)
        assert 500_000 < stage.connection.bytesReceived < 700_000
        stage.peer.resumeReading()
        stage.server.settle()
        assert stage.peer.bytesReceived == 1_000_000

    def test_protocolPauses(self) -> None:
        """A protocol that paused reading itself keeps it paused."""
        stage = Stage()
        stage.send(300)
        stage.connection.pauseProducing()
        stage.peer.resumeReading()
        stage.server.settle()
        received = stage.connection.bytesReceived
        stage.send(50)
        assert stage.connection.bytesReceived == received
        stage.connection.resumeProducing()
        stage.server.settle()
        assert stage.peer.bytesReceived == 350_000

    def test_protocolResumes(self) -> None:
        """One that resumes reading waits for its peer all the same."""
        stage = Stage()
        stage.send(300)
        received = stage.connection.bytesReceived
        stage.connection.pauseProducing()
        stage.connection.resumeProducing()
        stage.server.settle()
        assert stage.connection.bytesReceived == received

    def test_stopProducing(self) -> None:
        """A connection that is somebody's producer closes when it is told to stop."""
        stage = Stage()
        stage.connection.stopProducing()
        stage.server.settle()
        stage.peer.resumeReading()
        stage.server.settle()
        assert stage.peer.closed


class TestDeadline:
    def test_takesNothing(self) -> None:
        """Who takes nothing in time is cut."""
        stage = Stage(writeTimeout="20s")
        stage.send(300)
        stage.server.reactor.pump([TICK] * 4 * 19)
        assert not stage.peer.aborted
        stage.server.reactor.pump([TICK] * 4 * 4)
        assert stage.peer.aborted
        assert stage.cuts() == [("writeTimeout", "it took nothing of what it was sent for 20s")]

    def test_slowly(self) -> None:
        """Who takes a little is not."""
        stage = Stage(writeTimeout="20s")
        stage.send(300)
        for _ in range(10):
            stage.server.reactor.pump([TICK] * 4 * 10)
            stage.peer.read(100)
        assert not stage.peer.aborted


class TestBound:
    def test_pusher(self) -> None:
        """A protocol that goes on writing has its connection cut at the bound."""
        stage = Stage(maxUnsent="1MB")
        for _ in range(21):
            if not stage.connection.disconnecting:
                stage.connection.write(b"x" * 100_000)
        stage.server.settle()
        assert stage.peer.aborted
        assert stage.cuts() == [("maxUnsent", "it left more than 1MB unread")]

    def test_oneLargeAnswer(self) -> None:
        """One answer may be larger than the bound."""
        stage = Stage(maxUnsent="1MB")
        stage.connection.write(b"x" * 5_000_000)
        stage.peer.resumeReading()
        stage.server.settle()
        assert stage.peer.bytesReceived == 5_000_000

    @pytest.mark.parametrize("how", ["writeSequence", "write"])
    def test_writesCount(self, how: str) -> None:
        """However they are written, bytes count."""
        stage = Stage(maxUnsent="1MB")
        for _ in range(12):
            if not stage.connection.disconnecting:
                piece = b"x" * 200_000
                getattr(stage.connection, how)([piece] if how == "writeSequence" else piece)
        assert [limit for limit, _ in stage.cuts()] == ["maxUnsent"]

    def test_keptBeyondTheEnd(self) -> None:
        """A method that was kept from when there was no room does nothing after the end."""
        stage = Stage()
        stage.send(300)
        connection = stage.connection
        write = connection.write
        stage.peer.abort()
        stage.server.settle()
        sent = connection.bytesSent
        write(b"late")
        assert connection.bytesSent == sent

    def test_none(self) -> None:
        """Without a bound nobody is cut."""
        stage = Stage(maxUnsent="0B")
        for _ in range(1000):
            stage.connection.write(b"x" * 100_000)
        assert stage.cuts() == []

    def test_measured(self) -> None:
        """A transport that can tell how much waits is asked before anybody is cut."""
        stage = Stage(maxUnsent="1MB")
        stage.connection.transport.getWriteBufferSize = lambda: 70_000
        for _ in range(100):
            stage.connection.write(b"x" * 100_000)
        assert stage.cuts() == []


class TestProducers:
    def test_waits(self) -> None:
        """A protocol's own producer is told to wait, and reading goes on."""
        stage = Stage()
        source = Source()
        stage.connection.registerProducer(source, True)
        stage.send(500)
        assert source.told == ["pause"]
        assert stage.connection.bytesReceived == 500_000
        stage.peer.resumeReading()
        stage.server.settle()
        assert source.told == ["pause", "resume"]

    def test_late(self) -> None:
        """One that comes when there is no room is told so."""
        stage = Stage()
        stage.send(300)
        source = Source()
        stage.connection.registerProducer(source, True)
        assert source.told == ["pause"]

    def test_second(self) -> None:
        """There is one at a time."""
        stage = Stage()
        stage.connection.registerProducer(Source(), True)
        with pytest.raises(RuntimeError, match="was never unregistered"):
            stage.connection.registerProducer(Source(), True)
        stage.connection.unregisterProducer()
        stage.connection.registerProducer(Source(), True)

    def test_lost(self) -> None:
        """It is told to stop when the peer is gone, also if it comes after that."""
        stage = Stage()
        source, late = Source(), Source()
        connection = stage.connection
        connection.registerProducer(source, True)
        stage.peer.abort()
        stage.server.settle()
        assert source.told == ["stop"]
        connection.registerProducer(late, True)
        assert late.told == ["stop"]

    def test_pull(self) -> None:
        """One that is to be asked for each piece is asked, and afterwards it is as before."""
        stage = Stage()
        stage.peer.resumeReading()
        connection = stage.connection

        class Pieces(Source):
            def resumeProducing(self) -> None:
                super().resumeProducing()
                if len(self.told) > 3:
                    connection.unregisterProducer()
                else:
                    connection.write(b"piece")

        pieces = Pieces()
        connection.registerProducer(pieces, False)
        stage.server.settle()
        assert pieces.told == ["resume"] * 4
        assert stage.peer.received == b"piece" * 3
        stage.peer.pauseReading()
        stage.send(1000)
        assert stage.peer.unread > 700_000

    def test_pullAndClose(self) -> None:
        """A connection that was to close when the last piece was sent does."""
        stage = Stage()
        stage.peer.resumeReading()
        connection = stage.connection

        class Piece(Source):
            def resumeProducing(self) -> None:
                connection.write(b"piece")
                connection.unregisterProducer()

        connection.registerProducer(Piece(), False)
        connection.loseConnection()
        stage.server.settle()
        assert stage.peer.closed
        assert stage.peer.received == b"piece"

    def test_closeWhileFull(self) -> None:
        """A connection that closes with much unsent sends it first."""
        stage = Stage()
        stage.send(300)
        stage.connection.loseConnection()
        stage.peer.resumeReading()
        stage.server.settle()
        assert stage.peer.closed
        assert stage.peer.bytesReceived >= 100_000

    def test_raises(self) -> None:
        """A producer that raises costs its own connection."""
        stage = Stage()

        class Broken(Source):
            def pauseProducing(self) -> None:
                raise ZeroDivisionError

        stage.connection.registerProducer(Broken(), True)
        stage.send(300)
        assert stage.peer.aborted
        assert [each.during for each in stage.server.observer.ofType(ProtocolRaised)] == [
            "pauseProducing"
        ]

    def test_unregisterNothing(self) -> None:
        """To unregister a producer that is not there is no error."""
        stage = Stage()
        stage.connection.unregisterProducer()
        stage.send(50)
        assert not stage.peer.aborted
