"""DTLS with the clients that people have, and over a network that loses datagrams."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pytest

from tests.endpoints.certificates import authority, issue
from tests.wire.processes import Processes, ServerProcess, freePort, waitFor

pytestmark = pytest.mark.wire

WHOAMI: Final = '''
from twisted.internet.protocol import DatagramProtocol


class WhoAmI(DatagramProtocol):
    """Tells a peer what its certificate says."""

    def datagramReceived(self, datagram, addr):
        certificate = self.transport.getPeerCertificate(addr)
        name = certificate.to_cryptography().subject.rfc4514_string() if certificate else "nobody"
        self.transport.write(f"you are {name}\\n".encode(), addr)
'''


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Those that the test starts."""
    with Processes(tmp_path) as started:
        yield started


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    """Two certificates of an authority that is in C{root.crt}, and one for a client."""
    directory = tmp_path / "certs"
    issue("a.example", "a.example", "localhost", by=authority()).write(directory, "a.pem")
    issue("b.example", "b.example", by=authority()).write(directory, "b.pem")
    (tmp_path / "root.crt").write_bytes(authority().certificatePEM)
    client = issue("a client", by=authority())
    (tmp_path / "client.crt").write_bytes(client.certificatePEM)
    (tmp_path / "client.key").write_bytes(client.keyPEM)
    return directory


class Client:
    """
    A program that sends what it reads and prints what it is sent.
    """

    def __init__(self, directory: Path, *command: str | Path) -> None:
        """
        Args:
            directory: Where it runs, and where its output is kept.
            command: The program and its arguments.
        """
        self._output = directory / "client.out"
        with self._output.open("wb") as out:
            self._process = subprocess.Popen(
                [str(each) for each in command],
                cwd=directory,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.kill()
        self._process.wait()

    @property
    def output(self) -> str:
        """What it has printed."""
        return self._output.read_text(errors="replace")

    def type(self, line: str) -> None:
        """Give it a line to send."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def prints(self, text: str, patience: float = 20.0) -> None:
        """Wait until it has printed something."""
        waitFor(lambda: text in self.output, f"{text!r} in {self.output}", patience)

    def ends(self) -> None:
        """Wait until it ends by itself."""
        waitFor(lambda: self._process.poll() is not None, "the end of the client")


def openssl(port: int, *more: str | Path) -> tuple[str | Path, ...]:
    """OpenSSL's client."""
    return ("openssl", "s_client", "-dtls1_2", "-connect", f"127.0.0.1:{port}", *more)


def gnutls(port: int, *more: str | Path) -> tuple[str | Path, ...]:
    """GnuTLS's client."""
    return ("gnutls-cli", "--udp", "-p", str(port), "127.0.0.1", *more)


def serve(
    processes: Processes, port: int, certs: Path, *, keys: str = "", what: str = "echo"
) -> ServerProcess:
    """Serve a protocol over DTLS."""
    endpoint = f"dtls:certs={certs}{keys}:udp:{port}:interface=127.0.0.1"
    arguments = ("-n", "--pidfile=", "myserv", what, "--log-connections", "--listen", endpoint)
    return processes.start("twistd", *arguments, directory=processes.directory).serving()


def test_openssl(processes: Processes, certs: Path, tmp_path: Path) -> None:
    """OpenSSL's client verifies us, talks, and hears our goodbye."""
    port = freePort()
    server = serve(processes, port, certs)
    command = openssl(
        port, "-CAfile", "root.crt", "-verify_return_error", "-servername", "b.example"
    )
    with Client(tmp_path, *command) as client:
        client.prints("Verify return code: 0 (ok)")
        assert "subject=CN = b.example" in client.output
        client.type("hello, hello")
        client.prints("hello, hello\n")
        server.stop()
        client.ends()
    assert "ended after" in server.output
    assert "Traceback" not in server.output


def test_gnutls(processes: Processes, certs: Path, tmp_path: Path) -> None:
    """So does GnuTLS's."""
    port = freePort()
    server = serve(processes, port, certs)
    more = (
        "--x509cafile",
        "root.crt",
        "--sni-hostname",
        "b.example",
        "--verify-hostname",
        "b.example",
    )
    with Client(tmp_path, *gnutls(port, *more)) as client:
        client.prints("Simple Client Mode")
        assert "DTLS1.2" in client.output
        assert "The certificate is trusted" in client.output
        client.type("hello, hello")
        client.prints("hello, hello\n")
        server.stop()
        client.ends()
        assert "Peer has closed the GnuTLS connection" in client.output
    assert "Traceback" not in server.output


@pytest.mark.parametrize("kind", ["openssl", "gnutls"])
def test_clientCertificates(processes: Processes, certs: Path, tmp_path: Path, kind: str) -> None:
    """A protocol from a module, unmodified but for a question, knows who its peer is."""
    (tmp_path / "whoami.py").write_text(WHOAMI)
    port = freePort()
    server = serve(
        processes, port, certs, keys=f":clientCA={tmp_path / 'root.crt'}", what="whoami:WhoAmI"
    )
    command = (
        openssl(port, "-cert", "client.crt", "-key", "client.key", "-quiet")
        if kind == "openssl"
        else gnutls(
            port, "--insecure", "--x509certfile", "client.crt", "--x509keyfile", "client.key"
        )
    )
    with Client(tmp_path, *command) as client:
        client.type("who am I?")
        client.prints("you are CN=a client")
    without = openssl(port) if kind == "openssl" else gnutls(port, "--insecure")
    with Client(tmp_path, *without) as client:
        client.ends()
        assert "you are" not in client.output
    waitFor(lambda: "did not return a certificate" in server.output, "a line in the log")


class LossyProxy:
    """
    Passes datagrams on between clients and a server, and loses some.

    @ivar port: Where clients send.
    @ivar lost: How many it lost.
    """

    def __init__(self, server: int, loss: float, seed: int) -> None:
        """
        Args:
            server: The port of the server.
            loss: How many of a datagram are lost, each way.
            seed: Of the dice.
        """
        self._server = ("127.0.0.1", server)
        self._loss = loss
        self._dice = random.Random(seed)
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind(("127.0.0.1", 0))
        self._back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._back.bind(("127.0.0.1", 0))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.port: int = self._front.getsockname()[1]
        self.lost = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join()
        self._front.close()
        self._back.close()

    def _run(self) -> None:
        client = None
        while not self._stopping.is_set():
            ready, _, _ = select.select([self._front, self._back], [], [], 0.05)
            for each in ready:
                datagram, source = each.recvfrom(65536)
                if each is self._front:
                    client = source
                if self._dice.random() < self._loss:
                    self.lost += 1
                elif each is self._front:
                    self._back.sendto(datagram, self._server)
                elif client is not None:
                    self._front.sendto(datagram, client)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["openssl", "gnutls"])
def test_lossyNetwork(processes: Processes, certs: Path, tmp_path: Path, kind: str) -> None:
    """Where one datagram in five is lost, each way, clients get through and are heard."""
    port = freePort()
    serve(processes, port, certs, keys=":mtu=400:handshakeTimeout=60s")
    with LossyProxy(port, 0.2, seed=5) as proxy:
        command = (
            openssl(proxy.port, "-quiet") if kind == "openssl" else gnutls(proxy.port, "--insecure")
        )
        with Client(tmp_path, *command) as client:
            for _ in range(300):
                client.type("hello, hello")
                time.sleep(0.2)
                if "hello, hello" in client.output:
                    break
            client.prints("hello, hello")
        assert proxy.lost
