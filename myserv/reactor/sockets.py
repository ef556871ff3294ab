"""
The sockets of connections: descriptors, until somebody asks for more.

To make a socket object of a descriptor costs as much as to accept it, and most
connections never need one.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable


class Lent(socket.socket):
    """
    A connection's socket in the hands of whoever asked for it.

    @ivar whenClosed: Called once, instead of closing it.
    """

    whenClosed: Callable[[], object] | None = None

    def close(self) -> None:
        """
        Tell the connection, which ends and has uvloop close the socket.

        libuv ends the process when a descriptor is gone that it is about to watch.
        """
        told, self.whenClosed = self.whenClosed, None
        if told is not None:
            told()

    def detach(self) -> int:
        """
        Give a duplicate of the descriptor away, and end the connection here.
        """
        number = os.dup(self.fileno())
        self.close()
        return number

    def dup(self) -> socket.socket:  # type: ignore[override] # it is none of these
        """
        Make a socket of its own; it does not block, because the two are one in that.
        """
        other = socket.socket(self.family, self.type, self.proto, os.dup(self.fileno()))
        other.setblocking(False)
        return other


class Descriptor:
    """
    The descriptor of a connected stream socket: what uvloop takes for the socket
    itself, and closes.

    @ivar family: That of a UNIX socket for all of them.  uvloop reads, writes and
        closes TCP sockets as it does those; but it asks each TCP socket for both
        addresses and keeps them, and has it send without delay.  Nobody needs the
        former, and the latter a connection has from its port.
    """

    __slots__ = ("_family", "_number", "_socket")

    family = socket.AF_UNIX
    type = socket.SOCK_STREAM

    def __init__(self, number: int, family: int) -> None:
        """
        Args:
            number: Its own from now on.
            family: What the socket really is.
        """
        self._number = number
        self._family = family
        self._socket: Lent | None = None

    def fileno(self) -> int:
        """
        The number, -1 after the end.
        """
        return self._number

    @property
    def socket(self) -> Lent:
        """
        The socket, for its options.

        Raises:
            OSError: The connection is over.
        """
        if self._socket is None:
            if self._number < 0:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            self._socket = Lent(self._family, self.type, 0, self._number)
            # So it is already, and its object is to know it.
            self._socket.setblocking(False)
        return self._socket

    def destroy(self) -> None:
        """
        Close the descriptor: uvloop has not got it.
        """
        number = self._number
        self.close()
        os.close(number)

    def close(self) -> None:
        """
        Be nobody's any more: uvloop closes the descriptor, or has done so.
        """
        self._number = -1
        if self._socket is not None:
            # Whoever kept it is not to meet the descriptor's next owner.
            self._socket.whenClosed = None
            socket.socket.detach(self._socket)


def own(number: int, family: int) -> Descriptor:
    """
    Take over a stream socket by its number.
    """
    os.set_blocking(number, False)
    taken = Descriptor(number, family)
    if family != socket.AF_UNIX:
        taken.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return taken
