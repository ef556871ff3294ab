"""
The layer that reads a PROXY header, and the keys of C{proxy:}.

What is above it is not built before the header is there, and is then told of
the client's addresses as if it had connected by itself.  From there on the layer
is not in the way: its two hot methods are those of its neighbours.
"""

from __future__ import annotations

import socket
from ipaddress import IPv6Address as IPv6
from ipaddress import ip_address
from typing import Any, Final

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IProtocolFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from myserv.endpoints.layer import HANDSHAKE_TIMEOUT, Layer, LayerFactory
from myserv.endpoints.proxy import codec
from myserv.errors import ConfigurationError, Problem
from myserv.interfaces import IListenerContext, IStreamWrapper
from myserv.options.declare import option
from myserv.options.values import Duration, IPAddress, parseIPNetwork

LOCAL_PATIENCE: Final = 0.1
"""Seconds that a proxy which connects on its own behalf has to leave again before
a protocol is built for it.  A health check of HAProxy's is over within some
milliseconds, and comes every 2 s."""

UNIX: Final = "unix"
"""What stands among the networks for those who connect through a UNIX socket."""


@frozen
class ProxyOptions:
    """The keys that C{proxy:} claims."""

    sources: tuple[str, ...] = option(
        name="from",
        help='the networks of the proxies; "unix" for whoever may open the UNIX socket',
        metavar="NETWORK",
    )
    timeout: Duration = option(
        HANDSHAKE_TIMEOUT, help="how long the header may take", minimum=0.001
    )

    def __attrs_post_init__(self) -> None:
        problems = []
        for index, text in enumerate(self.sources):
            try:
                if text != UNIX:
                    parseIPNetwork(text)
            except ValueError as error:
                problems.append(Problem(str(error), ("from", index)))
        if problems:
            raise ConfigurationError(problems)


@implementer(IStreamWrapper)
class ProxyWrapper:
    """
    The PROXY protocol over any stream.
    """

    prefix = "proxy"
    description = "the PROXY protocol, versions 1 and 2, behind HAProxy, nginx and others"
    example = "proxy:from=10.0.0.0/8,127.0.0.1:tcp:7007"
    optionsType = ProxyOptions
    namesPeer = True

    def wrapFactory(
        self, context: IListenerContext, options: ProxyOptions, factory: IProtocolFactory
    ) -> IProtocolFactory:
        """
        Put the PROXY protocol in front of a factory.
        """
        return ProxyFactory(context, factory, options)


class ProxyFactory(LayerFactory):
    """
    Builds the layer of each connection.
    """

    def __init__(
        self, context: IListenerContext, factory: IProtocolFactory, options: ProxyOptions
    ) -> None:
        super().__init__(context, factory)
        self._trusted = Trusted(options.sources)
        self._timeout = float(options.timeout)

    def buildProtocol(self, addr: Any) -> ProxyLayer:
        """
        Build the layer of one connection.
        """
        return ProxyLayer(self, addr, self._timeout, trusted=addr in self._trusted)


class Trusted:
    """
    Whose word is taken for where a client comes from.
    """

    def __init__(self, sources: tuple[str, ...]) -> None:
        """
        Args:
            sources: Networks, and C{unix}.
        """
        self._networks = [parseIPNetwork(each) for each in sources if each != UNIX]
        self._unix = UNIX in sources

    def __contains__(self, address: object) -> bool:
        if isinstance(address, UNIXAddress):
            # It has no address to look at, but may open the socket's file.
            return self._unix
        if not isinstance(address, (IPv4Address, IPv6Address)):
            return False
        host = _unmapped(ip_address(address.host))
        return any(host in network for network in self._networks)


def _unmapped(host: IPAddress) -> IPAddress:
    # On a socket for both families; networks are written for one.
    mapped = host.ipv4_mapped if isinstance(host, IPv6) else None
    return host if mapped is None else mapped


class ProxyLayer(Layer):
    """
    One connection's PROXY header.

    @ivar proxyHeader: The header; C{None} until it is there.
    """

    name = "proxy"
    # It is the balancer that would be refused, and with it all of its clients.
    penalizes = False

    def __init__(
        self, factory: ProxyFactory, address: Any, timeout: float, *, trusted: bool
    ) -> None:
        super().__init__(factory, address, timeout)
        self.proxyHeader: codec.Header | None = None
        self._trusted = trusted
        # Until the header is there: what lasts should be small.
        self._parser: codec.HeaderParser | None = codec.HeaderParser()
        self._peer: Any = None
        self._host: Any = None
        # What came behind the header, as long as what is above does not take it.
        self._rest = b""
        self._paused = False
        self._ended = False
        self._resuming: IDelayedCall | None = None

    # The lower side.

    def connected(self) -> None:
        """
        The peer is there: whoever is not trusted is not listened to.
        """
        if not self._trusted:
            self.handshakeFailed("it is not a trusted proxy")

    def dataReceived(self, data: bytes) -> None:
        """
        Read the header.  From then on bytes do not come here, see L{_handOn}.
        """
        if self._parser is not None:
            self._readHeader(self._parser, data)
            return
        self._rest += data
        if self.upper is None:
            self._build()
        else:
            self._handOn()

    def _readHeader(self, parser: codec.HeaderParser, data: bytes) -> None:
        try:
            header = parser.receiveData(data)
        except codec.HeaderError as error:
            self.handshakeFailed(str(error))
            return
        if header is None:
            return
        self.proxyHeader = header
        self._rest = parser.rest
        self._parser = None
        if header.source is not None and header.destination is not None:
            self._peer = _twistedAddress(header.source, header.transport)
            self._host = _twistedAddress(header.destination, header.transport)
        if not self._rest and self._isLocal(header.source):
            assert self._deadline is not None
            self._deadline.reset(LOCAL_PATIENCE)
        else:
            self._build()

    def _isLocal(self, source: codec.Address | None) -> bool:
        # Version 1 has no word for it: there a proxy names itself (section 2.1).
        if not isinstance(source, codec.InternetAddress):
            return source is None
        peer = self.transport.getPeer()
        return source.port == getattr(peer, "port", None) and _unmapped(source.host) == _unmapped(
            ip_address(peer.host)
        )

    def _tookTooLong(self) -> None:
        if self.proxyHeader is None:
            super()._tookTooLong()
        else:
            # It is no mere health check.
            self._build()

    def _build(self) -> None:
        # Before what is above sees them: it may keep them.
        self._passWrites()
        self.handshakeDone(self._peer)
        self._handOn()

    def transportChanged(self) -> None:
        """
        See L{Layer.transportChanged}.
        """
        super().transportChanged()
        self._passWrites()

    def _passWrites(self) -> None:
        # What is written does not come here.
        self.write = self.transport.write  # type: ignore[method-assign]
        self.writeSequence = self.transport.writeSequence  # type: ignore[method-assign]

    def _handOn(self) -> None:
        if self._ended:
            self._rest = b""
        elif not self._paused:
            # Twisted's transports ask for it at each read: the next one finds
            # what is above, and the ends of the connection are still told to us.
            self.dataReceived = self.upper.dataReceived  # type: ignore[method-assign]
            rest, self._rest = self._rest, b""
            if rest:
                self.dataReceived(rest)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        """
        The transport is gone.
        """
        if self._resuming is not None:
            self._resuming.cancel()
            self._resuming = None
        if self.upper is None and (self._parser is None or not self._parser.started):
            # It was a health check: one comes every few seconds, and is no fact worth
            # telling.
            self._failed = True
            self._endHandshake()
        self._stopDelivering()
        super().connectionLost(reason)

    def _stopDelivering(self) -> None:
        self._ended = True
        self._rest = b""
        self.dataReceived = _ignore  # type: ignore[method-assign]

    # The upper side.

    def pauseProducing(self) -> None:
        """
        Deliver nothing for a while.
        """
        self._paused = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """
        Deliver again, what came with the header first.
        """
        self._paused = False
        if not self._rest:
            self.transport.resumeProducing()
        elif self._resuming is None:
            # Not while the caller is still about its own business.
            self._resuming = self.context.reactor.callLater(0, self._resume)

    def _resume(self) -> None:
        self._resuming = None
        self._handOn()
        if not self._paused and not self._ended:
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """
        Nobody wants what the peer sends.
        """
        self.loseConnection()

    def closeTransport(self) -> None:
        """
        Close; what the peer still sends is thrown away.
        """
        self._stopDelivering()
        super().closeTransport()
        if self._farewell is not None:
            self.dataReceived = self._farewell.discard  # type: ignore[method-assign]

    def abortConnection(self) -> None:
        """
        Close at once.
        """
        self._stopDelivering()
        super().abortConnection()

    def getPeer(self) -> Any:
        """
        The client, as the proxy told.
        """
        return self._peer or self.transport.getPeer()

    def getHost(self) -> Any:
        """
        Where the client connected to, as the proxy told.
        """
        return self._host or self.transport.getHost()


def _twistedAddress(end: codec.Address, transport: codec.Transport) -> Any:
    if isinstance(end, codec.UNIXPath):
        return UNIXAddress(end.path or None)
    kind: Any = "UDP" if transport is codec.Transport.DGRAM else "TCP"
    if isinstance(end.host, IPv6):
        # As the kernel writes them, so that there is one spelling of a client.
        return IPv6Address(kind, socket.inet_ntop(socket.AF_INET6, end.host.packed), end.port)
    return IPv4Address(kind, str(end.host), end.port)


def _ignore(data: bytes) -> None:
    """Bytes that come after the end go nowhere."""
