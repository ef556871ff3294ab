"""Receiving many datagrams at a time: what socket.recvfrom gives, over real sockets."""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from myserv.reactor import batches
from myserv.reactor.batches import BATCH, Batches, Singly, Taken, receiverOf

pytestmark = pytest.mark.wire

ROOT = Path(__file__).parents[2]

MUCH = os.urandom(65_507)
"""The largest datagram of IPv4."""


class Sockets(ExitStack):
    """Sockets that close when the test ends."""

    def bind(self, host: str = "127.0.0.1", scope: int = 0) -> socket.socket:
        """A socket that does not block, at an address of its own."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = self.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024 * 1024)
        sock.setblocking(False)
        sock.bind((host, 0, 0, scope) if scope else (host, 0))
        return sock


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """Make sockets."""
    with Sockets() as made:
        yield made


@pytest.fixture
def otherwise() -> Iterator[None]:
    """Let the system call be looked for anew, in the test and after it."""
    batches._findCall.cache_clear()
    yield
    batches._findCall.cache_clear()


def receive(sock: Any, size: int = 65_536) -> list[Any]:
    """Take what is there, by one call."""
    taken: Taken = deque()
    assert receiverOf(sock).receive(size, taken) == len(taken)
    return list(taken)


def receiveEach(sock: socket.socket, number: int, size: int = 65_536) -> list[Any]:
    """Take so many as Python does; of the source, host and port."""
    return [(data, source[:2]) for data, source in (sock.recvfrom(size) for _ in range(number))]


@pytest.mark.parametrize("size", [0, 1, 100, 65_507, 65_536, 1_000_000])
@pytest.mark.parametrize(
    ("own", "theirs"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1")],
    ids=["IPv4", "IPv6", "mapped"],
)
def test_sameAsOneByOne(sockets: Sockets, own: str, theirs: str, size: int) -> None:
    """Whatever the family and the length, and however much of it is wanted."""
    ours = sockets.bind(own)
    client = sockets.bind(theirs)
    address = (theirs, ours.getsockname()[1])
    assert type(receiverOf(ours)) is Batches
    for several in ([b""], [b"x"], [MUCH], [b"1", b"", MUCH, bytes(100), b""]):
        for data in several * 2:
            client.sendto(data, address)
        expected = receiveEach(ours, len(several), size)
        assert [data for data, _ in expected] == [data[:size] for data in several]
        assert receive(ours, size) == expected


def ownAddresses() -> Iterator[tuple[str, int]]:
    """The IPv6 addresses of this machine, with the scope that they need."""
    for line in Path("/proc/net/if_inet6").read_text().splitlines():
        address, index, _, _, flags, _ = line.split()
        host = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(address))
        # Neither one that is not confirmed yet nor one that somebody else has.
        if not int(flags, 16) & 0x48:
            yield host, int(index, 16) if host.startswith("fe80:") else 0


def test_addressesWithAScope(sockets: Sockets) -> None:
    """Are written as Python writes them."""
    for host, scope in ownAddresses():
        ours, client = sockets.bind(host, scope), sockets.bind(host, scope)
        for _ in range(2):
            client.sendto(b"x", ours.getsockname())
        assert receiveEach(ours, 1) == receive(ours) == [(b"x", client.getsockname()[:2])]


def test_moreThanABatch(sockets: Sockets) -> None:
    """Comes in order, by several calls; the one that takes fewer has emptied the queue."""
    ours = sockets.bind()
    clients = [sockets.bind() for _ in range(3)]
    sent = [(b"%d" % n, clients[n % 3].getsockname()) for n in range(2 * BATCH + 22)]
    for n, (data, _) in enumerate(sent):
        clients[n % 3].sendto(data, ours.getsockname())
    taken = [receive(ours) for _ in range(3)]
    assert [len(each) for each in taken] == [BATCH, BATCH, 22]
    assert [*itertools.chain(*taken)] == sent
    with pytest.raises(BlockingIOError) as raised:
        receive(ours)
    assert raised.value.errno == errno.EAGAIN


def test_whatWasTakenStays(sockets: Sockets) -> None:
    """Another port's datagrams, of another size, do not overwrite it."""
    ports = [sockets.bind(), sockets.bind(), sockets.bind("::1")]
    clients = [sockets.bind(), sockets.bind(), sockets.bind("::1")]
    for n, (port, client) in enumerate(zip(ports, clients, strict=True)):
        for data in (b"first of %d" % n, b"second"):
            client.sendto(data, port.getsockname())
    assert [receive(port, 100 + n) for n, port in enumerate(ports)] == [
        [(b"first of %d" % n, client.getsockname()[:2]), (b"second", client.getsockname()[:2])]
        for n, client in enumerate(clients)
    ]


def test_errors(sockets: Sockets) -> None:
    """Are those of the socket, and what came before one is not lost."""
    ours, client, gone = sockets.bind(), sockets.bind(), sockets.bind()
    ours.connect(gone.getsockname())
    gone.sendto(b"x", ours.getsockname())
    gone.close()
    ours.send(b"anybody?")
    with pytest.raises(ConnectionRefusedError, match="Connection refused"):
        receive(ours)
    assert [data for data, _ in receive(ours)] == [b"x"]
    receiver = receiverOf(ours)
    number = ours.fileno()
    ours.close()
    # It does not receive from whoever has the number now.
    os.dup2(client.fileno(), number)
    client.sendto(b"x", client.getsockname())
    with pytest.raises(OSError, match="Bad file descriptor") as raised:
        receiver.receive(100, deque())
    os.close(number)
    assert raised.value.errno == errno.EBADF


def test_interrupted(sockets: Sockets) -> None:
    """It is done again."""
    ours = sockets.bind()
    ours.sendto(b"x", ours.getsockname())
    call = batches._findCall()
    assert call is not None
    numbers = [errno.EINTR, errno.EINTR]

    def interrupted(*arguments: Any) -> int:
        if not numbers:
            return call(*arguments)
        ctypes.set_errno(numbers.pop())
        return -1

    taken: Taken = deque()
    assert Batches(ours, interrupted).receive(100, taken) == 1
    assert list(taken) == [(b"x", ours.getsockname())]


def test_sourcesAreRemembered(sockets: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the same object, and not without end."""
    batches._sources.clear()
    monkeypatch.setattr(batches, "SOURCES", 2)
    ours = sockets.bind()
    clients = [sockets.bind() for _ in range(5)]
    for client in clients * 2:
        client.sendto(b"x", ours.getsockname())
    assert [source for _, source in receive(ours)] == [
        client.getsockname() for client in clients * 2
    ]
    assert len(batches._sources) <= 2
    for _ in range(3):
        clients[0].sendto(b"x", ours.getsockname())
    sources = [source for _, source in receive(ours)]
    assert sources[0] is sources[1] is sources[2]


class Unlike:
    """A library without the call, or with one that does not work."""

    def __init__(self, name: object, **keywords: Any) -> None:
        pass


class Forbidden(Unlike):
    """As in a sandbox."""

    def recvmmsg(self, *arguments: Any) -> int:
        """Not here."""
        ctypes.set_errno(errno.EPERM)
        return -1


class Different(Unlike):
    """As with structures that are not those of the kernel."""

    def recvmmsg(self, *arguments: Any) -> int:
        """It took two, to wherever."""
        return 2


@pytest.mark.usefixtures("otherwise")
@pytest.mark.parametrize("library", [None, Unlike, Forbidden, Different])
def test_withoutTheCall(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch, library: type[Unlike] | None
) -> None:
    """They are received one by one, and look the same."""
    if library is None:
        monkeypatch.setattr(batches, "_PLAUSIBLE", False)
    else:
        monkeypatch.setattr(ctypes, "PyDLL", library)
    for host in ("127.0.0.1", "::1"):
        ours, client = sockets.bind(host), sockets.bind(host)
        assert type(receiverOf(ours)) is Singly
        for data in (b"long", b""):
            client.sendto(data, ours.getsockname())
        source = client.getsockname()[:2]
        assert receive(ours, 3) + receive(ours, 3) == [(b"lon", source), (b"", source)]
        with pytest.raises(BlockingIOError):
            receive(ours)


def test_otherSockets(tmp_path: Path) -> None:
    """Have names of any length, and are received from one by one."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nameless,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client,
    ):
        ours.bind(str(tmp_path / "ours"))
        nameless.sendto(b"1", str(tmp_path / "ours"))
        client.bind(str(tmp_path / "client"))
        client.sendto(b"2", str(tmp_path / "ours"))
        assert receive(ours) + receive(ours) == [(b"1", None), (b"2", str(tmp_path / "client"))]


def run(program: str) -> None:
    """Let a new interpreter say nothing against it."""
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def test_aLeaf() -> None:
    """Who receives with it need not have the reactor."""
    run(
        "import sys, myserv.reactor.batches\n"
        "assert not {'twisted', 'uvloop', 'zope'} & set(sys.modules)"
    )


def test_afterAFork() -> None:
    """Parent and child receive into memory of their own."""
    run(
        "import os\n"
        "from myserv.reactor import batches\n"
        "memory = batches._memory(batches.BATCH * batches.LARGEST)\n"
        "memory[:6] = b'parent'\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    memory[:6] = b'child!'\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "assert memory[:6] == b'parent'"
    )
