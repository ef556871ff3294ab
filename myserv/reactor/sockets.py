"""
Sockets whose kind costs nothing to ask for.

The C{family} and C{type} of Python's own are looked up in an enumeration each time,
and uvloop asks for both whenever it makes a transport.
"""

from __future__ import annotations

import os
import socket


class _Inet(socket.socket):
    __slots__ = ()
    family = socket.AF_INET
    type = socket.SOCK_STREAM


class _Inet6(socket.socket):
    __slots__ = ()
    family = socket.AF_INET6
    type = socket.SOCK_STREAM


class _Unix(socket.socket):
    __slots__ = ()
    family = socket.AF_UNIX
    type = socket.SOCK_STREAM


CLASSES = {socket.AF_INET: _Inet, socket.AF_INET6: _Inet6, socket.AF_UNIX: _Unix}
"""By address family: called with family, type, protocol and descriptor."""


def wrap(family: int, descriptor: int) -> socket.socket:
    """
    Make a stream socket of its descriptor, which is its own from then on.
    """
    os.set_blocking(descriptor, False)
    kind = CLASSES[socket.AddressFamily(family)]
    return kind(family, socket.SOCK_STREAM, 0, descriptor)
