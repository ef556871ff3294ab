"""
The kit for testing protocols: a whole server in memory, and what to ask of it.

L{hostPlugin} serves a plugin in memory, L{checkStreamPlugin} and
L{checkDatagramPlugin} ask of it what a server asks of every protocol, and
L{myserv.testing.fixtures} is a pytest plugin that fails tests which leave
something behind.  Nothing else here needs pytest.
"""

from myserv.testing.conversation import Answer, Exchange, chunkings
from myserv.testing.datagram import (
    MAX_DATAGRAM,
    MemoryDatagramEndpoint,
    MemoryDatagramPeer,
    MemoryDatagramPort,
)
from myserv.testing.datagram_checks import checkDatagramPlugin
from myserv.testing.hosting import MemoryServer, hostPlugin
from myserv.testing.logged import LoggedFailures
from myserv.testing.reactor import SteppedReactor
from myserv.testing.recording import RecordingObserver
from myserv.testing.stream import SOCKET_BUFFER, MemoryEndpoint, MemoryPeer, MemoryPort
from myserv.testing.stream_checks import checkStreamPlugin

__all__ = [
    "MAX_DATAGRAM",
    "SOCKET_BUFFER",
    "Answer",
    "Exchange",
    "LoggedFailures",
    "MemoryDatagramEndpoint",
    "MemoryDatagramPeer",
    "MemoryDatagramPort",
    "MemoryEndpoint",
    "MemoryPeer",
    "MemoryPort",
    "MemoryServer",
    "RecordingObserver",
    "SteppedReactor",
    "checkDatagramPlugin",
    "checkStreamPlugin",
    "chunkings",
    "hostPlugin",
]
