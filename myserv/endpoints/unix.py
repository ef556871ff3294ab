"""
UNIX sockets: C{unix:} for streams and C{unixgram:} for datagrams.

The sockets are made here rather than by the reactor.  Twisted binds first and
sets the mode afterwards, so that for a moment anybody may connect; it leaves
the files of datagram sockets behind; it removes, when it closes, whatever then
stands at the path; and where nothing does, it never finishes closing.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from attrs import frozen
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, execute
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from myserv.endpoints.accepting import AcceptingPort
from myserv.endpoints.prompt import UNIXTransport
from myserv.endpoints.receiving import UNIXDatagramPort
from myserv.endpoints.tcp import BACKLOG, MAXIMUM_BACKLOG
from myserv.interfaces import IDatagramServerEndpoint, IPeerCredentials
from myserv.options.declare import option

MAXIMUM_DATAGRAM: Final = 262144
"""Bytes to read at a time: Linux lets a sender send up to net.core.wmem_max,
212,992 by default."""

MAXIMUM_PATH: Final = 107
"""Bytes of a socket file's path: sun_path has 108, the last of them zero (unix(7))."""

_LOCK_TRIES: Final = 100
_LOCK_PAUSE: Final = 0.01

_UCRED: Final = struct.Struct("3i")

_SO_PEERGROUPS: Final = 59
"""See asm-generic/socket.h; Linux has it since 4.13, Python has no name for it."""

_GROUPS_SIZE: Final = 1024
"""Bytes, of four for each group: as much as Python's getsockopt takes.  Of a process
with more than 256 groups only the first is known."""

_MODE_HELP: Final = "the permissions of the socket file, in octal"


def _checkAddress(address: str) -> None:
    if not address:
        raise ValueError("the path of the socket file is empty")
    if "\0" in address:
        raise ValueError(f"the path {address!r} holds a zero byte: write one in the file system")


def _checkMode(mode: str) -> int:
    try:
        value = int(mode, 8)
    except ValueError:
        value = -1
    if not 0 <= value <= 0o777:
        raise ValueError(f'the mode {mode!r} is not octal permissions: write three digits, "660"')
    return value


@frozen
class UNIXOptions:
    """What may follow C{unix:}, in Twisted's order."""

    address: str = option(help="the path of the socket file", positional=True)
    mode: str = option("666", help=_MODE_HELP, positional=True)
    backlog: int = option(
        BACKLOG,
        help="connections that may wait to be accepted",
        positional=True,
        minimum=0,
        maximum=MAXIMUM_BACKLOG,
    )
    lockfile: bool = option(
        True, help="replace the file of a server that is gone; false never does", positional=True
    )

    def __attrs_post_init__(self) -> None:
        _checkAddress(self.address)
        _checkMode(self.mode)


@frozen
class UNIXDatagramOptions:
    """What may follow C{unixgram:}."""

    address: str = option(help="the path of the socket file", positional=True)
    mode: str = option("666", help=_MODE_HELP, positional=True)
    lockfile: bool = option(
        True, help="replace the file of a server that is gone; false never does"
    )

    def __attrs_post_init__(self) -> None:
        _checkAddress(self.address)
        _checkMode(self.mode)


@implementer(IStreamServerEndpoint)
class UNIXEndpoint:
    """
    A UNIX stream socket in the file system.
    """

    def __init__(self, reactor: Any, options: UNIXOptions) -> None:
        self._reactor = reactor
        self._options = options

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        Bind the path and accept connections.
        """
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        options = self._options
        file = SocketFile(
            socket.SOCK_STREAM,
            options.address,
            options.mode,
            options.lockfile,
            backlog=options.backlog,
        )
        return listenAt(file.socket, factory, self._reactor, file.remove)


@implementer(IDatagramServerEndpoint)
class UNIXDatagramEndpoint:
    """
    A UNIX datagram socket in the file system.
    """

    def __init__(self, reactor: Any, options: UNIXDatagramOptions) -> None:
        self._reactor = reactor
        self._options = options

    def listen(self, protocol: DatagramProtocol) -> Deferred[IListeningPort]:
        """
        Bind the path and receive datagrams.
        """
        return execute(self._listen, protocol)

    def _listen(self, protocol: DatagramProtocol) -> IListeningPort:
        options = self._options
        file = SocketFile(socket.SOCK_DGRAM, options.address, options.mode, options.lockfile)
        port = UNIXDatagramPort(file.socket, protocol, self._reactor, MAXIMUM_DATAGRAM, file.remove)
        port.startListening()
        return port


class SocketFile:
    """
    A UNIX socket bound to a path.

    @ivar socket: The socket, not blocking.
    """

    def __init__(
        self,
        socketType: socket.SocketKind,
        path: str,
        mode: str,
        replaceStale: bool,
        *,
        backlog: int | None = None,
    ) -> None:
        """
        Args:
            socketType: C{SOCK_STREAM} or C{SOCK_DGRAM}.
            path: Where to.
            mode: The file's permissions, in octal; it never has others.
            replaceStale: A socket file that nobody listens at is replaced.
            backlog: Listen for connections, and let so many wait.

        Raises:
            CannotListenError: It cannot be bound.
        """
        self._path = os.path.abspath(path)
        sock = socket.socket(socket.AF_UNIX, socketType)
        sock.setblocking(False)
        try:
            if len(os.fsencode(self._path)) > MAXIMUM_PATH:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
            with _alone(os.path.dirname(self._path)):
                if replaceStale:
                    _removeStale(self._path, socketType)
                umask = os.umask(0o777 & ~int(mode, 8))
                try:
                    sock.bind(self._path)
                finally:
                    os.umask(umask)
                if backlog is not None:
                    sock.listen(backlog)
            self._inode = os.stat(self._path).st_ino
        except OSError as error:
            sock.close()
            # The path as the operator wrote it.
            raise CannotListenError(None, path, error) from None
        self.socket = sock

    def remove(self) -> None:
        """
        Remove the file, unless another server has put its own in its place.

        One that cannot be removed stays: whoever starts next replaces it.
        """
        # It may be gone, and a process that dropped its privileges may have no
        # right to remove what it made with them.
        with suppress(OSError):
            if os.stat(self._path).st_ino == self._inode:
                os.unlink(self._path)


@contextmanager
def _alone(directory: str) -> Iterator[None]:
    # A socket that another server has bound and does not listen on yet looks as
    # if nobody did.  Whoever looks holds a lock, which no file is left behind by.
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        # It cannot be read; bind() tells what else is wrong with it.
        yield
        return
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    # Nobody holds it for long, and what does is not one of us.
    for _ in range(_LOCK_TRIES):
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_LOCK_PAUSE)


def _removeStale(path: str, socketType: socket.SocketKind) -> None:
    # Only connecting tells whether anybody still listens at a socket file.
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
    except FileNotFoundError:
        if os.path.islink(path):
            raise OSError(errno.ENOLINK, "a symbolic link stands there and leads nowhere") from None
        return
    with socket.socket(socket.AF_UNIX, socketType) as probe:
        probe.setblocking(False)
        if probe.connect_ex(path) == errno.ECONNREFUSED:
            os.unlink(path)


@implementer(IPeerCredentials)
@frozen
class PeerCredentials:
    """
    Who is at the other end of a UNIX socket; see C{SO_PEERCRED} in unix(7).
    """

    pid: int
    uid: int
    gid: int
    groups: tuple[int, ...]


class StreamTransport(UNIXTransport):
    """
    One connection over a UNIX socket.
    """

    @property
    def peerCredentials(self) -> PeerCredentials:
        """
        Who is at the other end.
        """
        raw = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        pid, uid, gid = _UCRED.unpack(raw)
        return PeerCredentials(pid, uid, gid, _groupsOf(self.socket, gid))


def _groupsOf(sock: Any, gid: int) -> tuple[int, ...]:
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_SIZE)
    except OSError:
        # An older kernel, or too many of them.
        return (gid,)
    others = struct.unpack(f"{len(raw) // 4}I", raw)
    return (gid, *(each for each in others if each != gid))


class StreamPort(AcceptingPort):
    """
    A port around a UNIX socket that is listening already.
    """

    kind = "UNIX"
    transport = StreamTransport

    def _describe(self) -> str:
        return repr(self.socket.getsockname())

    def _prepare(self) -> None:
        # There is no TCP to be told anything.
        pass

    def buildAddress(self, address: Any) -> UNIXAddress:
        """
        Make an address for protocols of one of the system's.
        """
        return UNIXAddress(address or None)


def _nothing() -> None:
    """Nobody wants to know that the port has closed."""


def listenAt(
    sock: socket.socket,
    factory: IProtocolFactory,
    reactor: Any,
    closed: Callable[[], None] = _nothing,
) -> IListeningPort:
    """
    Accept the connections of a UNIX socket that is listening already.

    Args:
        sock: The socket, not blocking; it is closed with the port.
        factory: Builds the protocols.
        reactor: Makes the port, if it can make one that leaves the socket's file
            alone: the native one does.
        closed: Called when the port closes.
    """
    adopt = getattr(reactor, "adoptUNIXSocket", None)
    if adopt is not None:
        adopted: IListeningPort = adopt(sock, factory, closed)
        return adopted
    port = StreamPort(sock, factory, reactor, closed)
    port.startListening()
    return port
