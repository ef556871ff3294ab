"""SIGHUP, as an operator sends it: real processes, real sockets, a fresh interpreter each time."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.wire.mutations import KINDS, mutatedConfigurations, rightConfiguration
from tests.wire.processes import Processes, ServerProcess, freePort, waitFor

pytestmark = pytest.mark.wire

LOOPBACK: Final = "interface=127.0.0.1"

MUTATIONS: Final = 12
"""As many wrong files as a test that is run often can try; each takes an interpreter."""

SERVERS: Final = 3
"""Of which each tries its part."""

SEED: Final = 20261120


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Start processes; none outlives the test."""
    with Processes(tmp_path) as started:
        yield started


class Served:
    """A server that was made of a file, and reads it again."""

    def __init__(
        self,
        processes: Processes,
        text: str,
        services: int,
        directory: Path | None = None,
        **environment: str,
    ) -> None:
        directory = directory or processes.directory
        directory.mkdir(exist_ok=True)
        self.file = directory / "a.toml"
        self.file.write_text(text)
        self.process: ServerProcess = processes.start(
            *("twistd", "--pidfile=", "-n", "myserv", "--config", "a.toml"),
            environment=environment,
            directory=directory,
        ).serving(services)

    def lines(self) -> list[str]:
        """What was said of the file so far."""
        return re.findall(r"server: a\.toml (?:is |was )(.*)", self.process.output)

    def reload(self, text: str | None = None) -> list[str]:
        """Send the signal, and wait for what is said."""
        return self.answer(self.ask(text))

    def ask(self, text: str | None = None) -> int:
        """Send the signal, and tell how many lines there were."""
        if text is not None:
            # As editors do, so that no half of a file is read.
            other = self.file.with_suffix(".new")
            other.write_text(text)
            os.replace(other, self.file)
        before = len(self.lines())
        self.process.send(signal.SIGHUP)
        return before

    def answer(self, before: int) -> list[str]:
        """Wait for what is said."""
        waitFor(lambda: len(self.lines()) > before, "something to be said of the file")
        return self.lines()[before:]

    def end(self) -> None:
        """Stop it; nothing went wrong in all its life."""
        finished = self.process.stop()
        assert finished.code == -signal.SIGTERM
        assert "Traceback" not in finished.output + finished.errors


def service(name: str, protocol: str, *listen: str) -> str:
    """The lines of one service."""
    return f'[services.{name}]\nprotocol = "{protocol}"\nlisten = {list(listen)}\n'


def tcp(port: int) -> str:
    """An endpoint on loopback."""
    return f"tcp:{port}:{LOOPBACK}"


def connect(port: int) -> socket.socket:
    """Connect a client."""
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def ask(client: socket.socket, text: bytes = b"hello") -> bytes:
    """Say something, and hear as much."""
    client.sendall(text)
    answer = b""
    while len(answer) < len(text):
        piece = client.recv(4096)
        if not piece:
            break
        answer += piece
    return answer


def isCut(client: socket.socket) -> bool:
    """The server has ended the connection, politely or not."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def isFree(port: int) -> bool:
    """Nobody listens there."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


def test_wrongFiles(processes: Processes, tmp_path: Path) -> None:
    """Each is refused with the line of its mistake, and a client of the old service goes on."""
    everybody: list[tuple[Served, str, socket.socket]] = []
    with contextlib.ExitStack() as clients:
        # Several at a time: a server takes a signal a second.
        for place in range(SERVERS):
            ports = freePort(), freePort()
            right = rightConfiguration(ports)
            served = Served(processes, right, 2, tmp_path / str(place))
            everybody.append((served, right, clients.enter_context(connect(ports[0]))))
        for turn in range(MUTATIONS // SERVERS):
            tried = []
            for place, (served, right, _) in enumerate(everybody):
                mutations = [*mutatedConfigurations(right, MUTATIONS, SEED)]
                mutation = mutations[turn * SERVERS + place]
                tried.append((mutation, served.ask(mutation.text)))
            for (served, _, client), (mutation, before) in zip(everybody, tried, strict=True):
                lines = served.answer(before)
                where = f"wrong, nothing was changed: a.toml:{mutation.line}:"
                assert any(line.startswith(where) for line in lines), (mutation, lines)
                assert ask(client) == b"hello"
        for served, right, client in everybody:
            assert served.reload(right) == ["applied: nothing changed"]
            assert ask(client) == b"hello"
    for served, _, _ in everybody:
        served.end()


def test_kindsOfMistakes() -> None:
    """There are enough of them, and files of one seed are the same."""
    right = rightConfiguration((1, 2))
    once = list(mutatedConfigurations(right, 100, SEED))
    assert once == list(mutatedConfigurations(right, 100, SEED))
    assert {each.name for each in once} == set(KINDS)
    assert len({each.text for each in once} - {right}) == 100


def test_everythingChanges(processes: Processes) -> None:
    """
    Services and endpoints come, go and move, limits get lower; who is connected to what
    stays notices nothing, and who is connected to what goes is sent away.
    """
    stays, moves, goes, comes = (freePort() for _ in range(4))
    served = Served(
        processes,
        service("one", "echo", tcp(stays), tcp(moves)) + service("old", "echo", tcp(goes)),
        2,
    )
    with connect(stays) as staying, connect(moves) as moving, connect(goes) as going:
        clients = (staying, moving, going)
        assert [ask(client) for client in clients] == [b"hello"] * 3
        lines = served.reload(
            service("one", "echo", tcp(stays), "unix:a.sock:mode=600")
            + service("new", "daytime", tcp(moves), f"udp:{comes}:{LOOPBACK}", tcp(comes))
            + '[services.one.limits]\nmaxConnectionsPerPeer = 1\nwhenFull = "refuse"\n'
        )
        assert len(lines) == 1
        assert "services.old: is gone; services.new: is new; " in lines[0]
        assert "services.one.limits.maxConnectionsPerPeer: 1 instead of nothing" in lines[0]
        assert ask(staying) == b"hello"
        # Two are there already, and one may be: the rest is cut, with or without a reset.
        # The reset may come before the client knows that it is connected.
        with contextlib.suppress(ConnectionResetError), connect(stays) as refused:
            assert isCut(refused)
        for port in (moves, comes):
            with connect(port) as client:
                assert client.recv(100).endswith(b"-UTC\r\n")
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(served.file.with_name("a.sock")))
            assert ask(client) == b"hello"
        assert isFree(goes)
        # They are idle, and sent away.
        assert moving.recv(1) == going.recv(1) == b""
        assert ask(staying) == b"hello"
    served.end()
    assert isFree(stays)
    assert not served.file.with_name("a.sock").exists()


def test_aPortThatIsInUse(processes: Processes) -> None:
    """It is told where it was asked for, and nothing of the change is left."""
    stays, comes = freePort(), freePort()
    right = service("one", "echo", tcp(stays))
    served = Served(processes, right, 1)
    with socket.create_server(("127.0.0.1", 0)) as other, connect(stays) as client:
        taken = other.getsockname()[1]
        lines = served.reload(right + service("two", "echo", tcp(comes), tcp(taken)))
        assert lines == [
            (
                "wrong, nothing was changed: a.toml:6:44: services.two.listen[1]: cannot listen on "
                f"{tcp(taken)}: the address is in use: another program listens there"
            )
        ]
        assert isFree(comes)
        assert ask(client) == b"hello"
        assert served.reload(right) == ["applied: nothing changed"]
    served.end()


def test_newCode(processes: Processes) -> None:
    """
    A file that only the new code of a protocol takes is checked with that code; what
    does not even load is told of; and that it does not run yet is told as well.
    """
    port = freePort()
    module = processes.directory / "mine.py"
    module.write_text(
        "from twisted.internet.protocol import Protocol\nclass Quiet(Protocol): pass\n"
    )
    right = service("one", "mine:Quiet", tcp(port))
    served = Served(processes, right, 1)
    assert served.reload() == ["applied: nothing changed"]
    old = module.read_text()
    module.write_text("import nowhere_to_be_found\n")
    [line] = served.reload()
    assert line.startswith("wrong, nothing was changed: a.toml:2:1: services.one.protocol: ")
    assert "nowhere_to_be_found" in line
    module.write_text("import os\nos._exit(7)\n")
    [line] = served.reload()
    assert line.startswith("not checked, nothing was changed: the check broke off")
    assert "exit code 7" in line
    module.write_text(old + "# Better.\n")
    [line] = served.reload()
    assert line.startswith("applied: nothing changed; after a restart: the module mine: ")
    served.end()


def heard(systemd: socket.socket) -> str:
    """The first word that systemd hears next."""
    return systemd.recv(4096).decode().partition("\n")[0]


def test_systemd(processes: Processes, tmp_path: Path) -> None:
    """
    A reload is over when the file was applied or rejected; one that is asked for
    meanwhile comes after it, and a stop does not wait for it.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        right = service("one", "echo", tcp(freePort()))
        served = Served(processes, right, 1, NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert heard(systemd) == "READY=1"
        for text, count in ((right, 1), ("x = 1", 2), (right, 3)):
            served.reload(text)
            assert len(served.lines()) == count + (count > 1)
            assert [heard(systemd), heard(systemd)] == ["RELOADING=1", "READY=1"]
        served.process.send(signal.SIGHUP)
        assert heard(systemd) == "RELOADING=1"
        served.process.send(signal.SIGTERM)
        words = [heard(systemd)]
        finished = served.process.ended()
    assert words[0] in ("STOPPING=1", "READY=1")
    assert finished.code == -signal.SIGTERM
    assert "Traceback" not in finished.output + finished.errors
