"""
Who is at the other end of a UNIX socket; see C{SO_PEERCRED} in unix(7).
"""

from __future__ import annotations

import socket
import struct
from typing import Any, Final, NamedTuple

_UCRED: Final = struct.Struct("3i")


class Credentials(NamedTuple):
    """
    A process and its owner, as they were when it connected.
    """

    pid: int
    uid: int
    gid: int


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
        return Credentials(*_UCRED.unpack(raw))
