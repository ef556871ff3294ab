"""SIGTERM: what becomes of those who are connected, in real processes and real time."""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
import ssl
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

import pytest

from tests.endpoints.certificates import authority, issue
from tests.wire.processes import Finished, Processes, ServerProcess, freePort, waitFor

pytestmark = pytest.mark.wire

LATE: Final = '''
    from twisted.internet import reactor
    from twisted.internet.protocol import Protocol

    class Late(Protocol):
        """Answers after a second."""
        def dataReceived(self, data):
            reactor.callLater(1, self.transport.write, data.upper())

    class Never(Protocol):
        """Does not answer."""

    class Now(Protocol):
        """Answers at once."""
        def dataReceived(self, data):
            self.transport.write(data.upper())
'''

DRAINING: Final = "a second SIGTERM or SIGINT ends it at once"
"""What the log says of a server that drains."""


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Those of one test, which find the module there."""
    (tmp_path / "slowly.py").write_text(textwrap.dedent(LATE))
    with Processes(tmp_path) as started:
        yield started


class Served:
    """A server process, and its clients."""

    def __init__(self, processes: Processes, protocol: str, *words: str, layers: str = "") -> None:
        self.port = freePort()
        listen = f"{layers}tcp:{self.port}:interface=127.0.0.1"
        self.process: ServerProcess = processes.start(
            *("twistd", "--pidfile=", "-n", "myserv", f"slowly:{protocol}"),
            *("--listen", listen, *words),
        ).serving()
        self.clients: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.close()

    def connect(self, count: int = 1, sending: bytes = b"") -> list[socket.socket]:
        """Clients that are connected, and have sent this."""
        connected = []
        for _ in range(count):
            client = socket.create_connection(("127.0.0.1", self.port), timeout=10)
            self.clients.append(client)
            connected.append(client)
            client.sendall(sending)
        return connected

    def term(self) -> float:
        """Stop it as an operator would; says when it drains."""
        self.process.send(signal.SIGTERM)
        waitFor(lambda: DRAINING in self.process.output, "the drain")
        return time.monotonic()

    def ended(self) -> Finished:
        """How it ended: as twistd ends by a signal, and with nothing to complain of."""
        finished = self.process.ended()
        assert finished.code == -signal.SIGTERM
        assert finished.errors == ""
        assert "Traceback" not in finished.output
        return finished


def test_inFlight(processes: Processes) -> None:
    """Every request that was under way is answered, and nobody new gets in."""
    with Served(processes, "Late") as served:
        clients = served.connect(50, b"question")
        # They have all been read when the last has its answer; one more is not answered yet.
        assert clients[-1].recv(100) == b"QUESTION"
        for client in clients:
            client.sendall(b"another")
        began = served.term()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", served.port), timeout=5)
        for client in clients:
            with client.makefile("rb") as answers:
                assert answers.read() in (b"QUESTIONANOTHER", b"ANOTHER")
            client.close()
        assert time.monotonic() - began < 5
        output = served.ended().output
        assert "draining 50 connections" in output
        assert "0 connections cut" in output


def test_idle(processes: Processes) -> None:
    """Clients on whose connections nothing is under way leave one after the other, and soon."""
    with Served(processes, "Now") as served:
        clients = served.connect(100, b"question")
        for client in clients:
            assert client.recv(100) == b"QUESTION"
        began = served.term()
        closed = []
        with selectors.DefaultSelector() as selector:
            for client in clients:
                selector.register(client, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select(10):
                    client = key.fileobj  # type: ignore[assignment]
                    assert client.recv(1) == b""
                    closed.append(time.monotonic() - began)
                    selector.unregister(client)
                    client.close()
        # At a hundred a second, after a second without a byte.
        assert min(closed) > 0.7
        assert max(closed) - min(closed) > 0.5
        assert max(closed) < 4
        assert "0 connections cut" in served.ended().output


def test_deadline(processes: Processes) -> None:
    """Who is not done by then is cut."""
    with Served(processes, "Never", "--limit", "drain=2s") as served:
        (client,) = served.connect(sending=b"question")
        began = served.term()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert 1.5 < time.monotonic() - began < 4
        assert "drained in 2 s, 1 connection cut" in served.ended().output


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_secondSignal(processes: Processes, second: signal.Signals) -> None:
    """It ends the drain at once."""
    with Served(processes, "Never") as served:
        clients = served.connect(10, b"question")
        served.term()
        began = time.monotonic()
        served.process.send(second)
        for client in clients:
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        assert time.monotonic() - began < 0.5
        finished = served.ended()
        assert time.monotonic() - began < 2
        assert f"server: {second.name} again, ending at once" in finished.output
        assert "10 connections cut" in finished.output


def test_backlog(processes: Processes) -> None:
    """Who was connected by the kernel and not yet accepted is served, too."""
    with Served(processes, "Now") as served:
        served.process.send(signal.SIGSTOP)
        clients = served.connect(20, b"question")
        served.process.send(signal.SIGTERM)
        served.process.send(signal.SIGCONT)
        for client in clients:
            assert client.recv(100) == b"QUESTION"
            assert client.recv(1) == b""
            client.close()
        assert "0 connections cut" in served.ended().output


def test_handshake(processes: Processes, tmp_path: Path) -> None:
    """A client in the middle of its TLS handshake gets its answer."""
    issued = issue("a.example", "a.example", by=authority(), days=60)
    certs = tmp_path / "certs"
    certs.mkdir()
    issued.write(certs, "server.pem")
    root = tmp_path / "root.pem"
    root.write_bytes(authority().certificatePEM)
    context = ssl.create_default_context(cafile=str(root))
    with Served(processes, "Now", layers=f"tls:certs={certs}:") as served:
        clients = served.connect(3)
        # Half a handshake: the server has the client's first words of it.
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        half = context.wrap_bio(incoming, outgoing, server_hostname="a.example")
        with contextlib.suppress(ssl.SSLWantReadError):
            half.do_handshake()
        clients[0].sendall(outgoing.read())
        incoming.write(clients[0].recv(65536))
        served.term()
        # More than it would take to close whoever is idle.
        time.sleep(1.5)
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                half.do_handshake()
                break
            incoming.write(clients[0].recv(65536))
        half.write(b"question")
        clients[0].sendall(outgoing.read())
        answer = b""
        while not answer:
            incoming.write(clients[0].recv(65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                answer = half.read(100)
        assert answer == b"QUESTION"
        for client in clients[1:]:
            with context.wrap_socket(client, server_hostname="a.example") as secure:
                secure.sendall(b"hello")
                assert secure.recv(100) == b"HELLO"
                assert secure.recv(100) == b""
        clients[0].close()
        assert "0 connections cut" in served.ended().output
