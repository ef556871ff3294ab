"""Endpoints over real sockets."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import frozen
from cryptography import x509
from twisted.internet.defer import maybeDeferred
from twisted.internet.threads import deferToThread

from myserv.endpoints import unix
from myserv.endpoints.grammar import quote
from myserv.endpoints.kind import Kind
from tests.endpoints.certificates import authority, intermediate, issue
from tests.wire.sockets import (
    Echo,
    EchoFactory,
    ask,
    failing,
    killedServer,
    listen,
    run,
    serving,
)

pytestmark = pytest.mark.wire

IN_USE = "the address is in use: another program listens there"

CLIENTS = 64
"""Enough that one of two listeners gets none once in 2**63 runs."""

KINDS = pytest.mark.parametrize("kind", [Kind.STREAM, Kind.DATAGRAM], ids=lambda kind: kind.value)


def openDescriptors() -> int:
    """How many files this process has open."""
    return len(os.listdir("/proc/self/fd"))


def kernelSetting(name: str) -> int:
    """What the kernel says in /proc/sys/net."""
    return int((Path("/proc/sys/net") / name).read_text())


# --- TCP ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "clients"),
    [
        ("tcp:0", ["127.0.0.1"]),
        ("tcp:0:interface=127.0.0.1", ["127.0.0.1"]),
        ("tcp:0:interface=localhost", ["127.0.0.1"]),
        ("tcp:[::1]:0", ["::1"]),
        ("tcp6:0", ["::1", "127.0.0.1"]),
        ("tcp6:0:interface=[::1]", ["::1"]),
        ("tcp6:0:reusePort=yes", ["::1", "127.0.0.1"]),
        ("tcp:[::1]:0:reusePort=yes", ["::1"]),
    ],
)
@pytest_twisted.ensureDeferred
async def test_tcp(text: str, clients: list[str]) -> None:
    """Clients reach it at the addresses that it says, and many bytes come back."""
    async with serving(text) as server:
        for host in clients:
            data = os.urandom(200_000)
            assert await ask((host, server.number), data) == data
        assert server.echo.served == len(clients)


@pytest_twisted.ensureDeferred
async def test_theBacklogReachesTheKernel() -> None:
    """As far as the kernel lets it."""
    allowed = kernelSetting("core/somaxconn")
    for text, backlog in (("tcp:0", 4096), ("tcp:0:backlog=7", 7)):
        async with serving(text) as server:
            # tcpi_sacked, which is the backlog of a socket that listens.
            info = server.port.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
            assert struct.unpack_from("I", info, 28) == (min(backlog, allowed),)


# When it cannot bind, Twisted's listenUDP leaves its socket to the garbage collector.
leavesASocket = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@leavesASocket
@pytest.mark.parametrize("prefix", ["tcp", "udp"])
@pytest_twisted.ensureDeferred
async def test_aPortIsNotSharedUnasked(prefix: str) -> None:
    """Neither with one who would share it, nor with one who would not."""
    before = openDescriptors()
    async with serving(f"{prefix}:0:127.0.0.1") as server:
        for more in ("", ":reusePort=yes"):
            assert await failing(f"{prefix}:{server.number}:127.0.0.1{more}") == IN_USE
    assert openDescriptors() <= before + 1


@KINDS
@pytest.mark.parametrize("interface", ["127.0.0.1", "[::1]"])
@pytest_twisted.ensureDeferred
async def test_aSharedPort(kind: Kind, interface: str) -> None:
    """Two listeners each get a part of the clients, and none is lost."""
    prefix = "tcp" if kind is Kind.STREAM else "udp"
    async with serving(f"{prefix}:{interface}:0:reusePort=yes") as one:
        async with serving(f"{prefix}:{interface}:{one.number}:reusePort=yes") as two:
            assert two.number == one.number
            for each in range(CLIENTS):
                data = b"%d" % each
                assert await ask(one.address, data, kind) == data
            assert one.echo.served + two.echo.served == CLIENTS
            assert one.echo.served
            assert two.echo.served
        assert await ask(one.address, b"still there", kind) == b"still there"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tcp:0:interface=203.0.113.1", "no interface of this machine has that address"),
        ("udp:0:interface=203.0.113.1", "no interface of this machine has that address"),
        (
            "udp:0:interface=203.0.113.1:reusePort=yes",
            "no interface of this machine has that address",
        ),
        ("tcp:0:interface=nowhere.invalid", "Name or service not known"),
    ],
)
@leavesASocket
@pytest_twisted.ensureDeferred
async def test_addressesOfOthers(text: str, told: str) -> None:
    """Cannot be bound."""
    if "invalid" in text:
        # Whether the resolver is down or knows better.
        assert await failing(text) in {told, "Temporary failure in name resolution"}
    else:
        assert await failing(text) == told


UNPRIVILEGED = """
import sys
from twisted.internet import reactor
from twisted.internet.protocol import DatagramProtocol, Factory
from myserv.endpoints.failure import describeListenError
from myserv.endpoints.kind import Kind
from myserv.endpoints.parse import parseEndpoint
for text in sys.argv[1:]:
    endpoint = parseEndpoint(text)
    try:
        if endpoint.kind is Kind.STREAM:
            listening = endpoint.openStream(reactor).listen(Factory())
        else:
            listening = endpoint.openDatagram(reactor).listen(DatagramProtocol())
    except Exception as error:
        print(describeListenError(error))
    else:
        listening.addErrback(lambda failure: print(describeListenError(failure.value)))
"""


@pytest_twisted.ensureDeferred
async def test_whatIsDenied(tmp_path: Path) -> None:
    """Without privileges: a port below 1024, a directory, certificates."""
    if kernelSetting("ipv4/ip_unprivileged_port_start") <= 1:
        pytest.skip("any user may bind any port here")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]
    completed = await run(
        *(nobody if os.geteuid() == 0 else []),
        *(sys.executable, "-c", UNPRIVILEGED),
        *("tcp:1:127.0.0.1", "tcp:1:127.0.0.1:reusePort=yes", "udp:1:127.0.0.1"),
        *("udp:1:127.0.0.1:reusePort=yes", f"unix:{closed}/x", "unix:/proc/x"),
        # It cannot write where the measurements of the tests are.
        env={"COVERAGE_PROCESS_START": "", "COVERAGE_PROCESS_CONFIG": ""},
    )
    privileged = (
        "permission denied: a port below 1024 needs root or CAP_NET_BIND_SERVICE "
        "(started as root, twistd --uid drops it after it has bound)"
    )
    told = completed.stdout.decode().splitlines()
    assert told[:4] == [privileged] * 4, completed.stderr.decode()
    if os.geteuid() == 0:
        assert told[4] == "permission denied"
    assert told[5] in {"permission denied", "there is no such directory"}


# --- UDP ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("udp:0", ["127.0.0.1"]),
        ("udp:[::1]:0", ["::1"]),
        ("udp6:0:[::1]:reusePort=yes", ["::1"]),
        ("udp:0:127.0.0.1:reusePort=yes", ["127.0.0.1"]),
        ("udp6:0", ["::1"]),
    ],
)
@pytest_twisted.ensureDeferred
async def test_udp(text: str, hosts: list[str]) -> None:
    """Datagrams of any size come whole, the empty one too."""
    async with serving(text) as server:
        for host in hosts:
            for size in (0, 1, 8192, 8193, 60_000, 65_507):
                data = os.urandom(size)
                assert await ask((host, server.number), data, Kind.DATAGRAM) == data


# --- UNIX ---------------------------------------------------------------------


def unixText(kind: Kind, path: Path | str, more: str = "") -> str:
    """The endpoint string of a path."""
    prefix = "unix" if kind is Kind.STREAM else "unixgram"
    return f"{prefix}:{quote(str(path), positional=True)}{more}"


def modeOf(path: Path) -> int:
    """A file's permissions."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """A umask that a server may have been started with."""
    mask: int = request.param
    old = os.umask(mask)
    yield mask
    os.umask(old)


@KINDS
@pytest.mark.parametrize("mode", ["", "0", "600", "0660", "666", "777"])
@pytest_twisted.ensureDeferred
async def test_theModeIsExactFromTheStart(
    kind: Kind, mode: str, umask: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no moment at which the file lets in more, or fewer, whatever the umask."""
    path = tmp_path / "socket"
    seen = []

    class SpiedSocket(socket.socket):
        def bind(self, address: Any) -> None:
            super().bind(address)
            seen.append(modeOf(path))

    monkeypatch.setattr(socket, "socket", SpiedSocket)
    async with serving(unixText(kind, path, f":mode={mode}" if mode else "")):
        wanted = int(mode or "666", 8)
        assert seen == [wanted]
        assert modeOf(path) == wanted
        assert os.umask(umask) == umask
    assert not path.exists()


@KINDS
@pytest.mark.parametrize("name", ["socket", "with space", "a:b=c\\d", "[::1]", "é☃"])
@pytest_twisted.ensureDeferred
async def test_unix(kind: Kind, name: str, tmp_path: Path) -> None:
    """Clients reach it; the file goes when it stops, and it can start again."""
    path = tmp_path / name
    for _ in range(2):
        async with serving(unixText(kind, path)) as server:
            assert server.address == str(path)
            data = os.urandom(100_000)
            assert await ask(str(path), data, kind) == data
        assert not path.exists()


@KINDS
@pytest_twisted.ensureDeferred
async def test_aPathFromHere(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is still that path when the server has gone elsewhere."""
    monkeypatch.chdir(tmp_path)
    async with serving(unixText(kind, "socket")):
        monkeypatch.chdir("/")
        assert await ask(str(tmp_path / "socket"), kind=kind) == b"hello"
    assert not (tmp_path / "socket").exists()


@KINDS
@pytest_twisted.ensureDeferred
async def test_theFileOfAKilledServer(kind: Kind, tmp_path: Path) -> None:
    """Is replaced, unless that is forbidden."""
    path = tmp_path / "socket"
    killedServer(path, datagram=kind is Kind.DATAGRAM)
    assert await failing(unixText(kind, path, ":lockfile=no")) == IN_USE
    assert path.is_socket()
    async with serving(unixText(kind, path)):
        assert await ask(str(path), kind=kind) == b"hello"


@pytest_twisted.ensureDeferred
async def test_theFileOfAKilledServerOfTheOtherKind(tmp_path: Path) -> None:
    """Is replaced too: nobody listens there."""
    path = tmp_path / "socket"
    killedServer(path, datagram=True)
    async with serving(unixText(Kind.STREAM, path)):
        assert await ask(str(path)) == b"hello"


@pytest.mark.parametrize("newcomer", Kind, ids=lambda kind: kind.value)
@KINDS
@pytest_twisted.ensureDeferred
async def test_theFileOfALiveServer(kind: Kind, newcomer: Kind, tmp_path: Path) -> None:
    """Is not stolen, and the server goes on."""
    path = tmp_path / "socket"
    before = openDescriptors()
    async with serving(unixText(kind, path)):
        assert await failing(unixText(newcomer, path)) == IN_USE
        assert await failing(unixText(newcomer, path, ":lockfile=no")) == IN_USE
        assert await ask(str(path), kind=kind) == b"hello"
    assert not path.exists()
    assert openDescriptors() <= before + 1


@pytest_twisted.ensureDeferred
async def test_theFileOfABusyServer(tmp_path: Path) -> None:
    """Is not stolen either: that nobody accepts does not mean that nobody is there."""
    path = tmp_path / "socket"
    with ExitStack() as sockets:
        busy = sockets.enter_context(socket.socket(socket.AF_UNIX))
        busy.bind(str(path))
        busy.listen(0)
        refused = 0
        while refused != errno.EAGAIN:
            client = sockets.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            refused = client.connect_ex(str(path))
        assert await failing(unixText(Kind.STREAM, path)) == IN_USE
        assert path.is_socket()


@KINDS
@pytest_twisted.ensureDeferred
async def test_whatIsNoSocketIsNotReplaced(kind: Kind, tmp_path: Path) -> None:
    """A file, a directory, and links to them stay what they are."""
    told = "there is a file at the path that is not a socket"
    file, directory = tmp_path / "file", tmp_path / "directory"
    file.write_text("precious")
    directory.mkdir()
    for index, target in enumerate((file, directory)):
        link = tmp_path / f"link{index}"
        link.symlink_to(target)
        assert await failing(unixText(kind, target)) == told
        assert await failing(unixText(kind, link)) == told
        assert link.is_symlink()
    assert file.read_text() == "precious"
    assert await failing(unixText(kind, file, ":lockfile=no")) == IN_USE
    assert file.read_text() == "precious"


@KINDS
@pytest_twisted.ensureDeferred
async def test_aFileThatSomebodyRemoved(kind: Kind, tmp_path: Path) -> None:
    """Does not keep the server from stopping."""
    path = tmp_path / "socket"
    async with serving(unixText(kind, path)):
        path.unlink()
    async with serving(unixText(kind, path)):
        assert await ask(str(path), kind=kind) == b"hello"


@KINDS
@pytest_twisted.ensureDeferred
async def test_aFileThatMayNotBeRemoved(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Does not either, as when the privileges it was made with are gone; it can be replaced."""
    path = tmp_path / "socket"

    def deny(path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    async with serving(unixText(kind, path)) as server:
        with monkeypatch.context() as denying:
            denying.setattr("myserv.endpoints.unix.os.unlink", deny)
            await maybeDeferred(server.port.stopListening)
    assert path.is_socket()
    async with serving(unixText(kind, path)):
        assert await ask(str(path), kind=kind) == b"hello"


@KINDS
@pytest_twisted.ensureDeferred
async def test_aFileThatIsAnotherServersByNow(kind: Kind, tmp_path: Path) -> None:
    """Is left to it."""
    path = tmp_path / "socket"
    first = await listen(unixText(kind, path))
    path.unlink()
    async with serving(unixText(kind, path)):
        await maybeDeferred(first.port.stopListening)
        assert path.is_socket()
        assert await ask(str(path), kind=kind) == b"hello"
    assert not path.exists()


@KINDS
@pytest_twisted.ensureDeferred
async def test_theLongestPath(kind: Kind, tmp_path: Path) -> None:
    """Has 107 bytes, not characters."""
    fits = tmp_path / ("é" + "x" * (107 - len(os.fsencode(tmp_path)) - 3))
    assert len(os.fsencode(fits)) == 107
    async with serving(unixText(kind, fits)):
        assert await ask(str(fits), kind=kind) == b"hello"
    assert await failing(unixText(kind, f"{fits}x")) == (
        "the path is too long: that of a socket file may have 107 bytes"
    )
    assert os.listdir(tmp_path) == []


@KINDS
@pytest_twisted.ensureDeferred
async def test_pathsThatLeadNowhere(kind: Kind, tmp_path: Path) -> None:
    """Are told apart."""
    (tmp_path / "file").touch()
    before = openDescriptors()
    assert await failing(unixText(kind, tmp_path / "none/x")) == "there is no such directory"
    assert await failing(unixText(kind, tmp_path / "file/x")) == (
        "a part of the path is not a directory"
    )
    assert openDescriptors() == before


# --- sockets that somebody else opened ----------------------------------------


FAMILIES = pytest.mark.parametrize("family", ["INET", "INET6", "UNIX"])


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    """Closes what a test has opened."""
    with ExitStack() as stack:
        yield stack


def openSocket(closing: ExitStack, family: str, kind: Kind, path: Path) -> socket.socket:
    """Open a socket as systemd would: blocking, inherited by children."""
    socketType = socket.SOCK_STREAM if kind is Kind.STREAM else socket.SOCK_DGRAM
    opened = closing.enter_context(socket.socket(socket.AddressFamily[f"AF_{family}"], socketType))
    address: Any = {"INET": ("127.0.0.1", 0), "INET6": ("::1", 0), "UNIX": str(path)}[family]
    opened.bind(address)
    if family == "UNIX":
        path.chmod(0o640)
    if kind is Kind.STREAM:
        opened.listen()
    os.set_inheritable(opened.fileno(), True)
    return opened


def typed(kind: Kind) -> str:
    """The key that says the kind."""
    return "" if kind is Kind.STREAM else ":type=DGRAM"


def addressOf(opened: socket.socket) -> Any:
    """Where clients find a socket."""
    name = opened.getsockname()
    return name if isinstance(name, str) else name[:2]


@KINDS
@FAMILIES
@pytest_twisted.ensureDeferred
async def test_aDescriptor(kind: Kind, family: str, closing: ExitStack, tmp_path: Path) -> None:
    """
    It serves, stops and serves again: the socket stays open, the file as it was,
    and only this process has it.
    """
    path = tmp_path / "socket"
    opened = openSocket(closing, family, kind, path)
    before = openDescriptors()
    for _ in range(2):
        async with serving(f"fd:{opened.fileno()}{typed(kind)}") as server:
            address = addressOf(opened)
            assert server.address == address
            data = os.urandom(60_000)
            assert await ask(address, data, kind) == data
            assert not os.get_inheritable(opened.fileno())
            assert server.port.fileno() != opened.fileno()
        assert openDescriptors() <= before + 1
        if family == "UNIX":
            assert path.is_socket()
            assert modeOf(path) == 0o640


@FAMILIES
@pytest_twisted.ensureDeferred
async def test_clientsWaitBetweenListeners(family: str, closing: ExitStack, tmp_path: Path) -> None:
    """Who comes while nobody listens at a descriptor is served by the next who does."""
    opened = openSocket(closing, family, Kind.STREAM, tmp_path / "socket")
    async with serving(f"fd:{opened.fileno()}"):
        pass
    with socket.socket(opened.family) as client:
        client.settimeout(5)
        client.connect(addressOf(opened))
        client.send(b"waited")
        async with serving(f"fd:{opened.fileno()}"):
            assert await deferToThread(client.recv, 100) == b"waited"
            client.close()


@KINDS
@pytest_twisted.ensureDeferred
async def test_descriptorsThatAreNoSuchSocket(
    kind: Kind, closing: ExitStack, tmp_path: Path
) -> None:
    """Each in words; nothing stays open, and nothing is changed."""
    other = Kind.DATAGRAM if kind is Kind.STREAM else Kind.STREAM
    wrong = openSocket(closing, "INET", other, tmp_path)
    netlink = closing.enter_context(
        socket.socket(
            socket.AF_NETLINK, socket.SOCK_DGRAM if kind is Kind.DATAGRAM else socket.SOCK_RAW
        )
    )
    ordered = closing.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    file = closing.enter_context((tmp_path / "file").open("w"))
    closed = os.dup(file.fileno())
    os.close(closed)
    before = openDescriptors()
    for descriptor, told in {
        wrong.fileno(): f"is a socket of type={'DGRAM' if kind is Kind.STREAM else 'STREAM'}",
        netlink.fileno(): (
            "is a socket of the family NETLINK"
            if kind is Kind.DATAGRAM
            else "is a socket of type=RAW"
        ),
        ordered.fileno(): "is a socket of type=SEQPACKET",
        file.fileno(): (
            "is not a socket that this process was given: Socket operation on non-socket"
        ),
        closed: "is not a socket that this process was given: Bad file descriptor",
    }.items():
        assert await failing(f"fd:{descriptor}{typed(kind)}") == f"descriptor {descriptor} {told}"
    assert openDescriptors() == before
    assert os.get_inheritable(wrong.fileno())


@pytest_twisted.ensureDeferred
async def test_aSocketThatDoesNotListen() -> None:
    """Is bound, perhaps, but accepts nobody."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        number = opened.fileno()
        assert await failing(f"fd:{number}") == (
            f"descriptor {number} is a socket that does not listen"
        )


# Plays systemd: puts descriptors at 3 and on, and says so to the program it becomes.
LAUNCHER = """
import os, sys
descriptors = [int(each) for each in sys.argv[1].split(",")]
high = [os.dup(each) for each in descriptors]
spare = [os.dup2(each, 100 + index) for index, each in enumerate(high)]
for index, each in enumerate(spare):
    os.dup2(each, 3 + index, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(descriptors)))
os.execv(sys.executable, [sys.executable, "-c", *sys.argv[2:]])
"""

# Opens each endpoint, tells what came of it, and answers until its input ends.
SERVER = """
import sys
from twisted.internet import reactor, stdio
from twisted.internet.defer import DeferredList, ensureDeferred, maybeDeferred
from twisted.internet.protocol import Protocol
from tests.wire.sockets import describeListenError, listen
ports = []
class UntilTheEnd(Protocol):
    def connectionLost(self, reason):
        closing = DeferredList([maybeDeferred(each.stopListening) for each in ports])
        closing.addBoth(lambda ignored: reactor.stop())
async def start():
    for text in sys.argv[1:]:
        try:
            ports.append((await listen(text)).port)
            print("listening", flush=True)
        except Exception as error:
            print(describeListenError(error), flush=True)
    stdio.StandardIO(UntilTheEnd())
reactor.callWhenRunning(lambda: ensureDeferred(start()))
reactor.run()
"""


def start(
    closing: ExitStack,
    *arguments: str,
    descriptors: Sequence[int] = (),
    names: Iterable[str] = (),
) -> subprocess.Popen[str]:
    """Start Python; it is killed at the end, if it still runs then."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, "LISTEN_FDNAMES": ":".join(names), "PYTHONPATH": os.getcwd()},
        pass_fds=descriptors,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    closing.callback(process.communicate)
    closing.callback(process.kill)
    return process


@pytest_twisted.ensureDeferred
async def test_systemd(closing: ExitStack, tmp_path: Path) -> None:
    """
    A process is handed sockets of every sort, by index and by name, and says
    what it was not handed.  The socket file is systemd's, before and after.
    """
    path, datagramPath = tmp_path / "stream", tmp_path / "datagram"
    sockets = {
        "web": openSocket(closing, "INET", Kind.STREAM, path),
        "admin": openSocket(closing, "UNIX", Kind.STREAM, path),
        "dns": openSocket(closing, "INET6", Kind.DATAGRAM, path),
        "log": openSocket(closing, "UNIX", Kind.DATAGRAM, datagramPath),
    }
    texts = {
        "systemd:domain=INET:index=0": "listening",
        "systemd:name=admin": "listening",
        "systemd:INET6:2:type=DGRAM": "listening",
        "systemd:name=log:domain=UNIX:type=DGRAM": "listening",
        "systemd:index=4": "systemd handed over 4 socket(s): the last index is 3",
        "systemd:name=ftp": (
            'systemd handed over no socket named "ftp": there is web, admin, dns, log'
        ),
        "systemd:domain=INET6:name=web": "descriptor 3 is a socket of domain=INET",
        "systemd:name=dns": "descriptor 5 is a socket of type=DGRAM",
        "systemd:name=web:type=DGRAM": "descriptor 3 is a socket of type=STREAM",
    }
    descriptors = [each.fileno() for each in sockets.values()]
    process = start(
        closing,
        *("-c", LAUNCHER, ",".join(map(str, descriptors)), SERVER, *texts),
        descriptors=descriptors,
        names=sockets,
    )
    assert process.stdout is not None
    for text, told in texts.items():
        assert (text, await deferToThread(process.stdout.readline)) == (text, f"{told}\n")
    for name, kind in {
        "web": Kind.STREAM,
        "admin": Kind.STREAM,
        "dns": Kind.DATAGRAM,
        "log": Kind.DATAGRAM,
    }.items():
        assert await ask(addressOf(sockets[name]), name.encode(), kind) == name.encode()
    # It stops when its input ends.
    await deferToThread(process.communicate)
    assert process.returncode == 0
    for each in (path, datagramPath):
        assert each.is_socket()
        assert modeOf(each) == 0o640


ONE_CONNECTION = """
from twisted.internet import reactor
from myserv.endpoints.parse import parseEndpoint
from tests.wire.sockets import Echo, EchoFactory
class Once(Echo):
    def connectionLost(self, reason=None):
        reactor.stop()
echo = EchoFactory()
echo.protocol = Once
reactor.callWhenRunning(lambda: parseEndpoint("stdio:").openStream(reactor).listen(echo))
reactor.run()
"""


@pytest_twisted.ensureDeferred
async def test_standardInputAndOutput(closing: ExitStack) -> None:
    """Are one connection."""
    process = start(closing, "-c", ONE_CONNECTION)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("hello\n")
    process.stdin.flush()
    assert await deferToThread(process.stdout.readline) == "hello\n"
    await deferToThread(process.communicate)
    assert process.returncode == 0


# --- TLS ----------------------------------------------------------------------


NAMES = ("a.example", "b.example", "*.c.example")


class Answer(Echo):
    """Answers once, and closes."""

    def dataReceived(self, data: bytes) -> None:
        """Answer."""
        super().dataReceived(data)
        assert self.transport is not None
        self.transport.loseConnection()


@pytest.fixture
def answer() -> EchoFactory:
    """What is behind TLS."""
    factory = EchoFactory()
    factory.protocol = Answer
    return factory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The certificate of the root that clients trust."""
    file = tmp_path / "root.pem"
    file.write_bytes(authority().certificatePEM)
    return file


@frozen
class Shown:
    """
    What OpenSSL's client saw.

    @ivar chain: The certificates that it was shown.
    @ivar verified: It trusts them.
    """

    chain: tuple[x509.Certificate, ...]
    verified: bool
    output: str

    @property
    def names(self) -> list[str]:
        """The subjects."""
        return [each.subject.rfc4514_string() for each in self.chain]


async def connect(address: Any, root: Path, name: str | None = None) -> Shown:
    """Connect with OpenSSL's client, and ask for a name."""
    where = (
        ["-unix", address]
        if isinstance(address, str)
        else ["-connect", ":".join(map(str, address))]
    )
    asked = ["-servername", name] if name else ["-noservername"]
    completed = await run(
        *("openssl", "s_client", *where, *asked, "-CAfile", str(root)),
        *("-showcerts", "-ign_eof", "-nocommands"),
        input=b"GREETING\n",
    )
    output = completed.stdout.decode()
    blocks = re.findall("-----BEGIN.*?-----END CERTIFICATE-----", output, re.DOTALL)
    chain = tuple(x509.load_pem_x509_certificate(block.encode()) for block in blocks)
    return Shown(chain, "Verification: OK" in output, output)


@pytest.mark.parametrize("below", ["tcp:0:127.0.0.1", "tcp6:0:interface=[::1]", "unix:{}/s"])
@pytest_twisted.ensureDeferred
async def test_tls(below: str, answer: EchoFactory, root: Path, tmp_path: Path) -> None:
    """OpenSSL's client trusts what it is shown over any stream, and gets its answer."""
    file = issue("a.example", "a.example", by=intermediate()).write(tmp_path)
    async with serving(f"tls:cert={quote(str(file))}:{below.format(tmp_path)}", answer) as server:
        address = server.address
        if isinstance(address, tuple) and ":" in address[0]:
            address = (f"[{address[0]}]", address[1])
        shown = await connect(address, root, "a.example")
        assert shown.names == ["CN=a.example", "CN=An intermediate"]
        assert shown.verified
        assert "GREETING" in shown.output


@pytest_twisted.ensureDeferred
async def test_theNameThatAClientAsksFor(answer: EchoFactory, root: Path, tmp_path: Path) -> None:
    """Chooses among the certificates of a directory, of which the first is for all others."""
    directory = tmp_path / "certs"
    for index, each in enumerate(NAMES):
        leaf = issue(each, each, by=intermediate())
        (directory / str(index)).mkdir(parents=True)
        (directory / str(index) / "fullchain.pem").write_bytes(leaf.chainPEM)
        (directory / str(index) / "privkey.pem").write_bytes(leaf.keyPEM)
        (directory / str(index) / "cert.pem").write_bytes(leaf.certificatePEM)
    (directory / "unused.pem").write_bytes(issue("unused").keyPEM)
    async with serving(f"tls:{quote(str(directory))}:0:interface=127.0.0.1", answer) as server:
        for name, subject in {
            "a.example": "CN=a.example",
            "B.Example": "CN=b.example",
            "www.c.example": "CN=*.c.example",
            "c.example": "CN=a.example",
            "unknown.example": "CN=a.example",
            None: "CN=a.example",
        }.items():
            shown = await connect(server.address, root, name)
            assert shown.names == [subject, "CN=An intermediate"], name
            assert shown.verified
            assert "GREETING" in shown.output


@pytest_twisted.ensureDeferred
async def test_anExpiredCertificate(answer: EchoFactory, root: Path, tmp_path: Path) -> None:
    """Is shown, and the client tells."""
    leaf = issue("a.example", "a.example", by=intermediate(), expired=True)
    file = leaf.write(tmp_path)
    async with serving(f"tls:cert={quote(str(file))}:tcp:0:127.0.0.1", answer) as server:
        shown = await connect(server.address, root, "a.example")
        assert "certificate has expired" in shown.output
        assert not shown.verified


@pytest_twisted.ensureDeferred
async def test_whoDoesNotSpeakTLS(answer: EchoFactory, root: Path, tmp_path: Path) -> None:
    """Is disconnected, and the next client is served."""
    file = issue("a.example", "a.example", by=intermediate()).write(tmp_path)
    async with serving(f"tls:cert={quote(str(file))}:tcp:0:127.0.0.1", answer) as server:
        assert await ask(server.address, b"GET / HTTP/1.0\r\n\r\n") == b""
        assert (await connect(server.address, root, "a.example")).verified


# Twisted's own, which uses what pyOpenSSL has deprecated.
@pytest.mark.filterwarnings("ignore:.*(cryptography|pyOpenSSL).*:DeprecationWarning")
@pytest_twisted.ensureDeferred
async def test_ssl(answer: EchoFactory, root: Path, tmp_path: Path) -> None:
    """Twisted's TLS serves a certificate, its chain, and key exchange with parameters of a file."""
    leaf = issue("a.example", "a.example", by=intermediate())
    files = {"cert.pem": leaf.certificatePEM, "key.pem": leaf.keyPEM}
    files["chain.pem"] = intermediate().certificatePEM
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    dh = await run(
        "openssl", "genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:ffdhe2048"
    )
    (tmp_path / "dh.pem").write_bytes(dh.stdout)
    where = quote(str(tmp_path))
    text = (
        f"ssl:0:{where}/key.pem:certKey={where}/cert.pem:extraCertChain={where}/chain.pem"
        f":dhParameters={where}/dh.pem:interface=127.0.0.1"
    )
    async with serving(text, answer) as server:
        shown = await connect(server.address, root, "a.example")
        assert shown.names == ["CN=a.example", "CN=An intermediate"]
        assert shown.verified
        assert "GREETING" in shown.output


@pytest.mark.parametrize("kind", Kind)
@pytest_twisted.ensureDeferred
async def test_oneAtATimeLooksAtAPath(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket that is bound and does not listen yet is not taken for a stale one."""
    path = tmp_path / "sock"
    seen: list[bool] = []

    def look(removed: str, socketType: socket.SocketKind) -> None:
        # Another server that comes now has to wait for the lock.
        other = os.open(tmp_path, os.O_RDONLY)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            seen.append(True)
        finally:
            os.close(other)

    monkeypatch.setattr(unix, "_removeStale", look)
    async with serving(unixText(kind, path)):
        assert seen == [True]
        other = os.open(tmp_path, os.O_RDONLY)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(other)


@pytest_twisted.ensureDeferred
async def test_aLockThatIsHeld(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds the directory's lock for good is no reason not to serve."""
    monkeypatch.setattr(unix, "_LOCK_PAUSE", 0)
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    async with serving(f"unix:{tmp_path}/sock"):
        pass
    os.close(other)


@pytest_twisted.ensureDeferred
async def test_aLinkThatLeadsNowhere(tmp_path: Path) -> None:
    """Is told as what it is."""
    path = tmp_path / "sock"
    path.symlink_to(tmp_path / "nothing")
    assert "leads nowhere" in await failing(f"unix:{path}")
