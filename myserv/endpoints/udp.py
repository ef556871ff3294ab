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

from myserv.endpoints.tcp import checkInterface
from myserv.interfaces import IDatagramServerEndpoint
from myserv.options.declare import option
from myserv.options.values import MAXIMUM_PORT

MAXIMUM_DATAGRAM: Final = 65536
"""Bytes to read at a time: more than any UDP payload (65,507 over IPv4), because
what is longer than the buffer is cut off without a word; Twisted reads 8192."""


AMPLIFICATION: Final = 3.0
"""How many times what it sent a source may be sent (RFC 9000, section 8.1)."""

_AMPLIFICATION_HELP: Final = (
    "how many times what it sent a source may be sent before it has proved its address; "
    "0 takes the limit away, and lets forged sources aim what is sent at anybody"
)


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
    amplification: float = option(AMPLIFICATION, help=_AMPLIFICATION_HELP, minimum=0)

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
    amplification: float = option(AMPLIFICATION, help=_AMPLIFICATION_HELP, minimum=0)

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
        opener = self._shared if self._options.reusePort else self._reactor.listenUDP
        return execute(
            opener,
            self._options.port,
            protocol,
            interface=interface,
            maxPacketSize=MAXIMUM_DATAGRAM,
        )

    def _shared(
        self, port: int, protocol: DatagramProtocol, interface: str, maxPacketSize: int
    ) -> IListeningPort:
        # listenUDP cannot share a port, so the socket is made here.
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            try:
                sock.bind((interface, port))
            except OSError as error:
                raise CannotListenError(interface, port, error) from None
            opened: IListeningPort = self._reactor.adoptDatagramPort(
                sock.fileno(), family, protocol, maxPacketSize=maxPacketSize
            )
            return opened
