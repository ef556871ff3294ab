"""
UDP: C{udp:} and C{udp6:}.
"""

from __future__ import annotations

import socket
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import Deferred, execute
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from myserv.endpoints.receiving import UDPPort
from myserv.endpoints.stock_reactor import isMadeFromStock
from myserv.endpoints.tcp import checkInterface, socketAddress
from myserv.interfaces import IDatagramServerEndpoint
from myserv.options.declare import option
from myserv.options.values import MAXIMUM_PORT

MAXIMUM_DATAGRAM: Final = 65536
"""Bytes to read at a time: more than any UDP payload (65,507 over IPv4), because
what is longer than the buffer is cut off without a word; Twisted reads 8192."""


AMPLIFICATION: Final = 3.0
"""How many times what it sent a source may be sent (RFC 9000, section 8.1)."""

AMPLIFICATION_HELP: Final = (
    "how many times what it sent a source may be sent before it has proved its address; "
    "0 takes the limit away, and lets forged sources aim what is sent at anybody"
)
"""What an operator is told of it."""


@frozen
class UDPOptions:
    """What may follow C{udp:}."""

    port: int = option(
        help="the port; 0 lets the system choose", positional=True, minimum=0, maximum=MAXIMUM_PORT
    )
    interface: str = option(
        "", help="the address to bind; empty for every IPv4 address", positional=True
    )
    reusePort: bool = option(False, help="share the port with other processes (SO_REUSEPORT)")
    amplification: float = option(AMPLIFICATION, help=AMPLIFICATION_HELP, minimum=0)

    def __attrs_post_init__(self) -> None:
        checkInterface(self.interface, hostname=False)


@frozen
class UDP6Options:
    """What may follow C{udp6:}."""

    port: int = option(
        help="the port; 0 lets the system choose", positional=True, minimum=0, maximum=MAXIMUM_PORT
    )
    interface: str = option("::", help="the address to bind", positional=True)
    reusePort: bool = option(False, help="share the port with other processes (SO_REUSEPORT)")
    amplification: float = option(AMPLIFICATION, help=AMPLIFICATION_HELP, minimum=0)

    def __attrs_post_init__(self) -> None:
        checkInterface(self.interface, hostname=False)


@implementer(IDatagramServerEndpoint)
class UDPEndpoint:
    """
    A UDP port.
    """

    def __init__(self, reactor: Any, options: UDPOptions | UDP6Options) -> None:
        self._reactor = reactor
        self._options = options

    def listen(self, protocol: DatagramProtocol) -> Deferred[IListeningPort]:
        """
        Bind the port and receive datagrams.
        """
        interface = checkInterface(self._options.interface, hostname=False)
        options = self._options
        if isMadeFromStock(self._reactor):
            return execute(self._listen, protocol, interface)
        if options.reusePort:
            return execute(self._adopted, protocol, interface)
        return execute(
            self._reactor.listenUDP,
            options.port,
            protocol,
            interface=interface,
            maxPacketSize=MAXIMUM_DATAGRAM,
        )

    def _listen(self, protocol: DatagramProtocol, interface: str) -> IListeningPort:
        options = self._options
        sock = bindUDP(interface, options.port, options.reusePort)
        port = UDPPort(sock, protocol, self._reactor, MAXIMUM_DATAGRAM)
        port.startListening()
        return port

    def _adopted(self, protocol: DatagramProtocol, interface: str) -> IListeningPort:
        # listenUDP cannot share a port, so the socket is made here.
        with bindUDP(interface, self._options.port, reusePort=True) as sock:
            opened: IListeningPort = self._reactor.adoptDatagramPort(
                sock.fileno(), sock.family, protocol, maxPacketSize=MAXIMUM_DATAGRAM
            )
            return opened


def bindUDP(interface: str, port: int, reusePort: bool) -> socket.socket:
    """
    Make a socket that is bound.

    Args:
        interface: The address; empty for every IPv4 address.
        port: The port; 0 lets the system choose.
        reusePort: Share the port with other processes.

    Returns:
        The socket, not blocking.

    Raises:
        CannotListenError: It cannot be bound.
    """
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if reusePort:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(socketAddress(interface, port))
    except OSError as error:
        sock.close()
        raise CannotListenError(interface, port, error) from None
    return sock
