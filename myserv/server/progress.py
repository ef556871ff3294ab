"""
Whether a peer takes what it is sent.

A protocol's bytes wait in two places: in the transport, and in the kernel.  A slow
reader may empty the second for minutes before the first gets any shorter, so it
is the kernel that is asked where it can be.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Any, Final

_BYTES_ACKED_AT: Final = 120
"""Where C{tcpi_bytes_acked} stands in Linux's C{struct tcp_info} (since 4.1)."""

_TCP_INFO_SIZE: Final = _BYTES_ACKED_AT + 8

_TCP_INFO: Final = getattr(socket, "TCP_INFO", None)

_COUNT: Final = struct.Struct("=Q")


def bytesTaken(transport: Any) -> int | None:
    """
    Count the bytes that a peer has taken.

    Args:
        transport: A connection's transport, whatever its layers.

    Returns:
        What the peer's system has acknowledged; where that cannot be told, C{None}.
    """
    if _TCP_INFO is None:
        return None
    with contextlib.suppress(Exception):
        # Of a UNIX socket, of a pipe, of one that is closed: whatever it raises.
        info = transport.getHandle().getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _TCP_INFO_SIZE)
        (count,) = _COUNT.unpack_from(info, _BYTES_ACKED_AT)
        return int(count)
    return None


def bytesWaiting(transport: Any) -> int | None:
    """
    Count the bytes that wait in a transport because the kernel takes no more.

    Returns:
        C{None} where the transport does not tell.
    """
    getWriteBufferSize = getattr(transport, "getWriteBufferSize", None)
    return None if getWriteBufferSize is None else int(getWriteBufferSize())
