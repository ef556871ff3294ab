"""Endpoints that echo over real sockets, and clients that talk to them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from myserv.endpoints.failure import describeListenError
from myserv.endpoints.kind import Kind
from myserv.endpoints.parse import parseEndpoint

TIMEOUT = 5
"""Seconds that a client waits for an answer."""

RECEIVED = 2**18
"""Bytes that are read at a time: more than any datagram has."""

Address = Any
"""A path, or host and port."""


class Echo(Protocol):
    """Sends back what arrives."""

    factory: EchoFactory

    def connectionMade(self) -> None:
        """Be counted."""
        self.factory.open += 1
        self.factory.served += 1

    def dataReceived(self, data: bytes) -> None:
        """Answer."""
        assert self.transport is not None
        self.transport.write(data)

    def connectionLost(self, reason: object = None) -> None:
        """Be counted out."""
        self.factory.open -= 1


class EchoFactory(Factory):
    """
    Counts connections.

    @ivar open: How many there are.
    @ivar served: How many there have been.
    """

    protocol: Any = Echo
    noisy = False

    def __init__(self) -> None:
        self.open = 0
        self.served = 0


class DatagramEcho(DatagramProtocol):
    """
    Sends back what arrives.

    @ivar served: How many datagrams there have been.
    """

    noisy = False

    def __init__(self) -> None:
        self.served = 0

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Answer."""
        self.served += 1
        assert self.transport is not None
        self.transport.write(datagram, addr)


@frozen
class Serving:
    """
    An open endpoint.

    @ivar port: Twisted's port.
    @ivar echo: The factory or the protocol behind it.
    """

    port: Any
    echo: Any

    @property
    def address(self) -> Address:
        """Where clients find it."""
        host = self.port.getHost()
        return (host.host, host.port) if hasattr(host, "host") else os.fsdecode(host.name)

    @property
    def number(self) -> int:
        """The number of the port that the system chose."""
        number: int = self.port.getHost().port
        return number


async def listen(text: str, echo: Any = None) -> Serving:
    """
    Open an endpoint.

    Resources:
        The caller stops the port.
    """
    endpoint = parseEndpoint(text)
    if endpoint.kind is Kind.STREAM:
        echo = echo or EchoFactory()
        return Serving(await endpoint.openStream(reactor).listen(echo), echo)
    echo = echo or DatagramEcho()
    return Serving(await endpoint.openDatagram(reactor).listen(echo), echo)


@asynccontextmanager
async def serving(text: str, echo: Any = None) -> AsyncIterator[Serving]:
    """
    Keep an endpoint open.
    """
    opened = await listen(text, echo)
    try:
        yield opened
    finally:
        await maybeDeferred(opened.port.stopListening)
        if isinstance(opened.echo, EchoFactory):
            await until(lambda: opened.echo.open == 0)


async def failing(text: str) -> str:
    """
    Open an endpoint that cannot be opened; what an operator is told.
    """
    with pytest.raises(Exception) as caught:  # noqa: PT011 - its words are looked at
        await listen(text)
    return describeListenError(caught.value)


async def until(happened: Any) -> None:
    """
    Wait for something that takes the reactor a few turns.
    """
    for _ in range(TIMEOUT * 1000):
        if happened():
            return
        await deferLater(reactor, 0.001)
    raise AssertionError("it did not happen")


async def ask(address: Address, data: bytes = b"hello", kind: Kind = Kind.STREAM) -> bytes:
    """
    Send something from a thread, and wait for as much to come back.
    """
    answer = await deferToThread(_ask, address, data, kind)
    assert isinstance(answer, bytes)
    return answer


def _ask(address: Address, data: bytes, kind: Kind) -> bytes:
    family = _familyOf(address)
    socketType = socket.SOCK_STREAM if kind is Kind.STREAM else socket.SOCK_DGRAM
    with socket.socket(family, socketType) as client:
        client.settimeout(TIMEOUT)
        if family is socket.AF_UNIX and kind is Kind.DATAGRAM:
            # Linux finds it an address, to which the answer can be sent.
            client.bind("")
        client.connect(address)
        client.sendall(data)
        received = client.recv(RECEIVED)
        while kind is Kind.STREAM and len(received) < len(data):
            more = client.recv(RECEIVED)
            if not more:
                break
            received += more
        return received


def _familyOf(address: Address) -> socket.AddressFamily:
    if isinstance(address, str):
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


async def run(
    *command: str | Path,
    input: bytes = b"",
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """
    Run a program in a thread, and wait for its end.
    """
    completed = await deferToThread(
        lambda: subprocess.run(
            [*map(str, command)],
            input=input,
            env=None if env is None else {**os.environ, **env},
            capture_output=True,
            timeout=30,
            check=False,
        )
    )
    assert isinstance(completed, subprocess.CompletedProcess)
    return completed


def killedServer(path: Path, *, datagram: bool) -> None:
    """
    Let a server bind a path and be killed, so that its socket file stays.
    """
    program = (
        "import signal, socket, sys\n"
        f"s = socket.socket(socket.AF_UNIX, socket.SOCK_{'DGRAM' if datagram else 'STREAM'})\n"
        f"s.bind({str(path)!r})\n"
        + ("" if datagram else "s.listen()\n")
        + "signal.raise_signal(signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-ISc", program], check=False)
    assert killed.returncode == -9
    assert path.is_socket()
