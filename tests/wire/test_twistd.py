"""twistd itself, as an operator types it: real processes, real sockets, real clients."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import myserv
from tests.wire.processes import (
    Finished,
    Processes,
    ServerProcess,
    freePort,
    isAlive,
    waitFor,
)

pytestmark = pytest.mark.wire

LOOPBACK: Final = "interface=127.0.0.1"

FOREGROUND: Final = ("twistd", "--pidfile=", "-n")

NOBODY: Final = 65534
"""The user and the group without rights."""

SHOUT: Final = '''
    from attrs import frozen
    from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
    from myserv.plugin import ProtocolPlugin, option

    class Shout(Protocol):
        """Says it louder."""
        def dataReceived(self, data):
            self.transport.write(data.upper())

    class Shouting(Factory):
        protocol = Shout

    class Shot(DatagramProtocol):
        def datagramReceived(self, datagram, addr):
            self.transport.write(datagram.upper(), addr)

    @frozen
    class Options:
        times: int = option(1, help="how often")

    class Often(Shout):
        def __init__(self, context, options): pass

    often = ProtocolPlugin("often", "often", stream=Often, optionsType=Options)
'''

FIRST_FREE: Final = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can bind such a port")


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Start processes; none outlives the test."""
    with Processes(tmp_path) as started:
        yield started


def write(path: Path, text: str) -> Path:
    """Write a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def exchange(port: int, data: bytes) -> bytes:
    """Say something over TCP, and hear everything that is said until the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65536), b""))


def exchangeDatagrams(port: int, data: bytes) -> bytes:
    """Send a datagram, and receive one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(data, ("127.0.0.1", port))
        return client.recv(65536)


def nc(*words: str | Path | int, typed: str) -> str:
    """What netcat prints when this is typed into it."""
    command = ["nc", "-N", *map(str, words)]
    done = subprocess.run(
        command, input=typed, capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout


def isFree(port: int) -> bool:
    """Whether nobody listens at a TCP port."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


def saysOneLine(finished: Finished) -> str:
    """The one line that a refused operator gets, and nothing that Python printed."""
    assert "Traceback" not in finished.output + finished.errors
    assert finished.code == 1
    assert finished.errors.count("\n") == 1, finished.errors
    assert finished.errors.endswith("\n")
    return finished.errors[:-1]


# --- serving ---------------------------------------------------------------------


def test_echoOnEveryTransport(processes: Processes, tmp_path: Path) -> None:
    """
    One service on TCP, UDP and a UNIX socket answers real clients; SIGTERM closes
    its sockets and ends its connections politely, or at the deadline.
    """
    port, path = freePort(), tmp_path / "echo.sock"
    server = processes.start(
        *FOREGROUND,
        *("myserv", "echo", "--listen", f"tcp:{port}:{LOOPBACK}"),
        *("--listen", f"udp:{port}:{LOOPBACK}", "--listen", f"unix:{path}:mode=600"),
        *("--limit", "drain=4s"),
    ).serving()
    assert nc("127.0.0.1", port, typed="hello\n") == "hello\n"
    assert nc("-U", path, typed="hello\n") == "hello\n"
    assert exchangeDatagrams(port, b"hello") == b"hello"
    assert path.stat().st_mode & 0o777 == 0o600

    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as polite,
        socket.create_connection(("127.0.0.1", port), timeout=5) as stuck,
    ):
        polite.sendall(b"hello")
        assert polite.recv(5) == b"hello"
        # Never reads: its answers wait in the server, which cannot say goodbye.
        stuck.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                stuck.send(bytes(65536))
                time.sleep(0.001)
        began = time.monotonic()
        server.send(signal.SIGTERM)
        assert polite.recv(1) == b""
        assert time.monotonic() - began < 4
        assert not path.exists()
        polite.close()
        finished = server.ended()
    assert time.monotonic() - began < 7
    assert finished.code == -signal.SIGTERM
    assert finished.errors == ""
    assert "Traceback" not in finished.output
    assert isFree(port)


def test_classesOfTheCurrentDirectory(processes: Processes, tmp_path: Path) -> None:
    """A Protocol, a Factory and a DatagramProtocol are served by name; SIGINT stops a server."""
    write(tmp_path / "mymodule.py", SHOUT)
    places = {"Shout": "tcp", "Shouting": "tcp", "Shot": "udp"}
    servers: dict[str, tuple[ServerProcess, int]] = {}
    for name, prefix in places.items():
        port = freePort()
        listen = f"{prefix}:{port}:{LOOPBACK}"
        words = (*FOREGROUND, "myserv", f"mymodule:{name}", "--listen", listen)
        servers[name] = (processes.start(*words), port)
    for name, (server, port) in servers.items():
        server.serving()
        say = exchangeDatagrams if name == "Shot" else exchange
        assert say(port, b"hello") == b"HELLO"
    server, port = servers["Shouting"]
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"hello")
        assert client.recv(5) == b"HELLO"
        server.send(signal.SIGINT)
        assert client.recv(1) == b""
    assert server.ended().code == -signal.SIGINT
    assert isFree(port)


def test_configurationAndTacFiles(processes: Processes, tmp_path: Path) -> None:
    """A TOML file serves two services with their options; so does a .tac file one."""
    times, quotes, tac = freePort(), freePort(), freePort()
    write(tmp_path / "quotes.txt", "Less is more.\n")
    write(
        tmp_path / "myserv.toml",
        f"""
        [services.berlin]
        protocol = "daytime"
        listen = ["tcp:{times}:{LOOPBACK}", "udp:{times}:{LOOPBACK}"]
        options.zone = "Asia/Tokyo"

        [services.wisdom]
        protocol = "qotd"
        listen = "tcp:{quotes}:{LOOPBACK}"

        [services.wisdom.options]
        file = "quotes.txt"
        """,
    )
    write(
        tmp_path / "quotes.tac",
        f"""
        from twisted.application import service
        from myserv.app import makeServer, makeService

        application = service.Application("quotes")
        makeService(
            "qotd", listen="tcp:{tac}:{LOOPBACK}", options={{"file": "quotes.txt"}}, name="said"
        ).setServiceParent(application)
        """,
    )
    configured = processes.start(*FOREGROUND, "myserv", "--config", "myserv.toml")
    written = processes.start(*FOREGROUND, "-oy", "quotes.tac").serving()
    configured.serving(2)
    assert exchange(quotes, b"") == b"Less is more.\r\n"
    assert b"JST" in exchange(times, b"")
    assert b"JST" in exchangeDatagrams(times, b"")
    assert exchange(tac, b"") == b"Less is more.\r\n"
    assert "said: listening on" in written.output
    assert configured.stop().output.count(": stopped\n") == 2
    assert written.stop().errors == ""


def test_builtInsAsCommands(processes: Processes) -> None:
    """Each built-in protocol is a command of twistd's own."""
    names = ("echo", "discard", "chargen", "qotd", "daytime", "time")
    ports = {name: freePort() for name in names}
    servers = [
        processes.start(*FOREGROUND, f"myserv-{name}", "--listen", f"tcp:{port}:{LOOPBACK}")
        for name, port in ports.items()
    ]
    for server in servers:
        server.serving()
    assert exchange(ports["echo"], b"hello") == b"hello"
    assert exchange(ports["discard"], b"hello") == b""
    assert exchange(ports["qotd"], b"").endswith(b"\r\n")
    assert re.search(rb" \d\d:\d\d:\d\d-UTC\r\n", exchange(ports["daytime"], b""))
    (since1900,) = struct.unpack("!I", exchange(ports["time"], b""))
    assert abs(since1900 - 2208988800 - time.time()) < 60
    with (
        socket.create_connection(("127.0.0.1", ports["chargen"]), timeout=5) as client,
        client.makefile("rb") as lines,
    ):
        assert lines.readline().startswith(b" !\"#$%&'()*+,-./0123456789")


def test_killedAndStartedAgain(processes: Processes, tmp_path: Path) -> None:
    """After kill -9 the same command serves again at once, at the same port and path."""
    port, path = freePort(), tmp_path / "echo.sock"
    words = (
        *FOREGROUND,
        *("myserv", "echo", "--listen", f"tcp:{port}:{LOOPBACK}", "--listen", f"unix:{path}"),
    )
    first = processes.start(*words).serving()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"
        first.send(signal.SIGKILL)
        assert first.ended().code == -signal.SIGKILL
        assert path.exists()
        processes.start(*words).serving()
    assert exchange(port, b"again") == b"again"
    assert nc("-U", path, typed="again\n") == "again\n"


# --- daemons and rights ------------------------------------------------------------


def test_daemon(processes: Processes, tmp_path: Path) -> None:
    """
    A daemon is there when its parent has returned, serves, and leaves no pid file;
    one that cannot start tells its parent why.
    """
    port, pidFile, log = freePort(), tmp_path / "echo.pid", tmp_path / "echo.log"
    words = ("myserv", "echo", "--listen", f"tcp:{port}:{LOOPBACK}")
    assert processes.run("twistd", f"--pidfile={pidFile}", f"--logfile={log}", *words).code == 0
    pid = int(pidFile.read_text())
    processes.adopt(pid)
    assert exchange(port, b"hello") == b"hello"

    other, otherLog = tmp_path / "other.pid", tmp_path / "other.log"
    finished = processes.run("twistd", f"--pidfile={other}", f"--logfile={otherLog}", *words)
    assert finished.code == 1
    reason = f"cannot listen on tcp:{port}:{LOOPBACK}: the address is in use"
    assert finished.errors.splitlines()[:2] == [
        f"--listen: {reason}: another program listens there",
        # This is twistd's parent, which can tell 100 bytes.
        "An error has occurred: b'Refused: the line above says why'",
    ]
    assert finished.errors.count("in use") == 1
    assert "myserv.tap" not in finished.errors
    assert "Traceback" not in finished.errors
    waitFor(lambda: not other.exists(), "the pid file to go")
    assert "the address is in use: another program listens there" in otherLog.read_text()
    assert "Traceback" not in otherLog.read_text()

    os.kill(pid, signal.SIGTERM)
    waitFor(lambda: not isAlive(pid), "the daemon to end")
    assert not pidFile.exists()
    assert isFree(port)
    assert log.read_text().count("echo: stopped") == 1


@root
def test_rootBindsAndNobodyServes(processes: Processes) -> None:
    """Started as root, it binds a privileged port and serves without rights."""
    port = freePort(range(600, 1024))
    server = processes.start(
        *FOREGROUND,
        *(f"--uid={NOBODY}", f"--gid={NOBODY}", "--rundir=/"),
        *("myserv", "echo", "--listen", f"tcp:{port}:{LOOPBACK}"),
    ).serving()
    assert exchange(port, b"hello") == b"hello"
    status = Path(f"/proc/{server.pid}/status").read_text()
    for kind in ("Uid", "Gid"):
        assert re.search(rf"^{kind}:" + rf"\t{NOBODY}" * 4 + "$", status, re.MULTILINE)
    assert "Traceback" not in server.stop().output


@pytest.mark.skipif(FIRST_FREE == 0, reason="here anybody may bind any port")
def test_withoutRights(processes: Processes, tmp_path: Path) -> None:
    """Who may not bind a port, or not read the file, is told so."""
    port = 1
    config = write(tmp_path / "secret.toml", "")
    config.chmod(0)
    binding = processes.start(
        *(*FOREGROUND, "myserv", "echo", "--listen", f"tcp:{port}:{LOOPBACK}"),
        withoutRights=True,
    )
    reading = processes.start(*FOREGROUND, "myserv", "--config", config, withoutRights=True)
    assert saysOneLine(binding.ended()) == (
        f"--listen: cannot listen on tcp:{port}:{LOOPBACK}: permission denied: a port below 1024 "
        "needs root or CAP_NET_BIND_SERVICE (started as root, twistd --uid drops it after it has "
        "bound)"
    )
    assert saysOneLine(reading.ended()) == (
        f"{config}: cannot be read: this user has no permission to"
    )


# --- what an operator gets wrong -----------------------------------------------------

IN_USE: Final = "the address is in use: another program listens there"

TOML: Final = '[services.a]\nprotocol = "daytime"\nlisten = "tcp:7007"\n'

WRONG: Final[dict[str, tuple[str, str]]] = {
    "port in use": (
        "myserv echo --listen tcp:{busy}:interface=127.0.0.1",
        "--listen: cannot listen on tcp:{busy}:interface=127.0.0.1: {used}",
    ),
    "port in use, in a file": (
        "myserv --config busy.toml",
        "busy.toml:3:1: services.a.listen[0]: cannot listen on tcp:{busy}:interface=127.0.0.1: {used}",
    ),
    "port in use, in a .tac file": (
        "-oy busy.tac",
        "service echo: listen[0]: cannot listen on tcp:{busy}:interface=127.0.0.1: {used}",
    ),
    "unknown protocol": (
        "myserv ehco --listen tcp:7007",
        'unknown protocol "ehco"; did you mean "echo"?',
    ),
    "unknown endpoint key": (
        "myserv echo --listen tcp:7007:interfaec=127.0.0.1",
        '--listen: in "tcp:7007:interfaec=127.0.0.1": tcp has no key "interfaec"; did you mean "interface"?',
    ),
    "unknown prefix": (
        "myserv-echo --listen tpc:7007",
        '--listen: in "tpc:7007": there is no prefix "tpc"; did you mean "tcp"?',
    ),
    "datagram endpoint, stream protocol": (
        "myserv mymodule:Shout --listen udp:7007",
        '--listen: "udp:7007" is a datagram endpoint, and mymodule:Shout is a protocol over streams only',
    ),
    "config is a directory": ("myserv --config .", ".: is a directory, not a file"),
    "config is missing": ("myserv --config nope.toml", "nope.toml: there is no such file"),
    "config is binary": (
        "myserv --config binary.toml",
        "binary.toml:1:2: is not UTF-8: the byte 0xff cannot stand here",
    ),
    "config is not TOML": (
        "myserv --config broken.toml",
        "broken.toml:2:12: is not TOML: a value must stand here; text needs quotes",
    ),
    "malformed address": (
        "myserv echo --listen tcp:7007:interface=300.1.1.1",
        (
            "--listen: in \"tcp:7007:interface=300.1.1.1\": tcp: the interface '300.1.1.1' is not"
            ' an IP address: write one such as "127.0.0.1"'
        ),
    ),
    "option of the wrong type": (
        "myserv mymodule:often --times much --listen tcp:7007",
        "--times: 'much' is not a whole number",
    ),
    "option of the wrong type, in a file": (
        "myserv --config type.toml",
        "type.toml:4:9: services.a.options.zone: 5 is not text: put it in quotes",
    ),
    "unknown option": (
        "myserv daytime --zoen UTC --listen tcp:7007",
        'myserv: there is no flag --zoen; did you mean "--zone"?',
    ),
    "unknown option, in a file": (
        "myserv --config option.toml",
        'option.toml:4:9: services.a.options.zoen: unknown option; did you mean "zone"?',
    ),
    "nothing to listen on": (
        "myserv echo",
        "myserv: echo needs --listen: where to listen, such as --listen tcp:7007",
    ),
}


@pytest.fixture(scope="module")
def wrongPlace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """A directory of files that are wrong, and a port that is taken."""
    directory = tmp_path_factory.mktemp("wrong")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = taken.getsockname()[1]
        listen = f"tcp:{busy}:{LOOPBACK}"
        files = {
            "mymodule.py": SHOUT,
            "busy.toml": TOML.replace("tcp:7007", listen),
            "busy.tac": f"""
                from twisted.application import service
                from myserv.app import makeService

                application = service.Application("busy")
                makeService("echo", listen="{listen}").setServiceParent(application)
                """,
            "broken.toml": TOML.replace('"daytime"', "daytime"),
            "type.toml": TOML + "options.zone = 5\n",
            "option.toml": TOML + 'options.zoen = "UTC"\n',
        }
        for name, text in files.items():
            write(directory / name, text)
        (directory / "binary.toml").write_bytes(b"a\xff\x00")
        yield directory, busy


@pytest.mark.parametrize(("words", "line"), WRONG.values(), ids=WRONG)
def test_wrongInputIsOneLine(
    processes: Processes, wrongPlace: tuple[Path, int], words: str, line: str
) -> None:
    """Whatever an operator gets wrong is told in one line, with exit code 1."""
    directory, busy = wrongPlace
    finished = processes.run(*FOREGROUND, *words.format(busy=busy).split(), directory=directory)
    assert saysOneLine(finished) == line.format(busy=busy, used=IN_USE)


def test_noneOfFiveEndpointsStaysOpen(processes: Processes, tmp_path: Path) -> None:
    """When the third endpoint cannot be opened, the two before it are closed again."""
    first, last, path = freePort(), freePort(), tmp_path / "echo.sock"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = taken.getsockname()[1]
        finished = processes.run(
            *(*FOREGROUND, "myserv", "echo"),
            *("--listen", f"unix:{path}", "--listen", f"tcp:{first}:{LOOPBACK}"),
            *("--listen", f"tcp:{busy}:{LOOPBACK}"),
            *("--listen", f"tcp:{last}:{LOOPBACK}", "--listen", f"unix:{path}.2"),
        )
    assert f"cannot listen on tcp:{busy}" in saysOneLine(finished)
    assert not path.exists()
    assert not path.with_suffix(".sock.2").exists()
    assert finished.output.count("listening on") == 2
    assert finished.output.count("is closed") == 2
    assert "serving" not in finished.output


# --- what others install ---------------------------------------------------------------


def distribute(site: Path, name: str, entryPoint: str, files: dict[str, str]) -> None:
    """Lay out a distribution as pip would."""
    information = site / f"{name}-1.0.dist-info"
    write(information / "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    write(information / "entry_points.txt", f"[myserv.protocols]\n{entryPoint}\n")
    for path, text in files.items():
        write(site / path, text)


def test_brokenPluginOfAThirdParty(processes: Processes, tmp_path: Path) -> None:
    """A broken plugin is named in a warning, and every other protocol is there."""
    site, port = tmp_path / "site", freePort()
    distribute(site, "quotes", "quotes = quotes:quotes", {"quotes.py": "raise ValueError('no')"})
    environment = {"PYTHONPATH": str(site)}
    asked = processes.start(*FOREGROUND, "myserv", "--help", environment=environment)
    wanted = processes.start(
        *(*FOREGROUND, "myserv", "quotes", "--listen", "tcp:7007"), environment=environment
    )
    echo = processes.start(
        *(*FOREGROUND, "myserv", "echo", "--listen", f"tcp:{port}:{LOOPBACK}"),
        environment=environment,
    )
    broken = (
        'the protocol "quotes" of quotes 1.0 (quotes:quotes) is broken: '
        "ValueError: no (quotes.py, line 1)"
    )
    helped = asked.ended()
    assert helped.code == 0
    assert helped.errors == f"warning: {broken}\n"
    assert "    echo           send back what arrives (RFC 862)\n" in helped.output
    assert "quotes" not in helped.output
    assert saysOneLine(wanted.ended()) == broken
    echo.serving()
    assert exchange(port, b"hello") == b"hello"


def test_oneNameOfTwoDistributions(processes: Processes, tmp_path: Path) -> None:
    """A name that two distributions claim is served for neither, and both are named."""
    site = tmp_path / "site"
    distribute(site, "rival", "echo = rival:Echo", {"rival.py": "from mymodule import Echo"})
    finished = processes.run(
        *(*FOREGROUND, "myserv", "echo", "--listen", "tcp:7007"),
        environment={"PYTHONPATH": str(site)},
    )
    assert saysOneLine(finished) == (
        f'the protocol "echo" is offered by myserv {myserv.__version__} and by rival 1.0: '
        "uninstall one of them"
    )


LATE: Final = '''
    import errno

    from twisted.internet.defer import Deferred
    from twisted.internet.error import CannotListenError
    from twisted.internet.interfaces import IStreamServerEndpoint, IStreamServerEndpointStringParser
    from twisted.plugin import IPlugin
    from zope.interface import implementer

    waiting = []

    def failAll():
        for port, listening in waiting:
            error = CannotListenError("127.0.0.1", port, OSError(errno.EADDRINUSE, "in use"))
            listening.errback(error)

    @implementer(IStreamServerEndpoint)
    class Late:
        """Takes its time, and then cannot; several cannot at the same moment."""
        def __init__(self, reactor, port):
            self.reactor, self.port = reactor, port

        def listen(self, factory):
            if not waiting:
                self.reactor.callLater(0.1, failAll)
            waiting.append((self.port, Deferred()))
            return waiting[-1][1]

    @implementer(IPlugin, IStreamServerEndpointStringParser)
    class Parser:
        prefix = "late"
        def parseStreamServer(self, reactor, port):
            return Late(reactor, int(port))

    late = Parser()
'''


def test_endpointThatFailsLate(processes: Processes, tmp_path: Path) -> None:
    """An endpoint that fails when twistd runs already ends it, with its line and exit code 1."""
    port, path = freePort(), tmp_path / "echo.sock"
    write(tmp_path / "site" / "twisted" / "plugins" / "late_endpoint.py", LATE)
    write(
        tmp_path / "late.toml",
        f"""
        [services.a]
        protocol = "echo"
        listen = ["tcp:{port}:{LOOPBACK}", "late:1"]
        [services.b]
        protocol = "echo"
        listen = ["unix:{path}", "late:2"]
        """,
    )
    environment = {"PYTHONPATH": str(tmp_path / "site")}
    one = processes.start(
        *(*FOREGROUND, "myserv", "echo", "--listen", f"tcp:{port}:{LOOPBACK}"),
        *("--listen", "late:7"),
        environment=environment,
    )
    finished = one.ended()
    assert saysOneLine(finished) == f"--listen: cannot listen on late:7: {IN_USE}"
    assert finished.output.count("is closed") == 1
    assert f"echo: cannot listen on late:7: {IN_USE}" in finished.output

    # Two services, of which the second fails when the first one's failure ends them.
    both = processes.run(*FOREGROUND, "myserv", "--config", "late.toml", environment=environment)
    assert both.code == 1
    assert "Traceback" not in both.output + both.errors
    assert re.sub(r":(\d+):\d+:", r":\1:", both.errors).splitlines() == [
        f"late.toml:4: services.a.listen[1]: cannot listen on late:1: {IN_USE}",
        f"late.toml:7: services.b.listen[1]: cannot listen on late:2: {IN_USE}",
    ]
    assert not path.exists()
