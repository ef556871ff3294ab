"""
Who listens, by what the kernel tells.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_LISTENING: Final = {"tcp": "0A", "tcp6": "0A", "udp": "07", "udp6": "07"}
"""The state that an open server socket has in /proc/net, by table."""

_UNIX_LISTENS: Final = 0x10000
"""The flag of a UNIX socket that listens (__SO_ACCEPTCON)."""

_UNIX_DATAGRAM: Final = "0002"


def listeningSockets(session: int) -> set[str]:
    """
    Find the server sockets of a session's processes, by inode.

    Args:
        session: The session, which is the process id of its leader.
    """
    return _socketsOf(session) & set(_serverSockets())


def _socketsOf(session: int) -> set[str]:
    inodes = set()
    for process in Path("/proc").glob("[0-9]*"):
        # A process may be gone before we have read about it.
        with contextlib.suppress(OSError):
            if os.getsid(int(process.name)) != session:
                continue
            for descriptor in (process / "fd").iterdir():
                target = os.readlink(descriptor)
                if target.startswith("socket:["):
                    inodes.add(target[len("socket:[") : -1])
    return inodes


def _serverSockets() -> Iterator[str]:
    for table, listening in _LISTENING.items():
        file = Path("/proc/net", table)
        # A kernel without IPv6 has no table for it.
        for row in file.read_text().splitlines()[1:] if file.exists() else ():
            columns = row.split()
            if columns[3] == listening:
                yield columns[9]
    for row in Path("/proc/net/unix").read_text().splitlines()[1:]:
        columns = row.split()
        named = len(columns) > 7
        if int(columns[3], 16) & _UNIX_LISTENS or (named and columns[4] == _UNIX_DATAGRAM):
            yield columns[6]
