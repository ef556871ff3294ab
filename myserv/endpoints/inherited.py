"""
Sockets that somebody else opened for this process: C{fd:} and C{systemd:}.

Such a socket belongs to whoever opened it: it is neither bound nor removed
here, and it stays open when its listener stops, so that it can start again.
"""

from __future__ import annotations

import enum
import os
import socket
from collections.abc import Callable, MutableMapping
from typing import Any, Final, cast

from attrs import frozen
from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import DatagramProtocol
from twisted.python.systemd import ListenFDs
from zope.interface import implementer

from myserv.endpoints.accepting import AcceptingPort
from myserv.endpoints.receiving import UDPPort, UNIXDatagramPort
from myserv.endpoints.stock_reactor import isMadeFromStock, isStock
from myserv.endpoints.udp import AMPLIFICATION, AMPLIFICATION_HELP, MAXIMUM_DATAGRAM
from myserv.endpoints.unix import MAXIMUM_DATAGRAM as MAXIMUM_LOCAL
from myserv.endpoints.unix import listenAt
from myserv.errors import ListenError
from myserv.interfaces import IDatagramServerEndpoint
from myserv.options.declare import option

_MAXIMUM_DESCRIPTOR: Final = 2**31 - 1
"""It is an int of C's."""

MAXIMUM_SOCKETS: Final = 2**16
"""Sockets handed over to one process: more than there are ports."""

_AMPLIFICATION_HELP: Final = f"of datagrams: {AMPLIFICATION_HELP}; {AMPLIFICATION:g} when left out"

UNNAMED: Final = "unknown"
"""What sd_listen_fds_with_names(3) calls a socket without a name."""


class SocketType(enum.Enum):
    """What comes through a socket, in systemd's words."""

    STREAM = "STREAM"
    DGRAM = "DGRAM"


class Domain(enum.Enum):
    """A socket's address family, in systemd's words."""

    INET = "INET"
    INET6 = "INET6"
    UNIX = "UNIX"


@frozen
class DescriptorOptions:
    """What may follow C{fd:}."""

    fd: int = option(
        help="the number of the descriptor",
        positional=True,
        minimum=0,
        maximum=_MAXIMUM_DESCRIPTOR,
    )
    type: SocketType = option("STREAM", help="what comes through it")
    amplification: float | None = option(None, help=_AMPLIFICATION_HELP, minimum=0)

    def __attrs_post_init__(self) -> None:
        _checkAmplification(self)


@frozen
class SystemdOptions:
    """What may follow C{systemd:}, in Twisted's order."""

    domain: Domain | None = option(
        None, help="its address family; found out when left out", positional=True
    )
    index: int | None = option(
        None, help="which of the sockets handed over, from 0", positional=True, minimum=0
    )
    name: str | None = option(
        None, help="which by its FileDescriptorName= in the socket unit", positional=True
    )
    type: SocketType = option("STREAM", help="what comes through it")
    amplification: float | None = option(None, help=_AMPLIFICATION_HELP, minimum=0)

    def __attrs_post_init__(self) -> None:
        _checkAmplification(self)
        if (self.index is None) == (self.name is None):
            raise ValueError('give either "index" or "name"')


def _checkAmplification(options: DescriptorOptions | SystemdOptions) -> None:
    if options.amplification is not None and options.type is not SocketType.DGRAM:
        raise ValueError('"amplification" is for datagrams: write "type=DGRAM", or leave it out')


def openDescriptor(reactor: Any, options: DescriptorOptions) -> IStreamServerEndpoint:
    """
    Make the endpoint of C{fd:N}.
    """
    return InheritedEndpoint(reactor, lambda: options.fd)


def openDatagramDescriptor(reactor: Any, options: DescriptorOptions) -> IDatagramServerEndpoint:
    """
    Make the endpoint of C{fd:N:type=DGRAM}.
    """
    return InheritedDatagramEndpoint(reactor, lambda: options.fd)


def openSystemd(reactor: Any, options: SystemdOptions) -> IStreamServerEndpoint:
    """
    Make the endpoint of C{systemd:}.
    """
    return InheritedEndpoint(reactor, lambda: _find(options), options.domain)


def openDatagramSystemd(reactor: Any, options: SystemdOptions) -> IDatagramServerEndpoint:
    """
    Make the endpoint of C{systemd:} with C{type=DGRAM}.
    """
    return InheritedDatagramEndpoint(reactor, lambda: _find(options), options.domain)


def nameSockets(environ: MutableMapping[str, str], pid: int) -> None:
    """
    Give a name to each socket that systemd, or who plays it, handed over without one.

    Twisted takes none otherwise, though names are optional (sd_listen_fds(3)).

    Args:
        environ: The environment; C{LISTEN_FDNAMES} in it is completed.
        pid: This process, which the sockets may not be for.
    """
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") == str(pid) and count.isdecimal():
        names = list(filter(None, environ.get("LISTEN_FDNAMES", "").split(":")))
        missing = min(int(count), MAXIMUM_SOCKETS) - len(names)
        if missing > 0:
            environ["LISTEN_FDNAMES"] = ":".join(names + [UNNAMED] * missing)


# Now, because Twisted looks when its own parsers are imported, and never again.
nameSockets(os.environ, os.getpid())


def _handedOver() -> ListenFDs:
    # Twisted takes systemd's variables out of the environment when it is first
    # imported, and keeps what they said in its own parser.
    from twisted.plugins.twisted_core import systemdEndpointParser

    handed: ListenFDs = systemdEndpointParser._sddaemon
    return handed


def _find(options: SystemdOptions) -> int:
    handed = _handedOver()
    descriptors = handed.inheritedDescriptors()
    if not descriptors:
        raise ListenError("systemd handed over no sockets: is there a .socket unit for this?")
    if options.index is not None:
        if options.index >= len(descriptors):
            raise ListenError(
                f"systemd handed over {len(descriptors)} socket(s): the last index is "
                f"{len(descriptors) - 1}"
            )
        return descriptors[options.index]
    names = handed.inheritedNamedDescriptors()
    if options.name not in names:
        raise ListenError(
            f'systemd handed over no socket named "{options.name}": there is ' + ", ".join(names)
        )
    return names[options.name]


def _duplicate(
    descriptor: int, socketType: socket.SocketKind, domain: Domain | None
) -> socket.socket:
    try:
        duplicate = os.dup(descriptor)
        try:
            sock = socket.socket(fileno=duplicate)
        except OSError:
            os.close(duplicate)
            raise
    except OSError as error:
        raise ListenError(
            f"descriptor {descriptor} is not a socket that this process was given: {error.strerror}"
        ) from None
    try:
        _check(sock, descriptor, socketType, domain)
    except ListenError:
        sock.close()
        raise
    os.set_inheritable(descriptor, False)
    sock.setblocking(False)
    return sock


def _check(
    sock: socket.socket, descriptor: int, socketType: socket.SocketKind, domain: Domain | None
) -> None:
    if sock.type is not socketType:
        actual = sock.type.name.removeprefix("SOCK_")
        raise ListenError(f"descriptor {descriptor} is a socket of type={actual}")
    family = sock.family.name.removeprefix("AF_")
    if family not in Domain.__members__:
        raise ListenError(f"descriptor {descriptor} is a socket of the family {family}")
    if domain is not None and family != domain.value:
        raise ListenError(f"descriptor {descriptor} is a socket of domain={family}")
    if socketType is socket.SOCK_STREAM and not sock.getsockopt(
        socket.SOL_SOCKET, socket.SO_ACCEPTCONN
    ):
        raise ListenError(f"descriptor {descriptor} is a socket that does not listen")


class _Inherited:
    """
    What both kinds of endpoint know of their socket.
    """

    def __init__(self, reactor: Any, find: Callable[[], int], domain: Domain | None = None) -> None:
        """
        Args:
            reactor: Where it will listen.
            find: Tells the descriptor.
            domain: The family it has to be of.
        """
        self._reactor = reactor
        self._find = find
        self._domain = domain


@implementer(IStreamServerEndpoint)
class InheritedEndpoint(_Inherited):
    """
    A stream socket that somebody else opened.
    """

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        Accept the socket's connections.
        """
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        sock = _duplicate(self._find(), socket.SOCK_STREAM, self._domain)
        if sock.family is socket.AF_UNIX:
            return listenAt(sock, factory, self._reactor)
        if isStock(self._reactor):
            port = AcceptingPort(sock, factory, self._reactor)
            port.startListening()
            return port
        with sock:
            return cast(
                IListeningPort,
                self._reactor.adoptStreamPort(sock.fileno(), sock.family, factory),
            )


@implementer(IDatagramServerEndpoint)
class InheritedDatagramEndpoint(_Inherited):
    """
    A datagram socket that somebody else opened.
    """

    def listen(self, protocol: DatagramProtocol) -> Deferred[IListeningPort]:
        """
        Receive the socket's datagrams.
        """
        return execute(self._listen, protocol)

    def _listen(self, protocol: DatagramProtocol) -> IListeningPort:
        sock = _duplicate(self._find(), socket.SOCK_DGRAM, self._domain)
        if sock.family is socket.AF_UNIX:
            # No reactor adopts one.
            local = UNIXDatagramPort(sock, protocol, self._reactor, MAXIMUM_LOCAL)
            local.startListening()
            return local
        if isMadeFromStock(self._reactor):
            port = UDPPort(sock, protocol, self._reactor, MAXIMUM_DATAGRAM)
            port.startListening()
            return port
        with sock:
            return cast(
                IListeningPort,
                self._reactor.adoptDatagramPort(
                    sock.fileno(), sock.family, protocol, maxPacketSize=MAXIMUM_DATAGRAM
                ),
            )
