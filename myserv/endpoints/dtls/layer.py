"""
DTLS on one listener: who is let in, whose datagram is whose, and who is let go.

A L{DTLSLayer} stands between a port and a datagram protocol.  To the port it is the
protocol, to the protocol the transport, and the protocol notices nothing.  A
source that has not shown a cookie costs one answer and not a byte of memory.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.interfaces import IUDPTransport
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from myserv.endpoints.drops import Drops
from myserv.endpoints.dtls.association import Association
from myserv.endpoints.dtls.cookies import Cookies
from myserv.endpoints.dtls.hello import ClientHello, readHello, writeVerifyRequest
from myserv.endpoints.dtls.records import MAXIMUM_PLAIN, isOneOfData, isUnencrypted, isWhole
from myserv.endpoints.tls.store import CertificateStore
from myserv.events import AssociationEnded, AssociationStarted, HandshakeFailed, Offence, Peer
from myserv.interfaces import IDrainable, IListenerContext, IPeerObserver, IReloadable

NOT_DTLS: Final = "it is not DTLS"
STRANGER: Final = "its source has no association"
UNNAMED: Final = "the sender left no address to answer to"
BROKEN_HELLO: Final = "its ClientHello is broken"
LATE_HELLO: Final = "it repeats a handshake that is over"
NOT_FROM_PEER: Final = "the peer did not send it, or it came twice"
FULL: Final = "there are as many associations as there may be"
HOST_FULL: Final = "its host has as many associations as it may"
NO_PEER: Final = "there is no association to send it through"
TOO_LARGE: Final = f"it is larger than a DTLS record holds ({MAXIMUM_PLAIN} bytes)"
EMPTY: Final = "DTLS carries no empty datagrams"

_numbers = itertools.count(1)


@implementer(IUDPTransport, IDrainable, IPeerObserver, IReloadable)
class DTLSLayer(DatagramProtocol):
    """
    The associations of one listener.

    @ivar wrappedProtocol: The protocol nearer the service.
    @ivar drops: What was thrown away, and why.
    @ivar hosts: How many associations and handshakes each host has.
    @ivar handshakesStarted: Peers that have shown a cookie so far.
    @ivar handshakesFailed: Those of them that got no further.
    @ivar verifyRequests: How often somebody was asked for a cookie.
    """

    noisy = False

    def __init__(
        self,
        context: IListenerContext,
        protocol: DatagramProtocol,
        store: CertificateStore,
        *,
        mtu: int,
        handshakeTimeout: float,
        idleTimeout: float,
        associations: int,
        perHost: int,
    ) -> None:
        """
        Args:
            context: The listener.
            protocol: The protocol nearer the service's.
            store: The certificates.
            mtu: Bytes that a datagram of a handshake may have.
            handshakeTimeout: Seconds that a handshake may take.
            idleTimeout: Seconds without a word from a peer that end its
                association.
            associations: How many there may be.
            perHost: How many there may be with one host.
        """
        self._context = context
        self.wrappedProtocol = protocol
        self._store = store
        self._maximum = associations
        self._perHost = perHost
        self._cookies = Cookies(context.reactor.seconds)
        self._open: dict[Any, Association] = {}
        # A peer may be in both: it began anew, and has to prove itself before
        # what it had is given up (RFC 6347, section 4.2.8).
        self._handshaking: dict[Any, Association] = {}
        self.hosts: Counter[Any] = Counter()
        self._connectedTo: Any = None
        # Of whom the protocol is being told that it is lost.
        self._leaving: Any = None
        self.reactor = context.reactor
        self.mtu = mtu
        self.handshakeTimeout = handshakeTimeout
        self.idleTimeout = idleTimeout
        self.drops = Drops(context)
        self.verifyRequests = 0
        self.handshakesStarted = 0
        self.handshakesFailed = 0

    @property
    def associations(self) -> int:
        """How many are open now."""
        return len(self._open)

    @property
    def handshakes(self) -> int:
        """How many are under way now."""
        return len(self._handshaking)

    # The protocol side of it: what a port calls.

    def logPrefix(self) -> str:
        """
        What Twisted's own log lines call it: the service's name.
        """
        return self._context.service

    def makeConnection(self, transport: Any) -> None:
        """
        The port is open: introduce ourselves to the protocol.
        """
        super().makeConnection(transport)
        self._connectedTo = None
        self.wrappedProtocol.makeConnection(self)
        # Last: should the protocol refuse, nobody would stop it.
        self._store.start()

    def doStop(self) -> None:
        """
        The port is closed; it is too late for goodbyes.
        """
        super().doStop()
        self._store.stop()
        self._endAll()
        self.drops.report()
        self.wrappedProtocol.doStop()

    def connectionRefused(self) -> None:
        """
        The peer of a connected port has no socket.
        """
        self.wrappedProtocol.connectionRefused()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Take a datagram from the wire.

        Args:
            datagram: Whatever somebody sent.
            addr: Where it says that it is from.
        """
        association = self._open.get(addr)
        if association is None or not isOneOfData(datagram):
            self._route(datagram, addr, association)
            return
        plain = association.decrypt(datagram)
        if plain is not None:
            self.wrappedProtocol.datagramReceived(plain, addr)
        elif addr in self._handshaking:
            # It began anew, and this came before the end of its handshake.
            self._handshaking[addr].datagramReceived(datagram)
        elif association.isOpen:
            self.drops.add(NOT_FROM_PEER, addr)

    def _route(self, datagram: bytes, addr: Any, association: Association | None) -> None:
        if not isWhole(datagram):
            self.drops.add(NOT_DTLS, addr)
            return
        hello = readHello(datagram)
        if hello is not None:
            self._helloReceived(hello, datagram, addr)
            return
        handshake = self._handshaking.get(addr)
        if handshake is not None:
            if association is not None and not isUnencrypted(datagram):
                # An alert or the like: of which of the two, only their keys tell.
                association.datagramReceived(datagram)
            handshake.datagramReceived(datagram)
        elif association is not None:
            association.datagramReceived(datagram)
        else:
            self.drops.add(STRANGER, addr)

    # Letting in.

    def _helloReceived(self, hello: ClientHello, datagram: bytes, addr: Any) -> None:
        handshake = self._handshaking.get(addr)
        if hello.cookie:
            if handshake is not None and handshake.cookie == hello.cookie:
                # It was sent again, or the network doubled it.
                handshake.datagramReceived(datagram)
                return
            association = self._open.get(addr)
            if association is not None and association.cookie == hello.cookie:
                self.drops.add(LATE_HELLO, addr)
                return
        refusal = self._refusal(addr)
        if refusal is not None:
            self.drops.add(refusal, addr)
        elif self._cookies.isGood(hello.cookie, addr, hello.parameters):
            self._begin(hello, datagram, addr)
        else:
            self.verifyRequests += 1
            cookie = self._cookies.make(addr, hello.parameters)
            self.send(writeVerifyRequest(hello, cookie), addr)

    def _refusal(self, addr: Any) -> str | None:
        if not addr:
            return UNNAMED
        if addr in self._open or addr in self._handshaking:
            # One that begins anew gets in: it replaces what it had.
            return None
        if len(self._open) + len(self._handshaking) >= self._maximum:
            return FULL
        if self.hosts[_hostOf(addr)] >= self._perHost:
            return HOST_FULL
        return None

    def _begin(self, hello: ClientHello, datagram: bytes, addr: Any) -> None:
        association = Association(self, addr, self._store.current)
        if not association.accept(hello, datagram):
            self.drops.add(BROKEN_HELLO, addr)
            return
        earlier = self._handshaking.get(addr)
        if earlier is not None:
            # The peer has given that one up; neither has proved anything.
            earlier.abandon()
            self._handshakeOver(earlier)
        self._handshaking[addr] = association
        self.hosts[_hostOf(addr)] += 1
        self.handshakesStarted += 1
        association.shakeHands()

    # What associations tell.

    def send(self, datagram: bytes, address: Any) -> None:
        """
        Send a datagram; one that the system will not take is counted.
        """
        if self.transport is None:
            return
        try:
            self.transport.write(datagram, address)
        except OSError as error:
            self.drops.add(f"it could not be sent: {error.strerror}", address)

    def deliver(self, association: Association, plain: bytes) -> None:
        """
        A peer said something.
        """
        self.wrappedProtocol.datagramReceived(plain, association.address)

    def handshakeDone(self, association: Association) -> None:
        """
        A peer has proved itself.
        """
        address = association.address
        earlier = self._open.get(address)
        if earlier is not None:
            # Without a goodbye: its keys are not the peer's any more.
            earlier.supersede("the peer began anew")
        del self._handshaking[address]
        self._open[address] = association
        association.number = next(_numbers)
        self._context.emit(AssociationStarted(self._context.service, association.number, address))

    def handshakeFailed(self, association: Association, reason: str) -> None:
        """
        A peer has not proved itself.
        """
        self._handshakeOver(association)
        self.handshakesFailed += 1
        self._context.emit(
            HandshakeFailed(self._context.service, association.address, "dtls", reason)
        )
        # Whoever has an association has sent a cookie back: the address is its own.
        self._context.penalize(association.address, reason, Offence.HANDSHAKE)

    def _handshakeOver(self, association: Association) -> None:
        del self._handshaking[association.address]
        self._leave(association.address)

    def ended(self, association: Association, reason: str) -> None:
        """
        An association is over.
        """
        del self._open[association.address]
        self._leave(association.address)
        self._context.emit(
            AssociationEnded(
                self._context.service,
                association.number,
                association.address,
                reason,
                self.reactor.seconds() - association.started,
                association.bytesReceived,
                association.bytesSent,
            )
        )
        if IPeerObserver.providedBy(self.wrappedProtocol):
            outer, self._leaving = self._leaving, association.address
            try:
                self.wrappedProtocol.peerLost(association.address)
            finally:
                self._leaving = outer

    def _leave(self, address: Any) -> None:
        host = _hostOf(address)
        self.hosts[host] -= 1
        if not self.hosts[host]:
            del self.hosts[host]

    # The end.

    def drainRequested(self, deadline: float) -> None:
        """
        The socket is about to close: say goodbye while it can be heard.
        """
        if IDrainable.providedBy(self.wrappedProtocol):
            self.wrappedProtocol.drainRequested(deadline)
        self._endAll()

    def peerLost(self, peer: Peer) -> None:
        """
        A layer nearer the wire has lost a peer: so have we.
        """
        association = self._open.get(peer)
        if association is not None:
            association.close("a layer beneath has lost the peer")

    def _endAll(self) -> None:
        for handshake in list(self._handshaking.values()):
            handshake.abandon()
            self.handshakeFailed(handshake, "the listener has closed")
        for association in list(self._open.values()):
            association.close("the listener has closed")

    def reload(self) -> None:
        """
        Read the certificates again; open associations keep theirs.
        """
        self._store.reload()

    # The transport side of it: what a protocol calls.

    def write(self, packet: bytes, addr: Any = None) -> None:
        """
        Send a datagram to a peer; one that cannot be sent is counted.

        Args:
            packet: The whole datagram, up to 16,384 bytes.
            addr: The peer, as it was received from.
        """
        if addr is None:
            addr = self._connectedTo
        association = self._open.get(addr)
        if association is None:
            # A goodbye to one that has gone is written in good faith, and no fact.
            if addr is None or addr != self._leaving:
                self.drops.add(NO_PEER, addr)
        elif 0 < len(packet) <= MAXIMUM_PLAIN:
            association.write(packet)
        else:
            self.drops.add(TOO_LARGE if packet else EMPTY, addr)

    def writeSequence(self, iovec: Iterable[bytes], addr: Any = None) -> None:
        """
        Send several pieces as one datagram.
        """
        self.write(b"".join(iovec), addr)

    def connect(self, host: str, port: int) -> None:
        """
        Exchange datagrams with one peer only; C{write} then needs no address.
        """
        transport: Any = self.transport
        transport.connect(host, port)
        self._connectedTo = (host, port)

    def getPeerCertificate(self, addr: Any) -> Any:
        """
        The certificate that a peer showed.

        Args:
            addr: The peer, as it was received from.

        Returns:
            pyOpenSSL's C{X509}; C{None} if it showed none, or has no
            association.
        """
        association = self._open.get(addr)
        return None if association is None else association.connection.get_peer_certificate()

    def getHandle(self, addr: Any) -> SSL.Connection | None:
        """
        OpenSSL's own view of a peer's association, if it has one.
        """
        association = self._open.get(addr)
        return None if association is None else association.connection

    def __getattr__(self, name: str) -> Any:
        # getHost, stopListening, setBroadcastAllowed, joinGroup and the rest.
        return getattr(self.transport, name)


def _hostOf(address: Any) -> Any:
    # The path of a UNIX socket is a host of its own.
    return address[0] if isinstance(address, tuple) else address
