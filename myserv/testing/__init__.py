"""
The kit for testing protocols: a whole server in memory, and what to ask of it.

L{hostPlugin} serves a plugin in memory, L{checkStreamPlugin} and
L{checkDatagramPlugin} ask of it what a server asks of every protocol, and
L{myserv.testing.fixtures} is a pytest plugin that fails tests which leave
something behind.  Nothing else here needs pytest.
"""

from myserv.testing.datagram import (
    MAX_DATAGRAM,
    MemoryDatagramEndpoint,
    MemoryDatagramPeer,
    MemoryDatagramPort,
)
from myserv.testing.hosting import MemoryServer, hostPlugin
from myserv.testing.reactor import SteppedReactor
from myserv.testing.recording import RecordingObserver
from myserv.testing.stream import SOCKET_BUFFER, MemoryEndpoint, MemoryPeer, MemoryPort

__all__ = [
    "MAX_DATAGRAM",
    "SOCKET_BUFFER",
    "MemoryDatagramEndpoint",
    "MemoryDatagramPeer",
    "MemoryDatagramPort",
    "MemoryEndpoint",
    "MemoryPeer",
    "MemoryPort",
    "MemoryServer",
    "RecordingObserver",
    "SteppedReactor",
    "hostPlugin",
]
