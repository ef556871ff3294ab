"""A server of several processes: real twistd, real workers, real clients."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Self

import pytest
from attrs import Factory, define

import myserv
from tests.endpoints.certificates import authority, issue
from tests.wire.processes import Processes, ServerProcess, freePort, isAlive, waitFor

pytestmark = pytest.mark.wire

NOBODY: Final = 65534
"""The user and the group without rights."""

FOREGROUND: Final = ("twistd", "--pidfile=", "-n")

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

PROTOCOLS: Final = '''
import os
from twisted.internet.protocol import Protocol, DatagramProtocol, Factory
from myserv.events import Offence
from myserv.plugin import ProtocolPlugin

class Who(Protocol):
    """Says which process serves, to whoever says anything; some words are not forgiven."""
    def dataReceived(self, data):
        if data == b"bad":
            self.factory.context.penalize(self.transport.getPeer(), "bad", Offence.ABUSE)
        self.transport.write(b"%d %d\\n" % (os.getpid(), os.getuid()))

class WhoDatagram(DatagramProtocol):
    def datagramReceived(self, datagram, addr):
        self.transport.write(b"%d" % os.getpid(), addr)

class Whos(Factory):
    protocol = Who
    def __init__(self, context):
        self.context = context

who = ProtocolPlugin(
    "who", "who", factory=lambda context, options: Whos(context), datagram=WhoDatagram
)

class Stillborn(Whos):
    def startFactory(self):
        raise RuntimeError("no luck")

stillborn = ProtocolPlugin("stillborn", "x", factory=lambda context, options: Stillborn(context))
'''


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Start processes; none outlives the test."""
    (tmp_path / "mine.py").write_text(PROTOCOLS)
    with Processes(tmp_path) as started:
        yield started


def configure(
    processes: Processes, *listen: str, server: str = "workers = 2", more: str = ""
) -> None:
    """Write the configuration file."""
    places = ", ".join(f'"{each}"' for each in listen)
    (processes.directory / "myserv.toml").write_text(
        f"[server]\n{server}\n[limits]\ndrain = '1s'\n[services.who]\nprotocol = 'mine:who'\nlisten = [{places}]\n{more}\n"
    )


UNMEASURED: Final = {"COVERAGE_PROCESS_START": "", "COVERAGE_PROCESS_CONFIG": ""}
"""For processes whose user may not write what was measured where it is kept."""


def start(
    processes: Processes, *flags: str, environment: Mapping[str, str] | None = None
) -> ServerProcess:
    """Start the server."""
    return processes.start(
        *(flags or FOREGROUND), "myserv", "--config", "myserv.toml", environment=environment
    )


def workersStarted(server: ServerProcess, generation: int = 1) -> list[int]:
    """The workers of a generation that were ever ready."""
    found = re.findall(
        rf"worker \d+ of generation {generation} serves \(process (\d+), \w+ reactor\)",
        server.output,
    )
    return [int(each) for each in found]


def serving(server: ServerProcess, workers: int = 2, generation: int = 1) -> list[int]:
    """Wait until the workers of a generation serve."""
    waitFor(
        lambda: len(workersStarted(server, generation)) >= workers,
        f"generation {generation}: {server.output}{server.errors}",
    )
    return workersStarted(server, generation)


def ask(port: int, data: bytes = b"?", timeout: float = 5) -> list[int]:
    """Ask over TCP who serves: the process and its user."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as client:
        client.sendall(data)
        return [int(each) for each in client.recv(100).split()]


def gone(pids: set[int]) -> None:
    """Wait until processes have ended."""
    waitFor(lambda: not any(map(isAlive, pids)), f"{pids} to go")


def clean(server: ServerProcess) -> None:
    """Nothing that Python printed is in the log."""
    assert "Traceback" not in server.output + server.errors
    assert "Unhandled" not in server.output


def stopped(server: ServerProcess) -> None:
    """The server ends as it should when it is told to."""
    finished = server.stop()
    assert finished.code == 0
    clean(server)


@define
class Load:
    """
    Short connections, one after another, from several threads.

    @ivar hasDatagrams: And datagrams.
    @ivar datagrams: How many of them were answered.
    @ivar answers: By process, how many it answered.
    @ivar failures: What went wrong.
    """

    port: int
    hasDatagrams: bool = False
    datagrams: int = 0
    answers: Counter[int] = Factory(Counter)
    failures: list[str] = Factory(list)
    slowest: float = 0.0
    _isOver: bool = False
    _threads: list[threading.Thread] = Factory(list)

    def __enter__(self) -> Self:
        runs = [self._run] * 3 + [self._runDatagrams] * self.hasDatagrams
        self._threads = [threading.Thread(target=each, daemon=True) for each in runs]
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._isOver = True
        for each in self._threads:
            each.join(20)

    def _run(self) -> None:
        while not self._isOver:
            began = time.monotonic()
            try:
                self.answers[ask(self.port)[0]] += 1
            except Exception as error:  # noqa: BLE001 - it is what is counted
                self.failures.append(f"{type(error).__name__}: {error}")
            self.slowest = max(self.slowest, time.monotonic() - began)
            # The servers have the same cores.
            time.sleep(0.001)

    def _runDatagrams(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", self.port))
            client.settimeout(5)
            while not self._isOver:
                try:
                    client.send(b"?")
                    client.recv(100)
                    self.datagrams += 1
                except Exception as error:  # noqa: BLE001 - it is what is counted
                    self.failures.append(f"a datagram: {type(error).__name__}: {error}")
                time.sleep(0.002)

    @property
    def total(self) -> int:
        """How many were answered."""
        return sum(dict(self.answers).values())

    def more(self, count: int) -> None:
        """Wait until so many more are answered."""
        enough = self.total + count
        waitFor(lambda: self.total >= enough, f"{count} more connections")

    def servedBy(self, pids: set[int]) -> None:
        """Wait until each of these processes has answered some."""
        waitFor(
            lambda: all(dict(self.answers).get(pid, 0) > 20 for pid in pids), f"{pids} to serve"
        )


# --- serving ---------------------------------------------------------------------


def test_everyTransport(processes: Processes, tmp_path: Path) -> None:
    """
    Two workers serve TCP, UDP, a UNIX socket and TLS; each gets some, a UDP peer
    stays with one, and SIGTERM ends all of them.
    """
    (tmp_path / "certs").mkdir()
    issue("a", "a.example", by=authority()).write(tmp_path / "certs")
    port, secure, path = freePort(), freePort(), tmp_path / "who.sock"
    old = freePort()
    configure(
        processes,
        f"tcp:{port}:interface=127.0.0.1",
        f"udp:{port}:interface=127.0.0.1",
        f"unix:{path}:mode=600",
        f"unixgram:{path}.dgram",
        f"tls:certs=certs:tcp:{secure}:interface=127.0.0.1",
        f"ssl:{old}:privateKey=certs/server.pem:interface=127.0.0.1",
    )
    server = start(processes)
    pids = serving(server)
    assert len(set(pids)) == 2

    answers = Counter(ask(port)[0] for _ in range(60))
    assert set(answers) == set(pids)
    assert min(answers.values()) > 5

    peers: list[int] = []
    for _ in range(30):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", port))
            client.settimeout(5)
            said = set()
            for _ in range(4):
                client.send(b"?")
                said.add(int(client.recv(100)))
            assert len(said) == 1
            peers += said
    assert set(peers) == set(pids)

    with socket.socket(socket.AF_UNIX) as local:
        local.connect(str(path))
        local.send(b"?")
        assert int(local.recv(100).split()[0]) in pids
    assert path.stat().st_mode & 0o777 == 0o600

    context = ssl.create_default_context(cadata=authority().certificatePEM.decode())
    for each in (secure, old):
        with (
            socket.create_connection(("127.0.0.1", each), timeout=5) as raw,
            context.wrap_socket(raw, server_hostname="a.example") as client,
        ):
            client.send(b"?")
            assert int(client.recv(100).split()[0]) in pids

    assert "[worker 1: myserv#info] who: serving" in server.output
    assert "[worker 2: myserv#info] who: serving" in server.output
    stopped(server)
    assert not path.exists()
    assert not any(map(isAlive, pids))


def test_portsThatAreChosenOrTaken(processes: Processes) -> None:
    """The workers share the port that the system chose; a second server is refused."""
    configure(processes, "tcp:0:interface=127.0.0.1")
    server = start(processes)
    pids = serving(server)
    found = re.findall(r"listening on tcp:0:interface=127.0.0.1 \(127.0.0.1:(\d+)\)", server.output)
    assert len(set(found)) == 1
    port = int(found[0])
    assert {ask(port)[0] for _ in range(40)} == set(pids)
    configure(processes, f"tcp:{port}:interface=127.0.0.1")
    second = start(processes).ended()
    assert second.code == 1
    assert second.errors == (
        f"myserv.toml:7:11: services.who.listen[0]: cannot listen on tcp:{port}:interface=127.0.0.1:"
        " the address is in use: another program listens there\n"
    )
    stopped(server)


def test_whatCannotBeShared(processes: Processes) -> None:
    """An endpoint that only one process can have is an error that names it."""
    configure(processes, "stdio:")
    refused = start(processes).ended()
    assert refused.code == 1
    assert refused.errors == (
        'myserv.toml:7:11: services.who.listen[0]: "stdio" cannot be served by several workers: '
        "take out workers in [server], or the endpoint\n"
    )
    assert processes.run("myserv", "check", "myserv.toml").errors == refused.errors


# --- death -----------------------------------------------------------------------


def test_aWorkerIsKilledUnderLoad(processes: Processes) -> None:
    """
    Its connections are lost, and no other is refused; another one takes its place
    within a second or so, on the same socket.
    """
    port = freePort()
    configure(processes, f"tcp:{port}:interface=127.0.0.1")
    server = start(processes)
    first, second = serving(server)
    with Load(port) as load:
        load.servedBy({first, second})
        os.kill(first, signal.SIGKILL)
        began = time.monotonic()
        [third] = set(serving(server, 3)) - {first, second}
        took = time.monotonic() - began
        load.servedBy({third})
    # Those it had at that moment: one of each thread at most.
    assert len(load.failures) <= 3, load.failures
    assert not any("refused" in each for each in load.failures)
    assert took < 5
    waitFor(lambda: "killed by SIGKILL" in server.output, "a line about it")
    stopped(server)


def test_aWorkerIsToldToGo(processes: Processes) -> None:
    """Its place is taken while its connections end by themselves."""
    port = freePort()
    configure(processes, f"tcp:{port}:interface=127.0.0.1", more="limits.drain = '20s'")
    server = start(processes)
    pids = serving(server)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as busy:
        busy.sendall(b"?")
        told = int(busy.recv(100).split()[0])
        writing = threading.Thread(target=chatter, args=(busy,), daemon=True)
        writing.start()
        os.kill(told, signal.SIGTERM)
        [new] = set(serving(server, 3)) - set(pids)
        assert {ask(port)[0] for _ in range(40)} == {*pids, new} - {told}
        assert isAlive(told)
        busy.shutdown(socket.SHUT_RDWR)
        writing.join(5)
    gone({told})
    stopped(server)


def test_aWorkerThatCannotStart(processes: Processes, tmp_path: Path) -> None:
    """When workers die as they start, the server ends with what they said."""
    configure(processes, f"tcp:{freePort()}:interface=127.0.0.1")
    file = tmp_path / "myserv.toml"
    file.write_text(file.read_text().replace("mine:who", "mine:stillborn"))
    refused = start(processes).ended()
    assert refused.code == 1
    assert refused.errors.count("\n") == 1
    assert "RuntimeError: no luck" in refused.errors
    assert refused.output.count("ended unexpectedly") >= 2 or "ended" in refused.output


def test_aDaemon(processes: Processes, tmp_path: Path) -> None:
    """It has detached when the workers serve, or says why they cannot."""
    port = freePort()
    configure(processes, f"tcp:{port}:interface=127.0.0.1")
    words = ("twistd", "--pidfile=a.pid", "--logfile=a.log", "myserv", "--config", "myserv.toml")
    assert processes.run(*words).code == 0
    pid = int((tmp_path / "a.pid").read_text())
    processes.adopt(pid)
    assert {ask(port)[0] for _ in range(40)} != {pid}
    os.kill(pid, signal.SIGTERM)
    gone({pid})
    assert "Traceback" not in (tmp_path / "a.log").read_text()
    file = tmp_path / "myserv.toml"
    file.write_text(file.read_text().replace("mine:who", "mine:stillborn"))
    refused = processes.run(*words)
    assert refused.code == 1
    assert "RuntimeError: no luck" in refused.errors
    assert not (tmp_path / "a.pid").exists()


def test_theSupervisorIsKilled(processes: Processes) -> None:
    """Its workers notice, close their sockets and go; the port is free."""
    port = freePort()
    configure(processes, f"tcp:{port}:interface=127.0.0.1")
    server = start(processes)
    pids = serving(server)
    server.kill()
    gone(set(pids))
    again = start(processes)
    serving(again)
    stopped(again)


def test_aSecondSignal(processes: Processes) -> None:
    """SIGTERM lets connections end; a second one ends them at once."""
    port = freePort()
    configure(processes, f"tcp:{port}:interface=127.0.0.1")
    server = start(processes)
    serving(server)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as busy:
        busy.sendall(b"?")
        busy.recv(100)
        # A connection over which something is always under way.
        writing = threading.Thread(target=chatter, args=(busy,), daemon=True)
        writing.start()
        server.send(signal.SIGTERM)
        waitFor(lambda: "draining" in server.output, "the drain")
        time.sleep(0.5)
        began = time.monotonic()
        server.send(signal.SIGTERM)
        assert server.ended().code == 0
        assert time.monotonic() - began < 5
        writing.join(5)
    clean(server)


def chatter(client: socket.socket) -> None:
    """Talk until it is over."""
    with contextlib.suppress(OSError):
        while client.send(b"?") and client.recv(100):
            time.sleep(0.05)


# --- reload ----------------------------------------------------------------------


def test_reloadsUnderLoad(processes: Processes) -> None:
    """Three generations take each other's place, and no connection is refused or lost."""
    port, other = freePort(), freePort()
    places = (f"tcp:{port}:interface=127.0.0.1", f"udp:{port}:interface=127.0.0.1")
    configure(processes, *places)
    server = start(processes)
    pids = set(serving(server))
    with Load(port, hasDatagrams=True) as load:
        load.more(300)
        for number in (2, 3, 4):
            if number == 3:
                # More workers, and one more place.
                configure(
                    processes,
                    *places,
                    f"tcp:{other}:interface=127.0.0.1",
                    server="workers = 3",
                )
            if number == 4:
                # Fewer: one of them serves two sockets.
                configure(processes, *places)
            server.send(signal.SIGHUP)
            size = 3 if number == 3 else 2
            new = set(serving(server, size, number))
            if number == 3:
                assert ask(other)[0] in new
            load.servedBy(new)
            gone(pids)
            pids = new
        load.more(max(300, 3000 - load.total))
    assert load.failures == []
    assert load.datagrams > 500
    with pytest.raises(ConnectionRefusedError):
        ask(other)
    stopped(server)


def test_whatIsWrongChangesNothing(processes: Processes) -> None:
    """A file with a mistake, a place that is taken: what runs goes on as before."""
    port = freePort()
    configure(processes, f"tcp:{port}:interface=127.0.0.1")
    server = start(processes)
    pids = serving(server)
    configure(processes, f"tcp:{port}:interface=127.0.0.1", more="limits.idle = 'soon'")
    server.send(signal.SIGHUP)
    waitFor(lambda: "services.who.limits.idle" in server.output, "the mistake to be told of")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        time.sleep(1)
        configure(processes, f"tcp:{port}:interface=127.0.0.1", place)
        server.send(signal.SIGHUP)
        waitFor(lambda: "the address is in use" in server.output, "the place to be told of")
    assert {ask(port)[0] for _ in range(40)} == set(pids)
    stopped(server)


def test_limitsChangeWhereTheyAre(processes: Processes) -> None:
    """Where only limits differ, the workers that run take them."""
    port = freePort()
    configure(processes, f"tcp:{port}:interface=127.0.0.1")
    server = start(processes)
    pids = serving(server)
    configure(processes, f"tcp:{port}:interface=127.0.0.1", more="limits.firstByte = '300ms'")
    server.send(signal.SIGHUP)
    waitFor(lambda: server.output.count("firstByte") >= 2, "both workers to take it")
    for _ in range(4):
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as silent,
            contextlib.suppress(ConnectionResetError),
        ):
            assert silent.recv(1) == b""
    assert {ask(port)[0] for _ in range(40)} == set(pids)
    stopped(server)


# --- limits ----------------------------------------------------------------------


def test_aLimitHoldsForAllWorkers(processes: Processes) -> None:
    """The key maxConnections counts those of both workers, and those of a dead one no longer."""
    port = freePort()
    configure(
        processes,
        f"tcp:{port}:interface=127.0.0.1",
        more="limits = {maxConnections = 10, maxConnectionsPerPeer = 0, whenFull = 'refuse'}",
    )
    server = start(processes)
    first, _ = serving(server)
    with contextlib.ExitStack() as held:

        def fill() -> int:
            taken = 0
            for _ in range(30):
                with contextlib.suppress(OSError):
                    client = socket.create_connection(("127.0.0.1", port), 5)
                    held.enter_context(client)
                    client.sendall(b"?")
                    taken += bool(client.recv(100))
            return taken

        assert 10 <= fill() <= 11
        os.kill(first, signal.SIGKILL)
        serving(server, 3)
        assert 1 <= fill() <= 10
    stopped(server)


def isRefused(port: int) -> bool:
    """Whether a client is turned away."""
    try:
        return ask(port) == []
    except ConnectionError:
        return True


def test_penaltiesAreKnownToAll(processes: Processes) -> None:
    """Who misbehaves is refused by each worker, and by one that comes later."""
    port = freePort()
    configure(processes, f"tcp:{port}:interface=127.0.0.1", more="[penalties]\nexempt = []")
    server = start(processes)
    first, _ = serving(server)
    assert not isRefused(port)
    ask(port, b"bad")
    waitFor(lambda: all(isRefused(port) for _ in range(20)), "both to know")
    os.kill(first, signal.SIGKILL)
    serving(server, 3)
    waitFor(lambda: all(isRefused(port) for _ in range(20)), "the third to know")
    stopped(server)


# --- privileges ------------------------------------------------------------------


@pytest.fixture
def openly() -> Iterator[Processes]:
    """Start processes in a directory that others can read."""
    with tempfile.TemporaryDirectory(prefix="myserv-") as name:
        Path(name).chmod(0o755)
        (Path(name) / "mine.py").write_text(PROTOCOLS)
        with Processes(Path(name)) as started:
            yield started


@root
@pytest.mark.parametrize("workers", [1, 2])
def test_anotherUserServes(openly: Processes, workers: int) -> None:
    """
    What serves is who the file says, on a port that only root may open; the supervisor
    of several stays who it is.
    """
    port = freePort(range(100, 1000))
    configure(
        openly, f"tcp:{port}:interface=127.0.0.1", server=f"workers = {workers}\nuser = 'nobody'"
    )
    server = start(openly, environment=UNMEASURED)
    if workers == 1:
        server.serving()
    else:
        serving(server)
    assert {ask(port)[1] for _ in range(20)} == {NOBODY}
    assert Path(f"/proc/{server.pid}").stat().st_uid == (NOBODY if workers == 1 else 0)
    finished = server.stop()
    assert finished.code == (-signal.SIGTERM if workers == 1 else 0)
    clean(server)


@pytest.mark.parametrize("workers", [1, 2])
def test_usersThatCannotBe(processes: Processes, workers: int) -> None:
    """An unknown user or group is an error at its place."""
    users = "user = 'nobody-at-all'\ngroup = 'none-such'"
    configure(processes, f"tcp:{freePort()}", server=f"workers = {workers}\n{users}")
    refused = start(processes).ended()
    assert refused.code == 1
    assert refused.errors == (
        "myserv.toml:3:1: server.user: there is no user 'nobody-at-all'\n"
        "myserv.toml:4:1: server.group: there is no group 'none-such'\n"
    )
    assert processes.run("myserv", "check", "myserv.toml").errors == refused.errors


# --- the supervisor's next program -----------------------------------------------


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket that systemd would listen on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(20)
        yield listening


def test_theSupervisorIsReplaced(
    processes: Processes, tmp_path: Path, systemd: socket.socket
) -> None:
    """
    With other code of ours installed, SIGHUP replaces the supervisor's program too: the
    process stays, and no connection is refused or lost.
    """
    site = tmp_path / "site-packages"
    shutil.copytree(Path(myserv.__file__).parent, site / "myserv")
    port = freePort()
    configure(processes, f"tcp:{port}:interface=127.0.0.1")
    server = processes.start(
        *("twistd", "-n", "myserv", "--config", "myserv.toml"),
        environment={"PYTHONPATH": str(site), "NOTIFY_SOCKET": str(tmp_path / "notify")},
    )
    pids = set(serving(server))
    heard = systemd.recv(4096).decode().splitlines()
    assert heard[0] == "READY=1"
    assert heard[2] == f"MAINPID={server.pid}"
    pidFile = tmp_path / "twistd.pid"
    assert int(pidFile.read_text()) == server.pid
    with Load(port) as load:
        for generation in (2, 3):
            load.more(200)
            with (site / "myserv" / "limits.py").open("a") as file:
                file.write("# newer\n")
            server.send(signal.SIGHUP)
            new = set(serving(server, 2, generation))
            heard = [systemd.recv(4096).decode().split()[0] for _ in range(2)]
            assert heard == ["RELOADING=1", "READY=1"]
            assert server.output.count("as the program that is installed now") == generation - 1
            load.servedBy(new)
            gone(pids)
            pids = new
        os.kill(min(pids), signal.SIGKILL)
        waitFor(lambda: len(serving(server, 3, 3)) == 3, "another")
    assert len(load.failures) <= 3
    assert int(pidFile.read_text()) == server.pid
    assert server.output.count("starting up") == 3
    stopped(server)
    assert not pidFile.exists()
