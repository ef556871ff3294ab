"""Who is let in, and that everybody who was is let out again."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import frozen
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.interfaces import IProtocolNegotiationFactory
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from myserv.events import AcceptFailed, ConnectionRefused, ServiceFull
from myserv.limits import structureLimits
from myserv.plugin import ProtocolPlugin
from myserv.protocols.echo.plugin import echo
from myserv.server.gate import Departure, GateFactory
from myserv.server.refused import REFUSED
from myserv.testing import MemoryServer, hostPlugin


def host(**limits: object) -> MemoryServer:
    """Serve echo with limits."""
    return hostPlugin(echo, limits=limits)


def connected(server: MemoryServer) -> int:
    """How many connections there are."""
    assert server.streamListener is not None
    return len(server.streamListener.connections)


def refusals(server: MemoryServer) -> int:
    """How many arrivals were refused."""
    return len(server.observer.ofType(ConnectionRefused))


class TestAdmitted:
    def test_counted(self) -> None:
        """Whoever is connected is counted, and no longer when it has left."""
        server = host()
        peers = [server.connect() for _ in range(3)]
        server.settle()
        assert server.admission.connections == connected(server) == 3
        peers[0].close()
        peers[1].abort()
        server.settle()
        assert server.admission.connections == connected(server) == 1
        server.stop()
        assert server.admission.connections == 0

    def test_elsewhere(self) -> None:
        """Who comes from where nobody may is cut, and it is known why."""
        server = host(deny=["192.0.2.0/24"])
        peer = server.connect()
        server.settle()
        assert peer.aborted
        assert refusals(server) == 1
        assert server.admission.connections == 0
        other = server.connect(IPv4Address("TCP", "198.51.100.9", 1))
        other.send(b"hello")
        server.settle()
        assert other.received == b"hello"

    @pytest.mark.parametrize("declines", [True, False])
    def test_protocolDeclines(self, declines: bool) -> None:
        """Room that was given to an arrival which gets no protocol is given back."""

        class Choosy(Factory):
            def buildProtocol(self, addr: Any) -> Any:
                if declines:
                    return None
                raise ZeroDivisionError

        plugin = ProtocolPlugin("choosy", "", factory=lambda context, options: Choosy())
        server = hostPlugin(plugin)
        server.connect()
        server.settle()
        assert server.admission.connections == 0

    @pytest.mark.parametrize("raises", [True, False])
    def test_layerDeclines(self, raises: bool) -> None:
        """So it is when a layer of another package gives it none, or raises."""

        class Inner(Factory):
            def buildProtocol(self, addr: Any) -> Any:
                if raises:
                    raise ZeroDivisionError

        server = host()
        assert server.streamListener is not None
        gate = GateFactory(server.streamListener, server.admission, Inner())
        address = IPv4Address("TCP", "192.0.2.1", 7)
        if raises:
            with pytest.raises(ZeroDivisionError):
                gate.buildProtocol(address)
        else:
            assert gate.buildProtocol(address) is REFUSED
            assert refusals(server) == 1
        assert server.admission.connections == 0

    def test_raisesAtTheEnd(self) -> None:
        """A protocol whose end raises is let out all the same, once."""
        server = host()
        arrival = server.admission.admit(IPv4Address("TCP", "192.0.2.1", 7), "memory")
        assert not isinstance(arrival, str)

        def lost(reason: object) -> None:
            raise ZeroDivisionError

        departure = Departure(server.admission, arrival, lost)
        with pytest.raises(ZeroDivisionError):
            departure("gone")
        departure("gone")
        assert server.admission.connections == 0

    def test_applicationProtocols(self) -> None:
        """A layer nearer the wire may ask through the gate which protocols are spoken."""

        @implementer(IProtocolNegotiationFactory)
        class Negotiating(Factory):
            def acceptableProtocols(self) -> list[bytes]:
                return [b"hall/1"]

        server = host()
        assert server.streamListener is not None
        gate: Any = GateFactory(server.streamListener, server.admission, Negotiating())
        assert IProtocolNegotiationFactory.providedBy(gate)
        assert gate.acceptableProtocols() == [b"hall/1"]


class TestFull:
    def test_wait(self) -> None:
        """Without room, arrivals wait until somebody leaves, and nobody is refused."""
        server = host(maxConnections=2, maxConnectionsPerPeer=0)
        peers = [server.connect() for _ in range(5)]
        server.settle()
        assert connected(server) == 2
        for left, peer in enumerate(peers, start=1):
            peer.close()
            server.settle()
            assert connected(server) == min(2, 5 - left)
        assert refusals(server) == 0
        assert len(server.observer.ofType(ServiceFull)) == 1

    def test_refuse(self) -> None:
        """Or they are refused, if the operator says so."""
        server = host(maxConnections=2, maxConnectionsPerPeer=0, whenFull="refuse")
        peers = [server.connect() for _ in range(5)]
        server.settle()
        assert [peer.aborted for peer in peers] == [False, False, True, True, True]
        assert refusals(server) == 3

    def test_suspended(self) -> None:
        """A listener that is suspended stays so when there is room, and the other way round."""
        server = host(maxConnections=1, maxConnectionsPerPeer=0)
        listener = server.streamListener
        assert listener is not None
        first, second = server.connect(), server.connect()
        server.settle()
        listener.suspend()
        first.close()
        server.settle()
        assert connected(server) == 0
        listener.resume()
        server.settle()
        assert connected(server) == 1
        third = server.connect()
        listener.suspend()
        listener.resume()
        server.settle()
        assert connected(server) == 1
        second.close()
        server.settle()
        third.send(b"x")
        server.settle()
        assert third.received == b"x"

    def test_raised(self) -> None:
        """More room lets in who waits."""
        server = host(maxConnections=1, maxConnectionsPerPeer=0)
        for _ in range(3):
            server.connect()
        server.settle()
        server.admission.apply(structureLimits({"maxConnections": 3, "maxConnectionsPerPeer": 0}))
        server.settle()
        assert connected(server) == 3


@frozen
class Credentials:
    """Whose socket it is."""

    pid: int
    uid: int
    gid: int
    groups: tuple[int, ...]


class TestCredentials:
    @pytest.mark.parametrize("uid", [0, 1234])
    def test_users(self, uid: int) -> None:
        """Where users are limited, the socket is asked whose it is, before a protocol is built."""
        server = host(users=["1234"])
        assert server.streamListener is not None
        built: list[Any] = []

        class Building(Factory):
            def buildProtocol(self, addr: Any) -> Any:
                built.append(Protocol())
                return built[-1]

        gate = GateFactory(server.streamListener, server.admission, Building())
        check = gate.buildProtocol(UNIXAddress(None))
        assert built == []
        aborted = []

        class Transport:
            peerCredentials = Credentials(1, uid, 0, (0,))
            protocol: Any = None

            def loseConnection(self) -> None: ...

            def abortConnection(self) -> None:
                aborted.append(self)

        transport = Transport()
        check.makeConnection(transport)
        if uid:
            assert transport.protocol is built[0]
            assert built[0].transport is transport
            assert server.admission.connections == 1
            transport.protocol.connectionLost(None)
        else:
            assert (built, aborted) == ([], [transport])
            [refused] = server.observer.ofType(ConnectionRefused)
            assert refused.identity == "uid 0, gid 0, pid 1"
        assert server.admission.connections == 0

    def test_untold(self) -> None:
        """A socket that does not tell is nobody's; one of another kind is not asked."""
        server = host(users=["1234"])
        assert server.streamListener is not None
        gate = GateFactory(server.streamListener, server.admission, Factory())
        assert gate.admit(UNIXAddress(None), None) is REFUSED
        assert refusals(server) == 1
        peer = server.connect()
        peer.send(b"x")
        server.settle()
        assert peer.received == b"x"


def test_acceptFailed() -> None:
    """What the system refuses to accept is known."""
    server = host()
    assert server.streamListener is not None
    gate = GateFactory(server.streamListener, server.admission, Factory())
    gate.acceptFailed(OSError(24, "Too many open files"), 0.5)
    assert server.observer.ofType(AcceptFailed) == [
        AcceptFailed("echo", "memory", "Too many open files", 0.5)
    ]


def test_penalized() -> None:
    """A peer that misbehaves too much is refused by and by, and let in again later."""
    server = host()
    peer = IPv4Address("TCP", "192.0.2.1", 7)
    for _ in range(20):
        server.context.penalize(peer, "it cheats")
    refused = server.connect()
    server.settle()
    assert refused.aborted
    server.advance(3600)
    again = server.connect()
    again.send(b"x")
    server.settle()
    assert again.received == b"x"
