"""
Receiving datagrams many at a time, with recvmmsg(2) where it is to be had.

It is a leaf: it knows neither Twisted nor uvloop, so that ports which are not of this
reactor can use it.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any, Final

BATCH: Final = 64
"""Datagrams received with one system call, at most."""

LARGEST: Final = 65_536
"""Bytes of one datagram, at most: UDP has none that is longer."""

SOURCES: Final = 16_384
"""Addresses that are remembered, at most: forged ones are not to fill the memory."""

Taken = deque[tuple[bytes, Any]]
"""Datagrams with their sources, the oldest first."""

_SO_DOMAIN: Final[int | None] = getattr(socket, "SO_DOMAIN", None)

_DONTWAIT: Final = getattr(socket, "MSG_DONTWAIT", 0)

# The structures below are those of the kernel with pointers of 64 bits.
_PLAUSIBLE: Final = sys.platform == "linux" and ctypes.sizeof(ctypes.c_void_p) == 8

_SIZES: Final = {socket.AF_INET: 16, socket.AF_INET6: 28}
"""Of a sockaddr, by its family."""


class _Piece(ctypes.Structure):
    # struct iovec
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]


class _Header(ctypes.Structure):
    # struct msghdr
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("nameSize", ctypes.c_uint32),
        ("pieces", ctypes.c_void_p),
        ("pieceCount", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controlSize", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class _Message(ctypes.Structure):
    # struct mmsghdr
    _fields_ = [("header", _Header), ("length", ctypes.c_uint)]


@cache
def _memory(size: int) -> mmap.mmap:
    # Not in the heap: pages that nobody ever wrote to are no memory, and small datagrams
    # touch one each.  Private, so that a child of fork(2) does not receive into ours: it
    # copies what it writes to.
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _startOf(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


class _Vector:
    """
    Where the kernel is to put datagrams and their sources.

    All of a process have the same memory, and what was received is copied out at once,
    so there is one thread that receives: the reactor's.

    @ivar where: For the system call.
    @ivar lengths: Those of the datagrams that were received.
    """

    def __init__(self, nameSize: int, size: int) -> None:
        """
        Args:
            nameSize: Bytes of a source.
            size: Bytes of a datagram; what is longer is cut off.
        """
        self.datagrams = _memory(BATCH * LARGEST)
        self.names = _memory(BATCH * max(_SIZES.values()))
        datagrams, names = _startOf(self.datagrams), _startOf(self.names)
        # Nobody else holds the pieces.
        self._pieces = (_Piece * BATCH)()
        messages = (_Message * BATCH)()
        for n in range(BATCH):
            piece, header = self._pieces[n], messages[n].header
            piece.base = datagrams + n * LARGEST
            piece.size = min(size, LARGEST)
            header.name = names + n * nameSize
            header.nameSize = nameSize
            header.pieces = ctypes.addressof(piece)
            header.pieceCount = 1
        self.where = ctypes.byref(messages)
        each = ctypes.sizeof(ctypes.c_uint)
        self.lengths: memoryview[int] = (
            memoryview(messages)
            .cast("B")
            .cast("I")[_Message.length.offset // each :: ctypes.sizeof(_Message) // each]
        )

    def copy(self, number: int) -> list[bytes]:
        """
        Make objects of the first few datagrams.
        """
        datagrams = self.datagrams
        placed = zip(_STARTS, self.lengths[:number].tolist())  # noqa: B905 - strict= costs 0.1 us
        return [datagrams[start : start + length] for start, length in placed]


_vectorFor = cache(_Vector)

_STARTS: Final = range(0, BATCH * LARGEST, LARGEST)


@cache
def _splitter(nameSize: int, number: int) -> Callable[[mmap.mmap], tuple[bytes, ...]]:
    return struct.Struct(f"{nameSize}s" * number).unpack_from


class _Sources(dict[bytes, tuple[str, int]]):
    """
    Host and port of every sockaddr that was met: to look one up costs less than
    to write it out again.
    """

    def __missing__(self, name: bytes) -> tuple[str, int]:
        if len(self) >= SOURCES:
            self.clear()
        port = int.from_bytes(name[2:4])
        if len(name) == _SIZES[socket.AF_INET]:
            source = socket.inet_ntop(socket.AF_INET, name[4:8]), port
        else:
            source = socket.inet_ntop(socket.AF_INET6, name[8:24]), port
        self[name] = source
        return source


_sources: Final = _Sources()


@cache
def _findCall() -> Callable[..., int] | None:
    if not _PLAUSIBLE:
        return None
    try:
        # The interpreter's lock is kept: it does not wait.  And the types of its arguments
        # are not stated, since those that it gets are right and checking costs 0.4 us.
        call: Callable[..., int] = ctypes.PyDLL(None, use_errno=True).recvmmsg
        return call if _works(call) else None
    except (AttributeError, OSError):
        return None


def _works(call: Callable[..., int]) -> bool:
    # A sandbox may forbid it.
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        theirs.send(b"1")
        theirs.send(b"22")
        # Not one that others use: these have no names, and their size becomes 0.
        vector = _Vector(0, LARGEST)
        received = call(ours.fileno(), vector.where, BATCH, _DONTWAIT, None)
    return received == 2 and vector.copy(received) == [b"1", b"22"]


class Batches:
    """
    Receives from a UDP socket, many datagrams with each system call.

    @ivar most: How many it takes at once; when it takes fewer, no more are there, or an
        error that the kernel keeps for the next time.
    """

    most: Final = BATCH

    def __init__(self, sock: socket.socket, call: Callable[..., int]) -> None:
        """
        Args:
            sock: The socket, of IPv4 or IPv6.
            call: recvmmsg(2).
        """
        # Its number may be another's when it has closed; it knows.
        self._fileno = sock.fileno
        self._call = call
        self._nameSize = _SIZES[sock.family]

    def receive(self, size: int, taken: Taken) -> int:
        """
        Take what is there, and do not wait.

        Args:
            size: Bytes of a datagram; what is longer is cut off.
            taken: Gets the datagrams, each with host and port of its source.

        Returns:
            How many they are, at least one.

        Raises:
            BlockingIOError: There is none.
            OSError: What C{recvfrom} would have raised.
        """
        nameSize = self._nameSize
        vector = _vectorFor(nameSize, size)
        while (received := self._call(self._fileno(), vector.where, BATCH, _DONTWAIT, None)) < 0:
            number = ctypes.get_errno()
            if number != errno.EINTR:
                raise OSError(number, os.strerror(number))
        names = vector.names
        if received == 1:
            # So it is where there is little to do, and then this is a third quicker.
            taken.append((vector.datagrams[: vector.lengths[0]], _sources[names[:nameSize]]))
        else:
            sources = map(_sources.__getitem__, _splitter(nameSize, received)(names))
            taken.extend(zip(vector.copy(received), sources))  # noqa: B905 - as above
        return received


class Singly:
    """
    Receives from any datagram socket, one at a time; see L{Batches}.
    """

    most: Final = 1

    def __init__(self, sock: Any) -> None:
        self._recvfrom = sock.recvfrom

    def receive(self, size: int, taken: Taken) -> int:
        """
        Take one, see L{Batches.receive}.
        """
        datagram, source = self._recvfrom(size)
        # Of IPv6 there is more to it than host and port.
        taken.append((datagram, source[:2] if type(source) is tuple else source))
        return 1


def receiverOf(sock: Any) -> Batches | Singly:
    """
    Find the best way to receive from a socket.

    Args:
        sock: The socket; one that is none of Python's own has to have C{recvfrom}.

    Returns:
        What receives.
    """
    if isinstance(sock, socket.socket) and sock.family in _SIZES and _isOfItsFamily(sock):
        call = _findCall()
        if call is not None:
            return Batches(sock, call)
    return Singly(sock)


def _isOfItsFamily(sock: socket.socket) -> bool:
    # Whoever made an object of a descriptor may have been wrong about it.
    if _SO_DOMAIN is None:
        return True
    return sock.getsockopt(socket.SOL_SOCKET, _SO_DOMAIN) == sock.family
