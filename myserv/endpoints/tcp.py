"""
TCP: C{tcp:} and C{tcp6:}.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Any, Final

from attrs import frozen
from twisted.internet.abstract import isIPv6Address
from twisted.internet.defer import Deferred, execute
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.tcp import makeBinding
from zope.interface import implementer

from myserv.endpoints.accepting import AcceptingPort
from myserv.endpoints.stock_reactor import isStock
from myserv.options.declare import option
from myserv.options.values import MAXIMUM_PORT

BACKLOG: Final = 4096
"""Connections that may wait to be accepted.  Twisted's 50 makes a burst of 400
wait for a retransmitted SYN, a second; 4096 is what Linux has allowed by
default (net.core.somaxconn) since 5.4."""

MAXIMUM_BACKLOG: Final = 2**31 - 1
"""What listen(2) takes; the kernel makes no more of it than net.core.somaxconn."""

_HELP_INTERFACE: Final = "the address to bind; empty for every IPv4 address"
_NUMERIC: Final = re.compile(r"[0-9.]+")


def checkInterface(interface: str, *, hostname: bool) -> str:
    """
    Check the address that a socket is to be bound to.

    Args:
        interface: An IP address, with or without brackets; or empty.
        hostname: A host name will do as well.

    Returns:
        The address without brackets.

    Raises:
        ValueError: It cannot be bound to.
    """
    bare = interface[1:-1] if interface.startswith("[") and interface.endswith("]") else interface
    try:
        if bare:
            ipaddress.ip_address(bare)
    except ValueError:
        if not hostname or ":" in bare or _NUMERIC.fullmatch(bare):
            raise ValueError(
                f'the interface {interface!r} is not an IP address: write one such as "127.0.0.1"'
            ) from None
    return bare


def socketAddress(interface: str, port: int) -> Any:
    """
    Make of an interface and a port what C{bind} takes.

    Args:
        interface: An IP address, or a name; empty for every IPv4 address.
        port: The port.

    Raises:
        OSError: The address is one of an interface that is not there.
    """
    if not isIPv6Address(interface):
        return interface, port
    # A link-local address is one together with its interface's number only.
    [found, *_] = socket.getaddrinfo(interface, port, flags=socket.AI_NUMERICHOST)
    return found[4]


@frozen
class TCPOptions:
    """What may follow C{tcp:}, in Twisted's order."""

    port: int = option(
        help="the port; 0 lets the system choose", positional=True, minimum=0, maximum=MAXIMUM_PORT
    )
    interface: str = option("", help=_HELP_INTERFACE, positional=True)
    backlog: int = option(
        BACKLOG,
        help="connections that may wait to be accepted",
        positional=True,
        minimum=0,
        maximum=MAXIMUM_BACKLOG,
    )
    reusePort: bool = option(False, help="share the port with other processes (SO_REUSEPORT)")

    def __attrs_post_init__(self) -> None:
        checkInterface(self.interface, hostname=True)


@frozen
class TCP6Options:
    """What may follow C{tcp6:}, in Twisted's order."""

    port: int = option(
        help="the port; 0 lets the system choose", positional=True, minimum=0, maximum=MAXIMUM_PORT
    )
    backlog: int = option(
        BACKLOG,
        help="connections that may wait to be accepted",
        positional=True,
        minimum=0,
        maximum=MAXIMUM_BACKLOG,
    )
    interface: str = option("::", help="the address to bind", positional=True)
    reusePort: bool = option(False, help="share the port with other processes (SO_REUSEPORT)")

    def __attrs_post_init__(self) -> None:
        checkInterface(self.interface, hostname=False)


@implementer(IStreamServerEndpoint)
class TCPEndpoint:
    """
    A TCP port.
    """

    def __init__(self, reactor: Any, options: TCPOptions | TCP6Options) -> None:
        self._reactor = reactor
        self._options = options

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        Bind the port and accept connections.
        """
        options = self._options
        interface = checkInterface(options.interface, hostname=True)
        if isStock(self._reactor):
            return execute(self._listen, protocolFactory, interface)
        # Twisted takes the wish to share a port in place of the port itself.
        port: Any = options.port
        if options.reusePort:
            port = makeBinding(interface, port, reuseAddress=True, reusePort=True)
        return execute(
            self._reactor.listenTCP,
            port,
            protocolFactory,
            backlog=options.backlog,
            interface=interface,
        )

    def _listen(self, factory: IProtocolFactory, interface: str) -> IListeningPort:
        options = self._options
        sock = bindTCP(interface, options.port, options.backlog, options.reusePort)
        port = AcceptingPort(sock, factory, self._reactor, shared=False)
        port.startListening()
        return port


def bindTCP(interface: str, port: int, backlog: int, reusePort: bool) -> socket.socket:
    """
    Make a socket that listens.

    Args:
        interface: The address, or the name of one; empty for every IPv4 address.
        port: The port; 0 lets the system choose.
        backlog: Connections that may wait to be accepted.
        reusePort: Share the port with other processes.

    Returns:
        The socket, not blocking.

    Raises:
        CannotListenError: It cannot be bound.
    """
    family = socket.AF_INET6 if isIPv6Address(interface) else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reusePort:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(socketAddress(interface, port))
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise CannotListenError(interface, port, error) from None
    return sock
