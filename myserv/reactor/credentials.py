"""
Who is at the other end of a UNIX socket; see C{SO_PEERCRED} in unix(7).
"""

from __future__ import annotations

import socket
import struct
from typing import Any, Final, NamedTuple

_UCRED: Final = struct.Struct("3i")

_SO_PEERGROUPS: Final = 59
"""See asm-generic/socket.h; Linux has it since 4.13, Python has no name for it."""

_GROUPS_SIZE: Final = 1024
"""Bytes, of four for each group: as much as Python's getsockopt takes.  Of a process
with more than 256 groups only the first is known."""


class Credentials(NamedTuple):
    """
    A process and its owner, as they were when it connected.
    """

    pid: int
    uid: int
    gid: int
    groups: tuple[int, ...]


class Credentialed:
    """
    A transport that can say whose its peer is.
    """

    socket: Any

    @property
    def peerCredentials(self) -> Credentials:
        """
        Who is at the other end.

        Raises:
            OSError: The connection is over.
        """
        raw = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        pid, uid, gid = _UCRED.unpack(raw)
        return Credentials(pid, uid, gid, _groupsOf(self.socket, gid))


def _groupsOf(sock: Any, gid: int) -> tuple[int, ...]:
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_SIZE)
    except OSError:
        # An older kernel, or too many of them.
        return (gid,)
    others = struct.unpack(f"{len(raw) // 4}I", raw)
    return (gid, *(each for each in others if each != gid))
