"""
Plugin packages, built and installed as their users would: the example, and one
that C{myserv new} has just made.
"""

from __future__ import annotations

import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from attrs import frozen

from tests.wire.packages import ROOT, Environment

pytestmark = [pytest.mark.wire, pytest.mark.slow]

GAUGES: Final = ROOT / "examples" / "myserv-gauges"
LISTEN: Final = (
    *("--listen", "tcp:0:interface=127.0.0.1"),
    *("--listen", "udp:0:interface=127.0.0.1"),
)


@frozen
class Installed:
    """
    What was installed, and where.

    @ivar environment: It has three wheels, their dependencies, pytest and mypy.
    @ivar made: The project that C{myserv new} made.
    @ivar wheels: The wheels by project.
    """

    environment: Environment
    made: Path
    wheels: dict[str, Path]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Build three wheels and install them where nothing else is."""
    environment = Environment.make(tmp_path_factory.mktemp("clean") / "venv")
    environment.install("hatchling", "mypy", "mypy-zope", "pytest")
    wheels = {"myserv": environment.build(ROOT), "gauges": environment.build(GAUGES)}
    environment.install(wheels["myserv"])
    projects = tmp_path_factory.mktemp("projects")
    ran = environment.run("myserv", "new", "quotes", "--directory", projects)
    assert ran.returncode == 0, ran.stderr
    assert "twistd -n quotes --listen tcp:7000" in ran.stdout
    made = projects / "quotes"
    wheels["quotes"] = environment.build(made)
    environment.install(wheels["quotes"], wheels["gauges"])
    return Installed(environment, made, wheels)


def ask(port: int, request: bytes) -> bytes:
    """Say everything over TCP, as nc would, and hear the answer to its end."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as peer:
        peer.sendall(request)
        peer.shutdown(socket.SHUT_WR)
        answer = b""
        while data := peer.recv(4096):
            answer += data
        return answer


def talkToQuotes(ports: dict[str, int]) -> None:
    """A line and a datagram, each answered."""
    assert ask(ports["tcp"], b"one two\nthree four\n") == b"two one\nfour three\n"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(5)
        peer.sendto(b"one two three", ("127.0.0.1", ports["udp"]))
        assert peer.recv(4096) == b"three two one"


def talkToGauges(ports: dict[str, int]) -> None:
    """What a sensor reports in a datagram a watcher hears over its connection."""
    with (
        socket.create_connection(("127.0.0.1", ports["tcp"]), timeout=5) as watcher,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sensor,
        watcher.makefile("rb") as heard,
    ):
        watcher.sendall(b"watch boiler.\n")
        assert heard.readline() == b"ok\n"
        sensor.sendto(b"set boiler.x 81.5", ("127.0.0.1", ports["udp"]))
        assert heard.readline() == b"boiler.x 81.5\n"
        assert ask(ports["tcp"], b"list\n") == b"boiler.x 81.5\nend\n"


def test_wheels_hold_what_they_should(installed: Installed) -> None:
    """The package, its type marker and its twistd command; no tests."""
    for name, package in (("quotes", "quotes"), ("gauges", "myserv_gauges")):
        with zipfile.ZipFile(installed.wheels[name]) as wheel:
            names = {each for each in wheel.namelist() if ".dist-info/" not in each}
        assert f"{package}/py.typed" in names
        assert f"twisted/plugins/{name}_plugin.py" in names
        assert {each.partition("/")[0] for each in names} == {package, "twisted"}


def test_nothing_is_missing(installed: Installed) -> None:
    """Every distribution says all that it depends on."""
    ran = installed.environment.run("python", "-m", "pip", "check")
    assert ran.stdout == "No broken requirements found.\n"


def test_listed_like_a_built_in(installed: Installed) -> None:
    """An installed protocol stands in the list as if it had always been there."""
    ran = installed.environment.run("twistd", "-n", "myserv", "--help")
    assert (ran.returncode, ran.stderr) == (0, "")
    listed = [line.split(None, 1) for line in ran.stdout.partition("Protocols:")[2].splitlines()]
    descriptions = {line[0]: line[1] for line in listed if line}
    assert descriptions["echo"] == "send back what arrives (RFC 862)"
    assert descriptions["gauges"] == "sensors report numbers, others ask or watch"
    assert descriptions["quotes"] == "answers a line with its words in reverse order"


def test_commands_of_their_own(installed: Installed) -> None:
    """Each is a command of twistd, beside myserv."""
    ran = installed.environment.run("twistd", "--help")
    commands = {line.split()[0] for line in ran.stdout.splitlines() if line.startswith("    ")}
    assert {"myserv", "quotes", "gauges"} <= commands


def test_options_are_flags(installed: Installed) -> None:
    """The options class is all that it takes to have flags with help."""
    ran = installed.environment.run("twistd", "-n", "quotes", "--help")
    text = " ".join(ran.stdout.split())
    assert "--max-line= The longest request (size, default 512B)" in text
    assert "--session= How long a connection may last (duration, default 10m)" in text


@pytest.mark.parametrize(
    ("command", "talk"),
    [
        (("myserv", "quotes"), talkToQuotes),
        (("quotes",), talkToQuotes),
        (("myserv", "gauges"), talkToGauges),
        (("gauges",), talkToGauges),
    ],
    ids=["myserv quotes", "quotes", "myserv gauges", "gauges"],
)
def test_serves(
    installed: Installed,
    command: tuple[str, ...],
    talk: Callable[[dict[str, int]], None],
    tmp_path: Path,
) -> None:
    """It is served over TCP and UDP, until an operator stops it."""
    with installed.environment.twistd(*command, *LISTEN, cwd=tmp_path) as serving:
        talk(serving.ports)


def test_class_in_the_current_directory(installed: Installed, tmp_path: Path) -> None:
    """A class needs no package at all."""
    (tmp_path / "loud.py").write_text(
        "from twisted.internet.protocol import Protocol\n"
        "class Loud(Protocol):\n"
        "    def dataReceived(self, data):\n"
        "        self.transport.write(data.upper())\n"
        "        self.transport.loseConnection()\n"
    )
    arguments = ("myserv", "loud:Loud", "--listen", "tcp:0:interface=127.0.0.1")
    with (
        installed.environment.twistd(*arguments, cwd=tmp_path) as serving,
        socket.create_connection(("127.0.0.1", serving.ports["tcp"]), timeout=5) as peer,
    ):
        peer.sendall(b"hello")
        assert peer.recv(4096) == b"HELLO"


@pytest.mark.parametrize("which", ["quotes", "gauges"])
def test_passes_its_own_tests(installed: Installed, which: str) -> None:
    """The tests that it comes with pass against what is installed."""
    project = installed.made if which == "quotes" else GAUGES
    ran = installed.environment.run("pytest", "-q", "-p", "no:cacheprovider", cwd=project)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("which", ["quotes", "gauges"])
def test_types(installed: Installed, which: str, tmp_path: Path) -> None:
    """Strict mypy has nothing to say, with myserv's own types."""
    project = installed.made if which == "quotes" else GAUGES
    ran = installed.environment.run("mypy", "--cache-dir", tmp_path, cwd=project)
    assert ran.returncode == 0, ran.stdout + ran.stderr
