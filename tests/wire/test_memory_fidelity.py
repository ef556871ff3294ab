"""The scenarios of the memory transport come out the same over loopback TCP."""

from __future__ import annotations

import socket
import struct
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from tests.testing.scenarios import SCENARIOS, Scenario

reactor: Any = _reactor
pytestmark = pytest.mark.wire

QUIET = 20
"""Looks in a row that see nothing new before a wire has settled."""


class SocketClient:
    """A client that has a socket and reads it when it is asked to settle."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, timeout=5)
        self._socket.setblocking(False)
        self._reading = True
        self._buffer = bytearray()
        self.writeClosed = False
        self.aborted = False

    @property
    def received(self) -> bytes:
        """What it has read."""
        return bytes(self._buffer)

    def send(self, data: bytes) -> None:
        """Send bytes that fit the kernel's buffer."""
        self._socket.sendall(data)

    def closeWrite(self) -> None:
        """Send no more."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Leave."""
        self._socket.close()

    def abort(self) -> None:
        """Reset the connection."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def pauseReading(self) -> None:
        """Read nothing."""
        self._reading = False

    def resumeReading(self) -> None:
        """Read again."""
        self._reading = True

    def poll(self) -> bool:
        """Read what there is, and say whether that was anything."""
        if not self._reading or self._socket.fileno() == -1 or self.writeClosed or self.aborted:
            return False
        try:
            data = self._socket.recv(1024 * 1024)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            self.aborted = True
        else:
            self._buffer += data
            self.writeClosed = not data
        return True


class SocketWire:
    """Plays scenarios over loopback TCP."""

    def __init__(self) -> None:
        self.clients: list[SocketClient] = []

    async def connect(self, protocol: Protocol) -> SocketClient:
        """Connect a client to a server that serves it with this protocol."""
        factory = Factory.forProtocol(lambda: protocol)
        factory.noisy = False
        port: Any = reactor.listenTCP(0, factory, interface="127.0.0.1")
        client = SocketClient(("127.0.0.1", port.getHost().port))
        self.clients.append(client)
        await self.settle()
        await port.stopListening()
        return client

    async def settle(self) -> None:
        """Wait until nothing more happens."""
        quiet = 0
        while quiet < QUIET:
            await deferLater(reactor, 0.001)
            read = [client.poll() for client in self.clients]
            quiet = 0 if any(read) else quiet + 1


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
@pytest_twisted.ensureDeferred
async def test_tcpPlaysScenario(scenario: Scenario) -> None:
    """What has to happen happens over TCP as it does in memory."""
    wire = SocketWire()
    played = await scenario.play(wire)
    assert played == list(scenario.expected)
    for client in wire.clients:
        client.close()
    await wire.settle()
