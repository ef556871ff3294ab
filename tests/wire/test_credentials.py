"""Who is at the other end of a UNIX socket."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from zope.interface.verify import verifyObject

from myserv.endpoints.parse import parseEndpoint
from myserv.interfaces import IPeerCredentials
from myserv.server.connection import Connection
from myserv.server.stream import StreamListener

GROUPS = () if os.getuid() else (4711, os.getgid(), 4712)
"""Which other groups the client has; only root can give it any."""


class Greeter(Protocol):
    """Tells a peer who it is."""

    groups: tuple[int, ...] = ()

    def connectionMade(self) -> None:
        """Say it and leave."""
        assert isinstance(self.transport, Connection)
        peer = self.transport.peerCredentials
        assert verifyObject(IPeerCredentials, peer)
        Greeter.groups = peer.groups
        self.transport.write(f"{peer.pid} {peer.uid} {peer.gid}".encode())
        self.transport.loseConnection()


def ask(path: Path) -> tuple[bytes, tuple[int, int, int]]:
    """Connect from a process of its own; return what it heard and who it was."""
    client = subprocess.run(
        [sys.executable, "-c", CLIENT, str(path)],
        capture_output=True,
        check=True,
        timeout=20,
        extra_groups=GROUPS or None,
    )
    pid, heard = client.stdout.split(maxsplit=1)
    return heard, (int(pid), os.getuid(), os.getgid())


CLIENT = """
import os, socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(sys.argv[1])
    print(os.getpid(), sock.makefile().read())
"""


@pytest_twisted.ensureDeferred
async def test_aProtocolKnowsItsPeer(tmp_path: Path) -> None:
    """Process, user and group, through the connection."""
    path = tmp_path / "sock"
    endpoint = parseEndpoint(f"unix:{path}")
    listener = StreamListener(
        "greeter",
        str(endpoint),
        endpoint.openStream(reactor).place,
        Factory.forProtocol(Greeter),
        reactor,
        lambda event: None,
    )
    await listener.start()
    try:
        heard, client = await deferToThread(ask, path)
        assert tuple(map(int, heard.split())) == client
        assert Greeter.groups[0] == os.getgid()
        assert sorted(Greeter.groups) == sorted({os.getgid(), *(GROUPS or os.getgroups())})
    finally:
        await maybeDeferred(listener.stop)


@pytest_twisted.ensureDeferred
async def test_aSocketThatWasHandedOver(tmp_path: Path) -> None:
    """An inherited UNIX socket knows its peers as well."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "sock"))
        listening.listen()
        endpoint = parseEndpoint(f"fd:{listening.fileno()}")
        port = await endpoint.openStream(reactor).listen(Factory.forProtocol(Direct))
        try:
            heard, client = await deferToThread(ask, tmp_path / "sock")
            assert int(heard) == client[0]
        finally:
            await maybeDeferred(port.stopListening)


class Direct(Protocol):
    """Tells a peer its process, without a connection between."""

    def connectionMade(self) -> None:
        """Say it and leave."""
        transport: Any = self.transport
        transport.write(str(transport.peerCredentials.pid).encode())
        transport.loseConnection()
