"""
What the rest of myserv is tried with on the native reactor; as
L{tests.wire.reactor_scenarios}: C{python -m tests.wire.native_scenarios NAME}.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.protocol import Factory, Protocol

from myserv.endpoints.parse import parseEndpoint
from myserv.limits import Limits
from myserv.reactor.stream import Stream
from myserv.server.stream import StreamListener
from tests.wire.reactor_scenarios import LOCAL, Builder, main, read, until


class Greeter(Protocol):
    """Says hello."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"hello")


async def opensEndpoints(reactor: Any) -> None:
    """What C{unix:} and C{fd:} accept is native, and their files are removed by whom they are."""
    directory = Path(tempfile.mkdtemp())
    theirs = [
        socket.create_server((LOCAL, 0)),
        socket.create_server(("::1", 0), family=socket.AF_INET6),
        socket.socket(socket.AF_UNIX),
    ]
    theirs[2].bind(str(directory / "theirs"))
    theirs[2].listen()
    factory = Builder()
    endpoints = [f"unix:{directory / 'ours'}:mode=600", *(f"fd:{each.fileno()}" for each in theirs)]
    ports = [await parseEndpoint(each).openStream(reactor).listen(factory) for each in endpoints]
    assert (directory / "ours").stat().st_mode & 0o777 == 0o600
    clients = []
    for sock in theirs:
        clients.append(socket.socket(sock.family))
        clients[-1].connect(sock.getsockname())
    clients.append(socket.socket(socket.AF_UNIX))
    clients[-1].connect(str(directory / "ours"))
    await until(reactor, lambda: [each.made for each in factory.built] == [True] * 4)
    for protocol in factory.built:
        assert isinstance(protocol.transport, Stream)
    for port in ports:
        await maybeDeferred(port.stopListening)
    assert os.listdir(directory) == ["theirs"]
    for sock in theirs:
        # It listens still: a reactor would have shut it down.
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    for each in (*clients, *theirs):
        each.close()
    await until(reactor, lambda: all(each.lost for each in factory.built))


async def checksIdentity(reactor: Any) -> None:
    """Whom a UNIX socket's rules let in is known before the protocol is."""
    assert await _started(reactor, os.getuid()) == 1
    assert await _started(reactor, os.getuid() + 1) == 0


async def _started(reactor: Any, user: int) -> int:
    path = Path(tempfile.mkdtemp()) / "s"
    endpoint = parseEndpoint(f"unix:{path}")
    listener = StreamListener(
        "test",
        str(endpoint),
        endpoint.openStream(reactor).place,
        Factory.forProtocol(Greeter),
        reactor,
        lambda event: None,
        limits=Limits(users=(str(user),)),
    )
    await listener.start()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        heard = await read(reactor, sock)
    started = listener.statistics().started
    assert heard == b"hello" * started
    await until(reactor, lambda: not listener.statistics().connections)
    await listener.stop()
    return started


if __name__ == "__main__":
    sys.exit(main(globals()[sys.argv[1]]))
