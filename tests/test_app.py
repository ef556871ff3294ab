"""What a .tac file calls."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from twisted.application.service import IService
from twisted.cred.portal import IRealm, Portal
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer
from zope.interface.verify import verifyObject

from myserv.app import makeServer, makeService
from myserv.events import ServiceStarted
from myserv.interfaces import IServerContext
from myserv.limits import Limits
from myserv.plugin import Duration, ProtocolPlugin, option
from myserv.server.service import ProtocolService
from myserv.server.stream import StreamListener
from myserv.tap.server import TwistdServer
from myserv.testing import RecordingObserver


@frozen
class Options:
    """One option."""

    zone: str = option("UTC", help="where")


class Mine:
    """A plugin that keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[tuple[IServerContext, object]] = []
        self.plugin = ProtocolPlugin("mine", "", factory=self.build, optionsType=Options)

    def build(self, context: IServerContext, options: object) -> IProtocolFactory:
        """Make a factory."""
        self.given.append((context, options))
        return Factory.forProtocol(Protocol)


@implementer(IRealm)
class Realm:
    """Where nobody is."""

    def requestAvatar(self, avatarId: object, mind: object, *interfaces: object) -> Any:
        """Nobody asks."""


def built(server: IService) -> list[ProtocolService]:
    """The services of a server."""
    assert isinstance(server, TwistdServer)
    assert verifyObject(IService, server)
    return list(server)


def refusal(capfd: pytest.CaptureFixture[str], *arguments: Any, **others: Any) -> str:
    """The lines that C{makeService} refuses with."""
    with pytest.raises(SystemExit) as raised:
        makeService(*arguments, **others)
    assert raised.value.code == 1
    output, errors = capfd.readouterr()
    assert output == ""
    return str(errors)


def test_serviceOfAName() -> None:
    """A registered protocol is served under its name, and opens nothing yet."""
    [service] = built(makeService("echo", listen=["tcp:7", "udp:7"]))
    assert service.name == "echo"
    assert [each.endpoint for each in service.listeners] == ["tcp:7", "udp:7"]
    assert not service.running


def test_serviceOfAReference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class of one's own is served by its dotted name; one endpoint needs no list."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tacquotes.py").write_text(
        "from twisted.internet.protocol import Protocol\n\nclass MyQuotes(Protocol): pass\n"
    )
    [service] = built(makeService("tacquotes:MyQuotes", listen="tcp:7"))
    assert service.name == "my-quotes"
    assert len(service.listeners) == 1


def test_serviceOfAPlugin(tmp_path: Path) -> None:
    """A plugin in hand gets its options, portal, name, directory and observers."""
    mine, portal, observer = Mine(), Portal(Realm()), RecordingObserver()
    [service] = built(
        makeService(
            mine.plugin,
            listen=iter(["tcp:7"]),
            options={"zone": "Mars"},
            name="north",
            directory=tmp_path / "state",
            portal=portal,
            observers=iter([observer]),
        )
    )
    [(context, options)] = mine.given
    assert service.name == context.name == "north"
    assert options == Options("Mars")
    assert context.portal is portal
    assert context.directory == tmp_path / "state" / "north"
    started = ServiceStarted("north")
    context.emit(started)
    assert observer.events == [started]


def test_defaults() -> None:
    """Without options, a name or a portal there are the defaults."""
    mine = Mine()
    [service] = built(makeService(mine.plugin, listen="tcp:7"))
    [(context, options)] = mine.given
    assert service.name == "mine"
    assert options == Options()
    assert context.portal is None


def test_penalties(capfd: pytest.CaptureFixture[str]) -> None:
    """A C{.tac} file may say what misbehaviour costs."""
    built(makeService("echo", listen="tcp:7", penalties={"exempt": ["::1"]}))
    said = refusal(capfd, "echo", listen="tcp:7", penalties={"threshold": "1h"})
    assert said.startswith("service echo: penalties.maximum: is less than threshold, 1h")


def test_limits() -> None:
    """What peers may do, in the words of a configuration file."""
    [service] = built(makeService("echo", listen="tcp:7", limits={"idle": "5s", "deny": ["::1"]}))
    [listener] = service.listeners
    assert isinstance(listener, StreamListener)
    assert listener.limits == evolve(Limits(), idle=Duration(5), deny=(ip_network("::1"),))
    assert not listener.reportsConnections


def test_linesOfConnections() -> None:
    """Written when they are asked for; another observer may want to know of them without."""
    for arguments in ({"logConnections": True}, {"observers": [RecordingObserver()]}):
        [service] = built(makeService("echo", listen="tcp:7", **arguments))
        [listener] = service.listeners
        assert isinstance(listener, StreamListener)
        assert listener.reportsConnections


def test_mistakesInLimits(capfd: pytest.CaptureFixture[str]) -> None:
    """Each is told with the service and its key."""
    said = refusal(capfd, "echo", listen="tcp:7", limits={"idel": "5s", "lifetime": "soon"})
    assert said.splitlines() == [
        'service echo: limits.idel: unknown option; did you mean "idle"?',
        (
            "service echo: limits.lifetime: 'soon' is not a duration: "
            'write a number and ms, s, m, h or d, such as "30s"'
        ),
    ]
    assert refusal(capfd, "echo", listen="tcp:7", limits="idle=5s") == (
        "limits='idle=5s': give a dictionary, as a configuration file would hold\n"
    )


def test_mistakesInAService(capfd: pytest.CaptureFixture[str]) -> None:
    """A mistake in a .tac file ends the program with a line that names the argument."""
    assert (
        refusal(capfd, "ehco", listen="tcp:7") == 'unknown protocol "ehco"; did you mean "echo"?\n'
    )
    assert refusal(capfd, "echo", listen="tpc:7") == (
        'service echo: listen[0]: in "tpc:7": there is no prefix "tpc"; did you mean "tcp"?\n'
    )
    for listen in ([], 7460, [7460], None):
        assert refusal(capfd, "echo", listen=listen).startswith(
            f"listen={listen!r}: give an endpoint string or a list of them"
        )
    for mistake in ({"options": 3}, {"directory": 3}):
        [(argument, value)] = mistake.items()
        assert refusal(capfd, "echo", listen="tcp:7", **mistake).startswith(f"{argument}={value}: ")
    for name in ("../etc", ""):
        assert refusal(capfd, "echo", listen="tcp:7", name=name).startswith(
            f"service {name}: name: {name!r} cannot be a service's name: "
        )
    assert refusal(capfd, "daytime", listen=["tcp:7", "tcp:7"], options={"zone": 3}) == (
        "service daytime: options.zone: 3 is not text: put it in quotes\n"
        'service daytime: listen[1]: "tcp:7" is asked for twice\n'
    )
    assert refusal(capfd, "daytime", listen="tcp:7", options={"zone": "Mars"}).startswith(
        "service daytime: options.zone: 'Mars' is not a time zone"
    )


def test_server(tmp_path: Path) -> None:
    """A configuration file becomes a server of its services."""
    file = tmp_path / "myserv.toml"
    file.write_text(
        f"""
        [server]
        directory = "{tmp_path}/state"
        [services.b]
        protocol = "echo"
        listen = "tcp:7"
        [services.a]
        protocol = "qotd"
        listen = ["tcp:8", "udp:8"]
        """
    )
    observer = RecordingObserver()
    b, a = built(makeServer(file, portal=Portal(Realm()), observers=iter([observer])))
    assert (b.name, a.name) == ("b", "a")
    started = ServiceStarted("b")
    b.listeners[0].emit(started)
    assert observer.events == [started]
    assert [each.name for each in built(makeServer(str(file)))] == ["b", "a"]


def test_mistakesInAServer(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A mistake in the file ends the program with a line that names its place."""
    file = tmp_path / "myserv.toml"
    with pytest.raises(SystemExit) as raised:
        makeServer(file)
    assert raised.value.code == 1
    assert capfd.readouterr().err == f"{file}: there is no such file\n"


def test_serviceOfAClassInHand(capfd: pytest.CaptureFixture[str]) -> None:
    """A file may define a protocol and serve it, with nothing packaged."""

    class MyProtocol(Protocol):
        """A protocol of this file."""

    [service] = built(makeService(MyProtocol, listen="tcp:0"))
    assert service.name == "my-protocol"
    assert refusal(capfd, int, listen="tcp:0").startswith("int cannot be served: it is the class")
