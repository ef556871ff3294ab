"""A channel stands between a datagram port and a protocol."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import InvalidAddressError, MessageLengthError
from twisted.internet.interfaces import IUDPTransport
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.udp import Port
from zope.interface import implementer
from zope.interface.verify import verifyObject

from myserv.endpoints.drops import REPORT_INTERVAL, Drops
from myserv.events import DatagramsDropped, ListenerStarted, ListenerStopped, ProtocolRaised
from myserv.interfaces import IDrainable, IPeerObserver
from myserv.server.datagram import DatagramListener
from myserv.server.listener import State
from myserv.server.reflection import OwnSockets
from myserv.testing import (
    MAX_DATAGRAM,
    MemoryDatagramEndpoint,
    MemoryDatagramPeer,
    RecordingObserver,
    SteppedReactor,
)

REFLECTED = "it came from a port that services answer from"
OWN = "it came from a socket of this server"
UNNAMED = "the sender left no address to answer to"
CLOSED = "it could not be sent: the socket is closed"


class Echo(DatagramProtocol):
    """Sends back what it gets, and writes down its life."""

    transport: Any

    def __init__(self) -> None:
        self.log: list[str] = []

    def startProtocol(self) -> None:
        self.log.append("startProtocol")

    def stopProtocol(self) -> None:
        self.log.append("stopProtocol")

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.transport.write(datagram, addr)

    def connectionRefused(self) -> None:
        self.log.append("connectionRefused")


class Stage:
    """A protocol in a channel, on a memory endpoint."""

    def __init__(
        self, protocol: DatagramProtocol | None = None, *, started: bool = True, **arguments: Any
    ) -> None:
        self.reactor = SteppedReactor()
        self.observer = RecordingObserver()
        self.endpoint = MemoryDatagramEndpoint(self.reactor)
        self.ownSockets = OwnSockets()
        self.protocol: Any = Echo() if protocol is None else protocol
        self.listener = DatagramListener(
            "hall",
            "udp:7000",
            self.endpoint,
            self.protocol,
            self.reactor,
            self.observer.observe,
            ownSockets=self.ownSockets,
            **arguments,
        )
        if started:
            self.start()

    def start(self) -> None:
        outcome: list[Any] = []
        self.listener.start().addBoth(outcome.append)
        assert outcome == [None]

    def stop(self) -> None:
        outcome: list[Any] = []
        self.listener.stop().addBoth(outcome.append)
        self.reactor.settle()
        assert outcome == [None]

    def send(self, data: bytes, *address: Any) -> MemoryDatagramPeer:
        peer = self.endpoint.peer(*address)
        peer.sendDatagram(data)
        self.reactor.settle()
        return peer

    def drops(self) -> list[tuple[str, int, Any]]:
        return [
            (each.reason, each.count, each.peer) for each in self.observer.ofType(DatagramsDropped)
        ]


@pytest.fixture
def stage() -> Stage:
    """A listener that is open."""
    return Stage()


class TestLife:
    def test_open(self, stage: Stage) -> None:
        """An open listener has an address, and the protocol a transport."""
        address = IPv4Address("UDP", "198.51.100.1", 7000)
        assert stage.listener.state is State.LISTENING
        assert stage.observer.events == [ListenerStarted("hall", "udp:7000", address)]
        assert stage.protocol.transport is stage.listener.channel
        assert stage.protocol.log == ["startProtocol"]
        assert stage.listener.channel.logPrefix() == "hall"

    def test_stop(self, stage: Stage) -> None:
        """The protocol hears of the end."""
        stage.stop()
        assert stage.protocol.log == ["startProtocol", "stopProtocol"]
        assert stage.observer.events[-1:] == [ListenerStopped("hall", "udp:7000")]
        assert stage.reactor.getReaders() == []

    def test_restart(self, stage: Stage) -> None:
        """It starts again and serves."""
        stage.stop()
        stage.start()
        assert stage.send(b"hello").received == [b"hello"]
        assert stage.protocol.log == ["startProtocol", "stopProtocol", "startProtocol"]

    def test_suspend(self, stage: Stage) -> None:
        """Datagrams wait in the socket while it is suspended."""
        stage.listener.suspend()
        peer = stage.send(b"hello")
        assert peer.received == []
        stage.listener.resume()
        stage.reactor.settle()
        assert peer.received == [b"hello"]

    def test_goodbye(self) -> None:
        """A protocol that can say goodbye does so while there is a socket."""

        @implementer(IDrainable)
        class Polite(Echo):
            def drainRequested(self, deadline: float) -> None:
                self.log.append(f"drainRequested {deadline:g}")
                self.transport.write(b"bye", ("192.0.2.1", 50000))

        stage = Stage(Polite())
        peer = stage.endpoint.peer(("192.0.2.1", 50000))
        stage.stop()
        assert peer.received == [b"bye"]
        assert stage.protocol.log == ["startProtocol", "drainRequested 0", "stopProtocol"]

    def test_goodbyeThroughLayers(self) -> None:
        """The layer nearest the wire is asked, if it can pass that on."""
        asked: list[float] = []

        class Layer(DatagramProtocol):
            noisy = False

        @implementer(IDrainable)
        class Passing(Layer):
            def drainRequested(self, deadline: float) -> None:
                asked.append(deadline)

        for layer in (Layer, Passing):
            stage = Stage(wrap=lambda context, protocol, layer=layer: layer())
            stage.stop()
        assert asked == [0.0]

    def test_peerLost(self, stage: Stage) -> None:
        """A protocol that wants to know hears of it; another does not."""
        stage.listener.channel.peerLost(("192.0.2.1", 50000))

        @implementer(IPeerObserver)
        class Knowing(Echo):
            def peerLost(self, peer: Any) -> None:
                self.log.append(str(peer))
                raise KeyError("oops")

        stage = Stage(Knowing())
        stage.listener.channel.peerLost("/run/client")
        assert stage.protocol.log == ["startProtocol", "/run/client"]
        [raised] = stage.observer.ofType(ProtocolRaised)
        assert raised.during == "peerLost"

    @pytest.mark.parametrize("error", [KeyError, SystemExit])
    def test_stopProtocolRaises(self, error: type[BaseException]) -> None:
        """A protocol that raises at the end does not keep the server from it."""

        class Broken(Echo):
            def stopProtocol(self) -> None:
                raise error("oops")

        stage = Stage(Broken())
        stage.stop()
        [raised] = stage.observer.ofType(ProtocolRaised)
        assert raised.during == "doStop"
        assert stage.endpoint.socket is None

    def test_stopTwiceWhileStarting(self) -> None:
        """Its socket is forgotten once."""
        stage = Stage()
        stage.stop()
        opening: Deferred[Any] = Deferred()
        endpoint = stage.endpoint

        class Held:
            def listen(self, protocol: Any) -> Deferred[Any]:
                return opening.addCallback(lambda _: endpoint.listen(protocol))

        stage.listener._opener = Held()  # type: ignore[assignment]
        stage.listener.start()
        stage.listener.stop()
        stage.listener.stop()
        opening.callback(None)
        stage.reactor.settle()
        assert stage.listener.state is State.STOPPED
        assert not stage.ownSockets.ports

    @pytest.mark.parametrize("error", [RuntimeError, SystemExit])
    def test_protocolThatDoesNotStart(self, error: type[BaseException]) -> None:
        """It is reported, the listener is not open, and the socket is free again."""

        class Late(Echo):
            ready = False

            def startProtocol(self) -> None:
                if not self.ready:
                    raise error("no database")

        stage = Stage(Late(), started=False)
        outcome: list[Any] = []
        stage.listener.start().addErrback(lambda failure: outcome.append(failure.value))
        stage.stop()
        assert [str(error) for error in outcome] == ["no database"]
        assert stage.listener.state is State.STOPPED
        Late.ready = True
        stage.start()
        assert stage.send(b"hello").take() == [b"hello"]


class TestReceive:
    def test_counts(self, stage: Stage) -> None:
        """What came and went is counted."""
        stage.send(b"hello")
        stage.send(b"")
        channel = stage.listener.channel
        assert (channel.datagramsReceived, channel.bytesReceived) == (2, 5)
        assert (channel.datagramsSent, channel.bytesSent) == (2, 5)

    @pytest.mark.parametrize("port", [0, 7, 13, 17, 19, 37, 69])
    def test_loopingPorts(self, stage: Stage, port: int) -> None:
        """No protocol is given what services that answer anything send."""
        assert stage.send(b"hello", ("192.0.2.1", port)).received == []
        assert stage.drops() == [(REFLECTED, 1, ("192.0.2.1", port))]
        assert stage.listener.channel.datagramsReceived == 0

    @pytest.mark.parametrize("port", [53, 123, 1023, 1900, 11211])
    @pytest.mark.parametrize("answersAnything", [True, False])
    def test_answersAnything(self, port: int, answersAnything: bool) -> None:
        """One that answers anything is given nothing from where services are."""
        stage = Stage(answersAnything=answersAnything)
        peer = stage.send(b"hello", ("192.0.2.1", port))
        assert peer.received == ([] if answersAnything else [b"hello"])

    def test_ownSocket(self, stage: Stage) -> None:
        """A service does not talk to another one of this process."""
        stage.ownSockets.add(IPv4Address("UDP", "127.0.0.1", 7001))
        assert stage.send(b"hello", ("127.0.0.1", 7001)).received == []
        assert stage.drops() == [(OWN, 1, ("127.0.0.1", 7001))]
        # The same port of somebody else.
        assert stage.send(b"hello", ("203.0.113.1", 7001)).received == [b"hello"]

    def test_ownSocketIsKnownWhileOpen(self, stage: Stage) -> None:
        """A listener's own port is one of them while it is open."""
        assert stage.send(b"hello", ("127.0.0.1", 7000)).received == []
        stage.stop()
        assert not stage.ownSockets.ports
        stage.start()
        assert stage.ownSockets.ports == {7000: 1}

    @pytest.mark.parametrize("address", ["/run/client", b"\0abstract"])
    def test_unixSource(self, stage: Stage, address: Any) -> None:
        """A path is an address like any other."""
        assert stage.send(b"hello", address).received == [b"hello"]

    @pytest.mark.parametrize("error", [KeyError, SystemExit, KeyboardInterrupt])
    def test_protocolRaises(self, error: type[BaseException]) -> None:
        """A protocol's bug costs one datagram, were it an exit."""

        class Broken(Echo):
            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                if datagram == b"bad":
                    raise error("oops")
                super().datagramReceived(datagram, addr)

        stage = Stage(Broken())
        peer = stage.send(b"bad")
        [raised] = stage.observer.ofType(ProtocolRaised)
        assert (raised.during, raised.peer) == ("datagramReceived", peer.address)
        assert stage.send(b"good").received == [b"good"]


class TestWrite:
    def test_interface(self, stage: Stage) -> None:
        """To the protocol it is a UDP transport, whole."""
        channel = stage.listener.channel
        assert verifyObject(IUDPTransport, channel)
        assert channel.getHost() == IPv4Address("UDP", "198.51.100.1", 7000)
        channel.setBroadcastAllowed(True)
        assert channel.getBroadcastAllowed()
        assert channel.fileno() == -1
        # This one receives no multicast.
        for name in ("joinGroup", "fly"):
            with pytest.raises(AttributeError):
                getattr(channel, name)

    def test_unconnected(self) -> None:
        """Before it has a port it has nothing of one."""
        stage = Stage()
        listener = DatagramListener(
            "hall", "udp:1", stage.endpoint, Echo(), stage.reactor, stage.observer.observe
        )
        with pytest.raises(AttributeError):
            listener.channel.getHost()

    def test_writeSequence(self, stage: Stage) -> None:
        """Pieces go as one datagram."""
        peer = stage.endpoint.peer()
        stage.protocol.transport.writeSequence(iter([b"a", b"b"]), peer.address)
        assert peer.received == [b"ab"]

    @pytest.mark.parametrize("address", [None, "", b""])
    def test_unnamed(self, stage: Stage, address: Any) -> None:
        """A source without a name cannot be answered, which is counted."""
        stage.send(b"hello", address)
        assert stage.drops() == [(UNNAMED, 1, address)]
        assert stage.endpoint.sent == []

    def test_unsendable(self, stage: Stage) -> None:
        """What the system does not take is counted, and nothing raised."""
        stage.endpoint.writeError = OSError(errno.ENETUNREACH, "Network is unreachable")
        peer = stage.send(b"hello")
        assert stage.drops() == [("it could not be sent: Network is unreachable", 1, peer.address)]
        assert stage.listener.channel.datagramsSent == 0
        assert stage.observer.ofType(ProtocolRaised) == []

    def test_closed(self, stage: Stage) -> None:
        """What is written when there is no socket is counted, and nothing raised."""
        transport = stage.protocol.transport
        peer = stage.send(b"hello")
        for address in (peer.address, None, ("192.0.2.9", 9000)):
            stage.stop()
            transport.write(b"more", address)
            stage.start()
        assert stage.listener.dropped == {CLOSED: 2, UNNAMED: 1}
        assert stage.send(b"hello", peer.address).received == [b"hello", b"hello"]
        unopened = Stage(started=False)
        unopened.listener.channel.write(b"hello", peer.address)
        assert unopened.listener.dropped == {CLOSED: 1}

    def test_lastWords(self) -> None:
        """A protocol that kept its transport may write when it is stopped."""

        class Polite(Echo):
            def startProtocol(self) -> None:
                self.kept = self.transport

            def stopProtocol(self) -> None:
                self.kept.write(b"bye", ("192.0.2.1", 50000))

        stage = Stage(Polite())
        peer = stage.endpoint.peer(("192.0.2.1", 50000))
        stage.stop()
        assert peer.received == [b"bye"]

    def test_tooLarge(self, stage: Stage) -> None:
        """A datagram that cannot be is the protocol's mistake."""
        with pytest.raises(MessageLengthError):
            stage.protocol.transport.write(b"x" * (MAX_DATAGRAM + 1), ("192.0.2.1", 50000))

    def test_connected(self, stage: Stage) -> None:
        """A connected port needs no address, and hears of refusals."""
        peer = stage.endpoint.peer(("192.0.2.1", 50000))
        stage.protocol.transport.connect("192.0.2.1", 50000)
        stage.protocol.transport.write(b"hello")
        stage.protocol.transport.writeSequence([b"a", b"b"])
        assert peer.received == [b"hello", b"ab"]
        refused = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        stage.endpoint.writeError = refused
        stage.protocol.transport.write(b"hello")
        assert stage.protocol.log == ["startProtocol", "connectionRefused"]
        stage.stop()
        stage.start()
        stage.protocol.transport.write(b"hello")
        assert stage.drops() == [(UNNAMED, 1, None)]


class TestDrops:
    def test_aggregated(self, stage: Stage) -> None:
        """A flood is one event at once and one for each interval."""
        for last in range(1, 101):
            stage.send(b"x", (f"192.0.2.{last}", 7))
        assert stage.drops() == [(REFLECTED, 1, ("192.0.2.1", 7))]
        stage.reactor.advance(REPORT_INTERVAL)
        stage.send(b"x", ("192.0.2.101", 7))
        assert stage.drops()[1:] == [(REFLECTED, 100, ("192.0.2.101", 7))]

    def test_byReason(self, stage: Stage) -> None:
        """Each reason is counted by itself."""
        stage.send(b"x", ("192.0.2.1", 7))
        stage.send(b"x", None)
        stage.send(b"x", ("192.0.2.1", 19))
        assert stage.drops() == [(REFLECTED, 1, ("192.0.2.1", 7)), (UNNAMED, 1, None)]

    def test_restIsReportedAtTheEnd(self, stage: Stage) -> None:
        """What was not yet told is told when the listener stops, once."""
        for _ in range(3):
            stage.send(b"x", ("192.0.2.1", 7))
        stage.send(b"x", None)
        stage.observer.take()
        stage.stop()
        assert stage.drops() == [(REFLECTED, 2, ("192.0.2.1", 7))]
        stage.start()
        stage.observer.take()
        stage.stop()
        assert stage.drops() == []

    def test_ofLayers(self) -> None:
        """What layers have dropped is counted as well."""

        class Layer(DatagramProtocol):
            noisy = False

            def __init__(self, context: Any, protocol: Any) -> None:
                self.wrappedProtocol = protocol
                self.drops = Drops(context)

        class Plain(DatagramProtocol):
            noisy = False

            def __init__(self, protocol: Any) -> None:
                self.wrappedProtocol = protocol

        stage = Stage(wrap=lambda context, protocol: Plain(Layer(context, protocol)))
        stage.listener.channel.countDropped("one", None)
        layer: Any = stage.listener._outermost.wrappedProtocol.wrappedProtocol
        layer.drops.add("one", None)
        layer.drops.add("two", None, 3)
        assert stage.listener.dropped == {"one": 2, "two": 3}
        stage.listener._outermost = Plain(None)
        assert stage.listener.dropped == {"one": 1}


class StockSocket:
    """What a port of Twisted's sends through."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Any]] = []
        self.error: OSError | None = None

    def sendto(self, data: bytes, address: Any) -> int:
        if self.error is not None:
            raise self.error
        self.sent.append((data, address))
        return len(data)

    def refuse(self, data: bytes, address: Any) -> int:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def send(self, data: bytes) -> int:
        return self.sendto(data, None)

    def connect(self, address: Any) -> None:
        pass


class TestStockPort:
    """To a port of Twisted's own, answers go around its look at the address."""

    def open(self) -> tuple[Stage, Any, StockSocket]:
        stage = Stage(started=False)
        channel = stage.listener.channel
        port: Any = Port(7000, channel)
        port.socket = StockSocket()
        port.addressFamily = socket.AF_INET
        channel.makeConnection(port)
        return stage, channel, port.socket

    def test_answer(self) -> None:
        """It goes to the source; what goes elsewhere is looked at."""
        _, channel, sock = self.open()
        channel.datagramReceived(b"hello", ("192.0.2.1", 50000))
        assert sock.sent == [(b"hello", ("192.0.2.1", 50000))]
        with pytest.raises(InvalidAddressError):
            channel.write(b"hello", ("example.com", 50000))
        assert channel.datagramsSent == 1

    @pytest.mark.parametrize("reachable", [True, False])
    def test_errors(self, reachable: bool) -> None:
        """The port knows: one too large is the protocol's mistake; others are counted."""
        stage, channel, sock = self.open()
        number = errno.EMSGSIZE if reachable else errno.ENETUNREACH
        sock.error = OSError(number, os.strerror(number))
        channel.datagramReceived(b"hello", ("192.0.2.1", 50000))
        raised = [type(each.failure.value) for each in stage.observer.ofType(ProtocolRaised)]
        assert raised == ([MessageLengthError] if reachable else [])
        assert len(channel.drops.total) == (not reachable)

    def test_again(self) -> None:
        """What the port does about it may well be to send it."""
        _, channel, sock = self.open()
        channel._answer = channel._answer.__self__.refuse
        channel.datagramReceived(b"hello", ("192.0.2.1", 50000))
        assert sock.sent == [(b"hello", ("192.0.2.1", 50000))]
        assert (channel.datagramsSent, channel.bytesSent) == (1, 5)

    def test_connected(self) -> None:
        """A connected port needs to know."""
        _, channel, sock = self.open()
        channel.connect("192.0.2.1", 50000)
        channel.datagramReceived(b"hello", ("192.0.2.1", 50000))
        assert sock.sent == [(b"hello", None)]
