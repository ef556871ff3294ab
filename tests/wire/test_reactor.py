"""The native reactor: each scenario in a process of its own, and real Twisted programs."""

from __future__ import annotations

import inspect
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.reactor.__main__ import MODULES, judgeAlone
from tests.wire import asyncio_scenarios, misuse_scenarios, native_scenarios, reactor_scenarios
from tests.wire.processes import Processes, freePort, waitFor

pytestmark = pytest.mark.wire

ROOT: Final = Path(__file__).parents[2]

SCENARIOS: Final = [
    (module.__name__, name)
    for module in (reactor_scenarios, misuse_scenarios, native_scenarios, asyncio_scenarios)
    for name, each in vars(module).items()
    if inspect.iscoroutinefunction(each) and list(inspect.signature(each).parameters) == ["reactor"]
]


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Start processes; none outlives the test."""
    with Processes(tmp_path) as started:
        yield started


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        [*map(str, command)],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(("module", "name"), SCENARIOS)
def test_scenario(module: str, name: str) -> None:
    """What L{tests.wire.reactor_scenarios} and its neighbour say of it."""
    ran = run(sys.executable, "-m", module, name, PYTHONPATH=str(ROOT))
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("module", MODULES)
def test_passesWhatEpollPasses(module: str) -> None:
    """Twisted's own reactor tests, but for the exceptions that the reference lists.

    C{make reactor-tests} runs all of them on both reactors.
    """
    ours, failed = judgeAlone(module)
    assert ours
    assert not failed, "\n".join(f"{name}\n{why}" for name, why in failed.items())


def test_saysWhatIsMissing() -> None:
    """Without uvloop the message says how to get it."""
    program = (
        "import sys; sys.modules['uvloop'] = None; from myserv.reactor import install; install()"
    )
    ran = run(sys.executable, "-c", program)
    *_, last = ran.stderr.splitlines()
    needs = "the uvloop reactor needs uvloop, which is not installed: pip install uvloop"
    assert last == f"ImportError: {needs}"
    assert ran.stderr.count("Traceback") == 1
    without = (
        "import sys; sys.modules['uvloop'] = None; from twisted.scripts.twistd import run; run()"
    )
    assert needs in run(sys.executable, "-c", without, "--reactor", "uvloop", "myserv").stdout
    offered = run(sys.executable, "-c", without, "--help-reactors").stdout
    assert re.search(rf"^    !uvloop\t.*{re.escape(needs)}", offered, re.MULTILINE)


def test_isInstalledOnce() -> None:
    """A second reactor is refused, as any is."""
    program = "from twisted.internet import reactor; from myserv.reactor import install; install()"
    assert "ReactorAlreadyInstalledError" in run(sys.executable, "-c", program).stderr


def test_endsChildren(processes: Processes) -> None:
    """A program that starts processes hears of their ends, and ends by a signal itself."""
    (processes.directory / "children.py").write_text(
        textwrap.dedent("""
            from myserv.reactor import install
            install()
            from twisted.internet import reactor
            from twisted.internet.protocol import ProcessProtocol

            class Child(ProcessProtocol):
                def processEnded(self, reason):
                    print("ended", reason.value.exitCode, flush=True)

            # One that ends before the reactor runs, and one after.
            reactor.spawnProcess(Child(), "/bin/sh", ["sh", "-c", "exit 3"])
            reactor.callLater(
                0.1, reactor.spawnProcess, Child(), "/bin/sh", ["sh", "-c", "sleep 0.1; exit 4"]
            )
            reactor.run()
            print("stopped", reactor._exitSignal, flush=True)
        """)
    )
    started = processes.start("python", "children.py")
    waitFor(lambda: "ended 4" in started.output, "the second child")
    assert "ended 3" in started.output
    ended = started.stop()
    assert f"stopped {int(signal.SIGTERM)}" in ended.output
    assert ended.code == 0
    assert ended.errors == ""


def test_servesWebPages(processes: Processes) -> None:
    """C{twistd web} runs on it unmodified: curl keeps its connection, and wrk opens many."""
    port = freePort()
    page = os.urandom(300_000).hex()
    (processes.directory / "page.txt").write_text(page)
    endpoint = f"tcp:{port}:interface=127.0.0.1"
    words = ("-n", "--pidfile=", "--reactor", "uvloop", "web", "--listen", endpoint, "--path", ".")
    started = processes.start("twistd", *words)
    waitFor(lambda: "starting on" in started.output, "it to listen")
    url = f"http://127.0.0.1:{port}/page.txt"
    got = run("curl", "-sv", url, url)
    assert got.stdout == page * 2
    assert "Re-using existing connection" in got.stderr
    assert run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", url + "x").stdout == "404"
    (processes.directory / "short.txt").write_text("short")
    for page, headers in (("short.txt", ()), ("page.txt", ("-H", "Connection: close"))):
        loaded = run("wrk", "-t2", "-c50", "-d1s", *headers, f"http://127.0.0.1:{port}/{page}")
        requests = re.search(r"(\d+) requests in", loaded.stdout)
        assert requests is not None, loaded.stdout + loaded.stderr
        assert int(requests[1]) > 20
        # It says so if there were any, or answers other than 200.
        assert "Socket errors" not in loaded.stdout, loaded.stdout
        assert "Non-2xx" not in loaded.stdout, loaded.stdout
    # As twistd does, it ends by the signal that it got.
    assert started.stop().code == -signal.SIGTERM
    assert "Traceback" not in started.output


def test_takesMail(processes: Processes) -> None:
    """A server on C{twisted.mail} takes a message from swaks, over STARTTLS."""
    port = freePort()
    (processes.directory / "mail.py").write_text(
        textwrap.dedent(f"""
            from myserv.reactor import install
            install()
            from twisted.internet import defer, reactor, ssl
            from twisted.mail import smtp
            from zope.interface import implementer

            key, certificate = open("key.pem", "rb").read(), open("cert.pem", "rb").read()

            @implementer(smtp.IMessage)
            class Message:
                def lineReceived(self, line):
                    print(line.decode(), flush=True)
                def eomReceived(self):
                    return defer.succeed(None)
                def connectionLost(self):
                    pass

            @implementer(smtp.IMessageDelivery)
            class Delivery:
                def receivedHeader(self, helo, origin, recipients):
                    return b"Received: here"
                def validateFrom(self, helo, origin):
                    return origin
                def validateTo(self, user):
                    return Message

            factory = smtp.SMTPFactory()
            context = ssl.PrivateCertificate.loadPEM(key + certificate).options()
            def build(addr):
                built = smtp.ESMTP(contextFactory=context)
                built.factory = factory
                built.delivery = Delivery()
                return built
            factory.buildProtocol = build
            reactor.listenTCP({port}, factory, interface="127.0.0.1")
            print("listening", flush=True)
            reactor.run()
        """)
    )
    run(
        *("openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-subj", "/CN=localhost"),
        *("-keyout", processes.directory / "key.pem", "-out", processes.directory / "cert.pem"),
    )
    started = processes.start("python", "mail.py")
    waitFor(lambda: "listening" in started.output, "it to listen")
    sent = run(
        *("swaks", "--server", f"127.0.0.1:{port}", "--to", "you@localhost", "--tls"),
        *("--from", "me@localhost", "--body", "through the loop", "--header", "Subject: a test"),
    )
    assert sent.returncode == 0, sent.stdout
    assert "TLS started with cipher" in sent.stdout
    waitFor(lambda: "through the loop" in started.output, "the message")
    assert "Subject: a test" in started.output
    started.stop()


def test_speaksSSH(processes: Processes) -> None:
    """A session with OpenSSH's client on C{twisted.conch}."""
    port = freePort()
    (processes.directory / "shell.py").write_text(
        textwrap.dedent(f"""
            from myserv.reactor import install
            install()
            from twisted.conch import avatar
            from twisted.conch.ssh import factory, keys, session
            from twisted.conch.checkers import InMemorySSHKeyDB, SSHPublicKeyChecker
            from twisted.conch.interfaces import ISession
            from twisted.cred.portal import IRealm, Portal
            from twisted.internet import reactor
            from twisted.python.components import registerAdapter
            from zope.interface import implementer

            class Avatar(avatar.ConchUser):
                def __init__(self):
                    super().__init__()
                    self.channelLookup[b"session"] = session.SSHSession

            @implementer(ISession)
            class Shell:
                def __init__(self, avatar):
                    pass
                def execCommand(self, protocol, command):
                    reactor.spawnProcess(protocol, "/bin/sh", ["sh", "-c", command])
                def eofReceived(self):
                    pass
                def closed(self):
                    pass

            registerAdapter(Shell, Avatar, ISession)

            @implementer(IRealm)
            class Realm:
                def requestAvatar(self, name, mind, *interfaces):
                    return interfaces[0], Avatar(), lambda: None

            key = keys.Key.fromFile("id")
            class Factory(factory.SSHFactory):
                publicKeys = {{b"ssh-rsa": key.public()}}
                privateKeys = {{b"ssh-rsa": key}}
                def getPrimes(self):
                    return None

            built = Factory()
            checker = SSHPublicKeyChecker(InMemorySSHKeyDB({{b"me": [key.public()]}}))
            built.portal = Portal(Realm(), [checker])
            reactor.listenTCP({port}, built, interface="127.0.0.1")
            print("listening", flush=True)
            reactor.run()
        """)
    )
    identity = processes.directory / "id"
    run("ssh-keygen", "-q", "-t", "rsa", "-m", "PEM", "-N", "", "-f", identity)
    started = processes.start("python", "shell.py")
    waitFor(lambda: "listening" in started.output, "it to listen")
    said = run(
        *("ssh", "-F", "none", "-p", str(port), "-i", identity, "-o", "BatchMode=yes"),
        *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
        *("me@127.0.0.1", "head -c 300000 /dev/zero | wc -c; exit 7"),
    )
    assert said.stdout.strip() == "300000", said.stderr
    assert said.returncode == 7
    started.stop()


def test_servesOurs(processes: Processes) -> None:
    """C{twistd myserv} on it: echo over TCP, UDP and UNIX."""
    port = freePort()
    endpoints = (
        f"tcp:{port}:interface=127.0.0.1",
        f"udp:{port}:interface=127.0.0.1",
        "unix:echo.sock",
    )
    words = [each for endpoint in endpoints for each in ("--listen", endpoint)]
    started = processes.start(
        "twistd", "-n", "--pidfile=", "--reactor", "uvloop", "myserv", "echo", *words
    ).serving()
    path = str(processes.directory / "echo.sock")
    for family, kind, address in (
        (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", port)),
        (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", port)),
        (socket.AF_UNIX, socket.SOCK_STREAM, path),
    ):
        with socket.socket(family, kind) as client:
            client.settimeout(5)
            client.connect(address)
            client.sendall(b"hello")
            assert client.recv(100) == b"hello"
            if kind == socket.SOCK_STREAM:
                client.shutdown(socket.SHUT_WR)
                assert client.recv(100) == b""
    assert started.stop().code in {0, -signal.SIGTERM}
