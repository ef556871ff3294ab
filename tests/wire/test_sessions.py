"""Datagram sessions and the limit on answers, over real sockets."""

from __future__ import annotations

import socket
import subprocess
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import pytest

from tests.endpoints.certificates import issue
from tests.wire.processes import Processes, ServerProcess, freePort, waitFor

pytestmark = pytest.mark.wire

TIMEOUT: Final = 5.0
"""Seconds that a client waits for what takes milliseconds."""

SILENCE: Final = 0.3
"""Seconds after which nothing more is expected to come."""

WORDS: Final = '''
    from myserv.plugin import DatagramSession, ProtocolPlugin, SessionLimits

    class Words(DatagramSession):
        """Counts words."""
        count = 0

        def datagramReceived(self, datagram):
            self.count += 1
            if datagram.startswith(b"prove"):
                self.transport.addressProved()
            if datagram.startswith(b"raise"):
                raise KeyError("oops")
            if datagram.startswith(b"large"):
                self.transport.write(bytes(2000))
            else:
                self.transport.write(b"%d %d" % (self.count, self.transport.isProved))

        def sessionLost(self, reason):
            self.transport.write(b"bye " + reason.name.encode())

    words = ProtocolPlugin("words", "x", session=Words, sessionLimits=SessionLimits(perSource=4))
    brief = ProtocolPlugin("brief", "x", session=Words, sessionLimits=SessionLimits(unproved=0.5))
'''


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Start processes; none outlives the test."""
    (tmp_path / "words.py").write_text(textwrap.dedent(WORDS))
    with Processes(tmp_path) as started:
        yield started


def serve(processes: Processes, *words: str | Path) -> ServerProcess:
    """Serve a protocol with twistd."""
    return processes.start("twistd", "--pidfile=", "-n", "myserv", *words).serving()


class Client:
    """
    A socket connected to the server.
    """

    def __init__(self, address: tuple[str, int] | str) -> None:
        if isinstance(address, str):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.bind("")
        else:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.connect(address)

    def ask(self, data: bytes) -> bytes | None:
        """Send something and wait for an answer."""
        self._socket.send(data)
        return self.receive(TIMEOUT)

    def receive(self, timeout: float = SILENCE) -> bytes | None:
        """Wait for a datagram; C{None} if there is none."""
        self._socket.settimeout(timeout)
        try:
            return self._socket.recv(65536)
        except TimeoutError:
            return None

    def send(self, data: bytes) -> None:
        """Send something."""
        self._socket.send(data)

    def close(self) -> None:
        """Close it."""
        self._socket.close()


@pytest.fixture
def client() -> Iterator[type[Client]]:
    """Make clients that are closed after the test."""
    made: list[Client] = []

    class Closed(Client):
        def __init__(self, address: tuple[str, int] | str) -> None:
            super().__init__(address)
            made.append(self)

    yield Closed
    for each in made:
        each.close()


def test_udpAndUnix(processes: Processes, client: type[Client]) -> None:
    """Each socket has a session of its own, which hears when the server stops."""
    port = freePort()
    path = str(processes.directory / "words.sock")
    udp, unix = f"udp:{port}:interface=127.0.0.1", f"unixgram:{path}"
    server = serve(processes, "words:words", "--listen", udp, "--listen", unix)
    first, second = client(("127.0.0.1", port)), client(("127.0.0.1", port))
    local = client(path)
    assert [first.ask(b"a"), first.ask(b"b"), second.ask(b"c")] == [b"1 0", b"2 0", b"1 0"]
    assert local.ask(b"a") == b"1 1"
    assert second.ask(b"raise") == b"bye RAISED"
    assert second.ask(b"d") == b"1 0"
    first.send(b"large")
    assert first.receive() is None
    assert first.ask(b"prove") == b"4 1"
    assert first.ask(b"large") == bytes(2000)
    assert local.ask(b"large") == bytes(2000)
    server.stop()
    assert [each.receive() for each in (first, second, local)] == [b"bye STOPPED"] * 3
    assert "more than 3 times what its source sent" in server.output


def test_manyOfOneHost(processes: Processes, client: type[Client]) -> None:
    """A host has so many; a newcomer takes the place of one that has proved nothing."""
    port = freePort()
    serve(processes, "words:words", "--listen", f"udp:{port}:interface=127.0.0.1")
    proved, *others = [client(("127.0.0.1", port)) for _ in range(5)]
    assert proved.ask(b"prove") == b"1 1"
    for each in others:
        assert each.ask(b"a") == b"1 0"
    assert others[0].receive() == b"bye DISPLACED"
    assert [each.ask(b"a") for each in (proved, *others[1:])] == [b"2 1"] + [b"2 0"] * 3


def test_idle(processes: Processes, client: type[Client]) -> None:
    """A silent peer's session ends, and its next datagram begins another."""
    port = freePort()
    serve(processes, "words:brief", "--listen", f"udp6:{port}:interface=[::1]")
    peer = client(("::1", port))
    assert [peer.ask(b"a"), peer.ask(b"b")] == [b"1 0", b"2 0"]
    assert peer.receive(TIMEOUT) == b"bye IDLE"
    assert peer.ask(b"c") == b"1 0"


@pytest.mark.parametrize("name", ["daytime", "time"])
@pytest.mark.parametrize("place", ["udp:{}:interface=127.0.0.1", "udp6:{}:interface=[::1]"])
def test_emptyDatagrams(processes: Processes, client: type[Client], name: str, place: str) -> None:
    """What RFC 867 and 868 have a client send is answered, as often as it is sent."""
    port = freePort()
    serve(processes, name, "--listen", place.format(port))
    peer = client(("::1" if "6" in place.partition(":")[0] else "127.0.0.1", port))
    assert all(peer.ask(b"") for _ in range(10))


def test_off(processes: Processes, client: type[Client]) -> None:
    """An operator may do without the limit."""
    port = freePort()
    listen = f"udp:{port}:interface=127.0.0.1:amplification=0"
    serve(processes, "words:words", "--listen", listen)
    assert client(("127.0.0.1", port)).ask(b"large") == bytes(2000)


def test_dtls(processes: Processes) -> None:
    """Through DTLS a session is proved, and ends with the association."""
    port = freePort()
    file = issue("a.example", "a.example").write(processes.directory)
    listen = f"dtls:cert={file}:udp:{port}:interface=127.0.0.1"
    server = serve(processes, "words:words", "--listen", listen)
    command = ["openssl", "s_client", "-dtls1_2", "-quiet", "-connect", f"127.0.0.1:{port}"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as openssl:
        try:
            assert openssl.stdin is not None
            assert openssl.stdout is not None
            output = _collect(openssl.stdout)
            expected = bytearray()
            for sent, received in ((b"a\n", b"1 1"), (b"large\n", bytes(2000)), (b"b\n", b"3 1")):
                openssl.stdin.write(sent)
                openssl.stdin.flush()
                expected.extend(received)
                waitFor(lambda: len(output) >= len(expected), f"the answer to {sent!r}")
                assert output == expected
            server.stop()
            waitFor(lambda: output.endswith(b"bye STOPPED"), "the goodbye")
        finally:
            openssl.kill()


def _collect(stream: IO[bytes]) -> bytearray:
    output = bytearray()

    def read() -> None:
        while data := stream.read1():  # type: ignore[attr-defined]
            output.extend(data)

    threading.Thread(target=read, daemon=True).start()
    return output
