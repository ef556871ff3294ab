"""Our own ports and transports, with real sockets on the reactor of the process."""

from __future__ import annotations

import errno
import os
import resource
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactor
from twisted.internet.threads import deferToThread
from zope.interface import implementer

from myserv.endpoints.accepting import AcceptingPort
from myserv.endpoints.kind import Kind
from myserv.endpoints.parse import parseEndpoint
from myserv.endpoints.receiving import RECEIVE_BUFFER, UDPPort
from tests.wire.sockets import DatagramEcho, ask, serving, until

pytestmark = pytest.mark.wire

MUCH = os.urandom(3_000_000)
"""More than the kernel takes at once."""

PIECES = 200
"""Of 50,000 bytes."""


class Recording(Protocol):
    """Remembers what happened to it."""

    def __init__(self) -> None:
        self.received = b""
        self.ends: list[Any] = []

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Any = None) -> None:
        self.ends.append(reason.type.__name__)


class RecordingFactory(Factory):
    """Keeps what it built."""

    noisy = False

    def __init__(self, build: Any = Recording) -> None:
        self.build = build
        self.built: list[Any] = []
        self.failures: list[int | None] = []

    def buildProtocol(self, addr: Any) -> Any:
        built = self.build()
        self.built.append(built)
        return built

    def acceptFailed(self, error: OSError, wait: float) -> None:
        """Nothing can be accepted for a while."""
        self.failures.append(error.errno)


@asynccontextmanager
async def connected(
    text: str = "tcp:0:127.0.0.1", build: Any = Recording
) -> AsyncIterator[tuple[Any, socket.socket]]:
    """A protocol and its client."""
    factory = RecordingFactory(build)
    async with serving(text, factory) as server:
        unix = isinstance(server.address, str)
        client = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        with client:
            client.settimeout(5)
            client.connect(server.address)
            await until(lambda: factory.built and factory.built[0].transport)
            yield factory.built[0], client
        await until(lambda: factory.built[0].ends)


def readAll(client: socket.socket, size: int | None = None) -> bytes:
    """Read to the end, or so much."""
    received = bytearray()
    while size is None or len(received) < size:
        piece = client.recv(65536)
        if not piece:
            break
        received += piece
    return bytes(received)


@pytest.fixture(params=["tcp", "unix"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An endpoint of each kind of stream."""
    return "tcp:0:127.0.0.1" if request.param == "tcp" else f"unix:{tmp_path / 'socket'}"


def kernelSetting(name: str) -> int:
    """What the kernel says in /proc/sys/net."""
    return int((Path("/proc/sys/net") / name).read_text())


# --- Streams ------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_writesGoAtOnce(place: str) -> None:
    """The kernel has them when write returns."""
    async with connected(place) as (protocol, client):
        protocol.transport.write(b"at once")
        assert client.recv(100) == b"at once"
        protocol.transport.writeSequence([b"in ", b"pieces"])
        assert client.recv(100) == b"in pieces"
        assert protocol.transport.getWriteBufferSize() == 0


@pytest_twisted.ensureDeferred
async def test_smallPiecesDoNotWaitForEachOther() -> None:
    """There is no Nagle's algorithm to hold the second back."""
    async with connected() as (protocol, _):
        assert protocol.transport.getTcpNoDelay()


@pytest_twisted.ensureDeferred
async def test_aSlowReader(place: str) -> None:
    """Gets everything in order, and what waits can be told."""
    async with connected(place) as (protocol, client):
        protocol.transport.write(MUCH)
        waiting = protocol.transport.getWriteBufferSize()
        assert 0 < waiting <= len(MUCH)
        protocol.transport.write(b"and more")
        assert protocol.transport.getWriteBufferSize() == waiting + 8
        received = await deferToThread(readAll, client, len(MUCH) + 8)
        assert received == MUCH + b"and more"
        await until(lambda: protocol.transport.getWriteBufferSize() == 0)


@pytest_twisted.ensureDeferred
async def test_closingAfterMuch(place: str) -> None:
    """It arrives first."""
    async with connected(place) as (protocol, client):
        protocol.transport.write(MUCH)
        protocol.transport.loseConnection()
        assert await deferToThread(readAll, client) == MUCH
        await until(lambda: protocol.ends == ["ConnectionDone"])


@pytest_twisted.ensureDeferred
async def test_aborting() -> None:
    """The client is told at once, and so is the protocol, in the reactor's turn."""
    async with connected() as (protocol, client):
        protocol.transport.write(MUCH)
        protocol.transport.abortConnection()
        protocol.transport.write(b"nobody will see")
        assert protocol.ends == []
        await until(lambda: protocol.ends == ["ConnectionAborted"])
        with pytest.raises(ConnectionResetError):
            readAll(client)


@implementer(IHalfCloseableProtocol)
class HalfClosing(Recording):
    """Hears of both halves."""

    def readConnectionLost(self) -> None:
        self.ends.append("read")
        assert self.transport is not None
        self.transport.write(b"still here")
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        self.ends.append("write")


@pytest_twisted.ensureDeferred
async def test_halfClosing(place: str) -> None:
    """One half ends after what was written; the other goes on."""
    async with connected(place, HalfClosing) as (protocol, client):
        client.shutdown(socket.SHUT_WR)
        assert await deferToThread(readAll, client) == b"still here"
        await until(lambda: protocol.ends == ["read", "ConnectionDone"])
    async with connected(place, HalfClosing) as (protocol, client):
        protocol.transport.write(MUCH)
        protocol.transport.loseWriteConnection()
        assert await deferToThread(readAll, client) == MUCH
        client.sendall(b"heard")
        await until(lambda: protocol.received == b"heard")
        assert protocol.ends == ["write"]


class Pieces:
    """Produces, when it is asked."""

    def __init__(self, transport: Any, streaming: bool) -> None:
        self.transport = transport
        self.streaming = streaming
        self.left = PIECES
        self.told: list[str] = []
        self.paused = False

    def resumeProducing(self) -> None:
        self.told.append("resume")
        self.paused = False
        while self.left and not self.paused:
            self.left -= 1
            self.transport.write(bytes([self.left]) * 50_000)
            if not self.streaming:
                break
        if not self.left:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def pauseProducing(self) -> None:
        self.told.append("pause")
        self.paused = True

    def stopProducing(self) -> None:
        self.told.append("stop")


@pytest.mark.parametrize("streaming", [True, False], ids=["push", "pull"])
@pytest_twisted.ensureDeferred
async def test_producers(place: str, streaming: bool) -> None:
    """Write as fast as the client reads, and the connection ends after the last."""
    async with connected(place) as (protocol, client):
        producer = Pieces(protocol.transport, streaming)
        protocol.transport.registerProducer(producer, streaming)
        if streaming:
            producer.resumeProducing()
            assert "pause" in producer.told
        received = await deferToThread(readAll, client)
        assert received == b"".join(bytes([each]) * 50_000 for each in reversed(range(PIECES)))
        assert "stop" not in producer.told


@pytest_twisted.ensureDeferred
async def test_aPeerThatResets() -> None:
    """A write finds out, and the protocol hears of it from the reactor, not in write."""
    async with connected() as (protocol, client):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        protocol.transport.write(b"anybody?")
        protocol.transport.write(b"anybody?")
        assert protocol.ends == []
        await until(lambda: protocol.ends == ["ConnectionLost"])


@pytest_twisted.ensureDeferred
async def test_acceptedSockets(place: str) -> None:
    """Do not block, and no child inherits them."""
    async with connected(place) as (protocol, _):
        sock = protocol.transport.getHandle()
        assert sock.gettimeout() == 0
        assert not sock.get_inheritable()


class Refused:
    """Turned away."""

    closesAtOnce = True


@pytest_twisted.ensureDeferred
async def test_turnedAway() -> None:
    """The client is reset."""
    async with serving("tcp:0:127.0.0.1", RecordingFactory(Refused)) as server:
        with socket.create_connection(server.address, 5) as client, pytest.raises(ConnectionError):
            await deferToThread(client.recv, 1)


@pytest_twisted.ensureDeferred
async def test_outOfDescriptors() -> None:
    """Arrivals wait in the kernel, nothing is refused, and nobody spins."""
    factory = RecordingFactory()
    async with serving("tcp:0:127.0.0.1", factory) as server:
        client = socket.socket()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        taken: list[int] = []
        try:
            highest = max(map(int, os.listdir("/proc/self/fd")))
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 3, hard))
            with suppress(OSError):
                while True:
                    taken.append(os.open(os.devnull, os.O_RDONLY))
            client.settimeout(5)
            client.connect(server.address)
            await until(lambda: factory.failures)
            await deferLater(reactor, 0.2)
            assert factory.failures == [errno.EMFILE]
        finally:
            for each in taken:
                os.close(each)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await until(lambda: factory.built)
        assert factory.failures == [errno.EMFILE]
        client.close()
        await until(lambda: factory.built[0].ends)


@pytest_twisted.ensureDeferred
async def test_suspendedInTheMiddle() -> None:
    """The rest waits in the kernel, and is served when the port is read again."""

    class First(Recording):
        def connectionMade(self) -> None:
            server.port.stopReading()

    factory = RecordingFactory(First)
    async with serving("tcp:0:127.0.0.1", factory) as server:
        assert isinstance(server.port, AcceptingPort)
        server.port.stopReading()
        clients = [socket.create_connection(server.address, 5) for _ in range(4)]
        for count in range(1, 5):
            server.port.startReading()
            await deferLater(reactor, 0.02)
            assert len(factory.built) == count
        for client in clients:
            client.close()
        await until(lambda: all(each.ends for each in factory.built))


# --- Datagrams ----------------------------------------------------------------


class Told(DatagramProtocol):
    """Remembers what came and from where."""

    noisy = False

    def __init__(self) -> None:
        self.hosts: list[str] = []
        self.refused = 0

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.hosts.append(addr[0])

    def connectionRefused(self) -> None:
        self.refused += 1


def sendFrom(host: str, address: Any, family: socket.AddressFamily = socket.AF_INET) -> None:
    """Send one datagram from a host."""
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.bind((host, 0))
        client.sendto(b"x", address)


@pytest_twisted.ensureDeferred
async def test_shuttingOutAHost() -> None:
    """Its datagrams do not arrive, those of others do, and its own do when time is over."""
    async with serving("udp:0:127.0.0.1", Told()) as server:
        assert server.port.shutOut(["127.0.0.2"], 0.3)
        for host in ("127.0.0.2", "127.0.0.3", "127.0.0.2"):
            sendFrom(host, server.address)
        await until(lambda: server.echo.hosts)
        await deferLater(reactor, 0.05)
        assert server.echo.hosts == ["127.0.0.3"]
        await deferLater(reactor, 0.35)
        sendFrom("127.0.0.2", server.address)
        await until(lambda: server.echo.hosts == ["127.0.0.3", "127.0.0.2"])


@pytest_twisted.ensureDeferred
async def test_shuttingOutOnBothFamilies() -> None:
    """Of a port that hears IPv4 and IPv6, each by its own header."""
    async with serving("udp6:0", Told()) as server:
        four, six = ("127.0.0.1", server.number), ("::1", server.number)
        assert server.port.shutOut(["::ffff:127.0.0.2"], 5)
        sendFrom("127.0.0.2", four)
        sendFrom("127.0.0.3", four)
        sendFrom("::1", six, socket.AF_INET6)
        await until(lambda: len(server.echo.hosts) == 2)
        assert server.port.shutOut(["::1"], 5)
        sendFrom("::1", six, socket.AF_INET6)
        sendFrom("127.0.0.2", four)
        sendFrom("127.0.0.4", four)
        await until(lambda: len(server.echo.hosts) == 3)
        assert server.echo.hosts == ["::ffff:127.0.0.3", "::1", "::ffff:127.0.0.4"]


@pytest_twisted.ensureDeferred
async def test_anEarlierOwnersSieve() -> None:
    """Does not stay with the socket: whoever attached it may have been killed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        UDPPort(sock, Told(), reactor, 100)._sieve._attach([b"\x7f\0\0\2"])
        async with serving(f"fd:{sock.fileno()}:type=DGRAM", Told()) as server:
            sendFrom("127.0.0.2", server.address)
            await until(lambda: server.echo.hosts == ["127.0.0.2"])


@pytest_twisted.ensureDeferred
async def test_theReceiveBuffer() -> None:
    """As large as the kernel allows, up to what is asked for."""
    allowed = kernelSetting("core/rmem_max")
    async with serving("udp:0:127.0.0.1") as server:
        size = server.port.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        assert size == 2 * min(allowed, RECEIVE_BUFFER)


@pytest_twisted.ensureDeferred
async def test_aPeerWithoutASocket() -> None:
    """Ends no port, though it is connected to that peer alone."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        address = peer.getsockname()
    async with serving("udp:0:127.0.0.1", Told()) as server:
        server.port.connect(*address)
        for _ in range(3):
            server.port.write(b"anybody?")
            await deferLater(reactor, 0.01)
        assert server.echo.refused
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(address)
            peer.sendto(b"here", server.address)
            await until(lambda: server.echo.hosts == ["127.0.0.1"])


@pytest_twisted.ensureDeferred
async def test_aPeerThatReadsLate(tmp_path: Path) -> None:
    """Of a UNIX socket loses none of the few that the kernel has no room for."""
    async with serving(f"unixgram:{tmp_path / 'server'}", DatagramEcho()) as server:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.bind(str(tmp_path / "client"))
            for number in range(100):
                server.port.write(b"%d" % number, str(tmp_path / "client"))
            received = [await deferToThread(client.recv, 100) for _ in range(100)]
            assert received == [b"%d" % number for number in range(100)]
        assert await ask(server.address, b"still there", Kind.DATAGRAM) == b"still there"


# --- Reactors of another kind -------------------------------------------------


@pytest.mark.parametrize("text", ["tcp:0:127.0.0.1", "tcp:0:127.0.0.1:reusePort=yes"])
def test_aTCPReactorWithPortsOfItsOwn(text: str) -> None:
    """Is asked for them; so see the tests of C{tcp:}."""
    other = MemoryReactor()
    parseEndpoint(text).openStream(other).listen(Factory())
    assert len(other.tcpServers) == 1


class OtherReactor:
    """Remembers what it adopted."""

    def __init__(self) -> None:
        self.adopted: list[str] = []

    def adoptStreamPort(self, descriptor: int, family: Any, factory: Any) -> str:
        """As C{IReactorSocket.adoptStreamPort}."""
        self.adopted.append("stream")
        return "a port"

    def adoptDatagramPort(
        self, descriptor: int, family: Any, protocol: Any, maxPacketSize: int
    ) -> str:
        """As C{IReactorSocket.adoptDatagramPort}."""
        self.adopted.append("datagram")
        return "a port"


@pytest_twisted.ensureDeferred
async def test_aReactorThatAdoptsByItself() -> None:
    """Gets the sockets."""
    other = OtherReactor()
    with (
        socket.create_server(("127.0.0.1", 0)) as stream,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
    ):
        datagram.bind(("127.0.0.1", 0))
        opened: list[Any] = [
            await parseEndpoint(f"fd:{stream.fileno()}").openStream(other).listen(Factory()),
            await parseEndpoint(f"fd:{datagram.fileno()}:type=DGRAM")
            .openDatagram(other)
            .listen(DatagramProtocol()),
            await parseEndpoint("udp:0:127.0.0.1:reusePort=yes")
            .openDatagram(other)
            .listen(DatagramProtocol()),
        ]
    assert opened == ["a port"] * 3
    assert other.adopted == ["stream", "datagram", "datagram"]
