"""From plans to services that are ready to open."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from attrs import frozen
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from zope.interface import implementer

from myserv.config.model import ServiceConfig
from myserv.endpoints.kind import Kind
from myserv.errors import ConfigurationError, EndpointError, ListenError, Problem
from myserv.interfaces import IServerContext
from myserv.plugin import ProtocolPlugin, option
from myserv.server.build import Resources, buildServer, stateDirectory
from myserv.server.datagram import DatagramListener
from myserv.server.plan import OnePlugin, PlannedEndpoint, ServicePlan, planServices
from myserv.server.service import ProtocolService, Server
from myserv.server.stream import StreamListener
from myserv.testing import RecordingObserver, SteppedReactor


@frozen
class Options:
    """One option."""

    zone: str = option("UTC", help="where")


class Built:
    """Factories and protocols, as a plugin made them."""

    def __init__(self) -> None:
        self.contexts: list[IServerContext] = []
        self.options: list[object] = []

    def factory(self, context: IServerContext, options: object) -> IProtocolFactory:
        """Make a factory."""
        self.contexts.append(context)
        self.options.append(options)
        return Factory.forProtocol(Protocol)

    def datagram(self, context: IServerContext, options: object) -> DatagramProtocol:
        """Make a datagram protocol."""
        self.contexts.append(context)
        return DatagramProtocol()


def plan(
    plugin: ProtocolPlugin,
    *listen: str,
    name: str = "a",
    options: Mapping[str, object] | None = None,
) -> ServicePlan:
    """Plan one service."""
    request = ServiceConfig(name, plugin.name, listen, options or {}, ("services", name))
    [planned] = planServices([request], OnePlugin(plugin))
    return planned


def resources(**others: Any) -> Resources:
    """What services are built with."""
    return Resources(
        reactor=SteppedReactor(), emit=RecordingObserver().observe, directory=Path("/srv"), **others
    )


def build(*plans: ServicePlan, **others: Any) -> list[ProtocolService]:
    """Build a server of plans."""
    given = resources(**others)
    server = Server(given.reactor)
    assert buildServer(plans, given, server) is server
    return list(server)


def problems(*plans: ServicePlan, **others: Any) -> list[str]:
    """What is wrong with plans, each problem under its key."""
    with pytest.raises(ConfigurationError) as raised:
        build(*plans, **others)
    return [str(problem) for problem in raised.value.problems]


def plugin(
    factory: Callable[..., Any] | None = None,
    datagram: Callable[..., Any] | None = None,
) -> ProtocolPlugin:
    """A plugin of these parts."""
    return ProtocolPlugin("p", "", factory=factory, datagram=datagram, optionsType=Options)


def test_build() -> None:
    """A service has a listener for each endpoint; its factory is made once, in its context."""
    built = Built()

    @implementer(IRealm)
    class Realm:
        def requestAvatar(self, avatarId: object, mind: object, *interfaces: object) -> Any:
            """Nobody asks."""

    portal = Portal(Realm())
    both = plugin(built.factory, built.datagram)
    listen = ("tcp:7", "udp:7", "unix:/a", "udp:8")
    [a, b] = build(
        plan(both, *listen, options={"zone": "Mars"}), plan(both, "tcp:9", name="b"), portal=portal
    )
    assert (a.name, b.name) == ("a", "b")
    assert [type(each) for each in a.listeners] == [
        StreamListener,
        DatagramListener,
        StreamListener,
        DatagramListener,
    ]
    assert [each.endpoint for each in a.listeners] == list(listen)
    assert {each.service for each in a.listeners} == {"a"}
    # One factory and two datagram protocols of the first, one factory of the second.
    assert [context.name for context in built.contexts] == ["a", "a", "a", "b"]
    assert built.contexts[0] is built.contexts[1] is built.contexts[2]
    assert built.contexts[0].portal is portal
    assert built.options == [Options("Mars"), Options()]


def test_datagramsOnly() -> None:
    """Without a stream endpoint no factory is made."""

    def never(context: IServerContext, options: object) -> IProtocolFactory:
        raise AssertionError

    [service] = build(plan(plugin(never, Built().datagram), "udp:7"))
    assert len(service.listeners) == 1


def refuses(context: IServerContext, options: object) -> Any:
    """Refuse an option."""
    raise ConfigurationError(Problem("there is no such zone", ("zone",)))


def raises(context: IServerContext, options: object) -> Any:
    """Have a bug."""
    raise KeyError("two\nlines")


def leaves(context: IServerContext, options: object) -> Any:
    """Leave the program."""
    raise SystemExit(3)


class Shy:
    """Something that raises whatever it is asked for."""

    def __getattr__(self, name: str) -> Any:
        raise GeneratorExit("no")


def shy(context: IServerContext, options: object) -> Any:
    """Make one."""
    return Shy()


def nothing(context: IServerContext, options: object) -> Any:
    """Forget to return something."""


REFUSALS = {
    "the factory": (
        (refuses, None),
        ["tcp:7", "tcp:8"],
        ["services.a.options.zone: there is no such zone"],
    ),
    "each datagram protocol": (
        (None, refuses),
        ["udp:7", "udp:8"],
        ["services.a.options.zone: there is no such zone"],
    ),
    "both": (
        (refuses, refuses),
        ["tcp:7", "udp:8"],
        ["services.a.options.zone: there is no such zone"],
    ),
    "a bug": (
        (raises, None),
        ["tcp:7"],
        [
            r"services.a.protocol: the protocol p is broken: buildFactory raised KeyError: 'two\nlines'"
        ],
    ),
    "a bug with datagrams": (
        (None, raises),
        ["udp:7"],
        [
            r"services.a.protocol: the protocol p is broken: buildDatagramProtocol raised KeyError: 'two\nlines'"
        ],
    ),
    "no factory": (
        (nothing, None),
        ["tcp:7"],
        [
            (
                "services.a.protocol: the protocol p is broken: "
                "buildFactory returned None, which has no buildProtocol"
            )
        ],
    ),
    "no datagram protocol": (
        (None, nothing),
        ["udp:7"],
        [
            (
                "services.a.protocol: the protocol p is broken: "
                "buildDatagramProtocol returned None, which has no datagramReceived"
            )
        ],
    ),
    "a bug that leaves": (
        (leaves, None),
        ["tcp:7"],
        ["services.a.protocol: the protocol p is broken: buildFactory raised SystemExit: 3"],
    ),
    "an object that will not be looked at": (
        (shy, None),
        ["tcp:7"],
        ["services.a.protocol: the protocol p is broken: buildFactory raised GeneratorExit: no"],
    ),
    "a factory of nothing": (
        (lambda context, options: Factory(), None),
        ["tcp:7"],
        [
            (
                "services.a.protocol: the protocol p is broken: the factory Factory has neither "
                "a protocol nor a buildProtocol of its own: give it one"
            )
        ],
    ),
    "the wrapper too": (
        (refuses, None),
        ["tls:certs=/nope:tcp:7"],
        [
            "services.a.options.zone: there is no such zone",
            (
                'services.a.listen[0]: in "tls:certs=/nope:tcp:7": '
                "/nope: there is no such directory of certificates"
            ),
        ],
    ),
    "two wrappers": (
        (Built().factory, None),
        ["tls:certs=/nope:tcp:7", "tcp:8", "tls:certs=/no:tcp:9"],
        [
            (
                'services.a.listen[0]: in "tls:certs=/nope:tcp:7": '
                "/nope: there is no such directory of certificates"
            ),
            (
                'services.a.listen[2]: in "tls:certs=/no:tcp:9": '
                "/no: there is no such directory of certificates"
            ),
        ],
    ),
}


@pytest.mark.parametrize(("parts", "listen", "said"), REFUSALS.values(), ids=REFUSALS)
def test_refusal(parts: Any, listen: list[str], said: list[str]) -> None:
    """Whatever refuses, or is broken, is told under the key that it is about, once."""
    assert problems(plan(plugin(*parts), *listen)) == said


class OwnFactory(Factory):
    """A factory that needs no protocol."""

    def buildProtocol(self, addr: object) -> Protocol:
        """Make one."""
        return Protocol()


class NotAFactory:
    """The like of a factory, without Twisted's class."""

    buildProtocol = Protocol


@pytest.mark.parametrize("make", [OwnFactory, NotAFactory, lambda: Factory.forProtocol(Protocol)])
def test_factoriesThatBuild(make: Callable[[], Any]) -> None:
    """One that says what it builds is taken."""
    [service] = build(plan(plugin(lambda context, options: make()), "tcp:7"))
    assert len(service.listeners) == 1


def test_refusalsOfEveryService() -> None:
    """The problems of all services come in one error."""
    said = problems(
        plan(plugin(refuses), "tcp:7"),
        plan(plugin(raises), "tcp:8", name="b"),
        plan(plugin(Built().factory), "tcp:9", name="c"),
    )
    assert [each.partition(":")[0] for each in said] == [
        "services.a.options.zone",
        "services.b.protocol",
    ]


def test_refusalIsReported() -> None:
    """Whoever knows the document says where problems stand in it."""

    def report(found: Iterable[Problem]) -> ConfigurationError:
        return ConfigurationError(Problem(each.message, where="myserv.toml:4:1") for each in found)

    assert problems(plan(plugin(refuses), "tcp:7"), report=report) == [
        "myserv.toml:4:1: there is no such zone"
    ]


class RefusingEndpoint:
    """A datagram endpoint that cannot be made."""

    kind = Kind.DATAGRAM

    def __str__(self) -> str:
        return "dtls:certs=/nope:udp:7"

    def openDatagram(self, reactor: object) -> Any:
        """Refuse."""
        raise EndpointError("/nope: there is no such directory")


class FailingEndpoint:
    """A stream endpoint that cannot be opened."""

    kind = Kind.STREAM
    place: Any = None

    def __str__(self) -> str:
        return "tcp:7"

    def openStream(self, reactor: object) -> Any:
        """Be its own place."""
        self.place = self
        return self

    def wrapFactory(
        self, context: object, factory: IProtocolFactory, gate: object
    ) -> IProtocolFactory:
        """Add no layer."""
        return factory

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Fail."""
        raise CannotListenError("", 7, OSError("no"))


def planned(plugin: ProtocolPlugin, endpoint: Any) -> ServicePlan:
    """Plan a service on an endpoint of the test's."""
    key = ("services", "a", "listen", 0)
    return ServicePlan("a", plugin, Options(), (PlannedEndpoint(endpoint, key),), ("services", "a"))


def test_datagramEndpointRefuses() -> None:
    """A datagram endpoint that cannot be made is told under its key."""
    assert problems(planned(plugin(None, Built().datagram), RefusingEndpoint())) == [
        ('services.a.listen[0]: in "dtls:certs=/nope:udp:7": /nope: there is no such directory')
    ]


def test_failureToOpenIsReported() -> None:
    """An endpoint that cannot be opened is told where it was asked for."""

    def report(found: Iterable[Problem]) -> ConfigurationError:
        [problem] = found
        return ConfigurationError(Problem(f"{problem.key}: {problem.message}"))

    [service] = build(planned(plugin(Built().factory), FailingEndpoint()), report=report)
    with pytest.raises(ListenError) as raised:
        service.startService()
    assert str(raised.value) == ("('services', 'a', 'listen', 0): cannot listen on tcp:7: no")


def test_lateFailureNeedsNobody() -> None:
    """Without anybody to tell, a late failure is an event only."""
    resources().failedLate(ListenError("late"))


@pytest.mark.parametrize(
    ("configured", "environment", "expected"),
    [
        (Path("/srv/a"), {"STATE_DIRECTORY": "/var/lib/b"}, "/srv/a"),
        (Path("a"), {}, "{here}/a"),
        (None, {"STATE_DIRECTORY": "/var/lib/b", "XDG_STATE_HOME": "/c"}, "/var/lib/b"),
        (None, {"STATE_DIRECTORY": "/var/lib/b:/var/lib/c"}, "/var/lib/b"),
        (None, {"STATE_DIRECTORY": "", "XDG_STATE_HOME": "/c"}, "/c/myserv"),
        (None, {"XDG_STATE_HOME": ""}, "/home/me/.local/state/myserv"),
        (None, {}, "/home/me/.local/state/myserv"),
    ],
)
def test_stateDirectory(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    configured: Path | None,
    environment: dict[str, str],
    expected: str,
) -> None:
    """The operator's word, then systemd's, then the specification's."""
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    assert stateDirectory(configured) == Path(expected.format(here=tmp_path))


def wantsDirectory(context: IServerContext, options: object) -> IProtocolFactory:
    """Need the service's directory."""
    assert context.directory.is_dir()
    return Factory.forProtocol(Protocol)


def test_directory(tmp_path: Path) -> None:
    """A service that asks gets one of its own."""
    given = attrs.evolve(resources(), directory=tmp_path / "x")
    buildServer([plan(plugin(wantsDirectory), "tcp:7")], given, Server(given.reactor))
    assert (tmp_path / "x" / "a").is_dir()


def test_directoryThatCannotBeMade(tmp_path: Path) -> None:
    """That is the operator's business, and no bug of the plugin's."""
    (tmp_path / "x").touch()
    given = attrs.evolve(resources(), directory=tmp_path / "x")
    with pytest.raises(ConfigurationError) as caught:
        buildServer([plan(plugin(wantsDirectory), "tcp:7")], given, Server(given.reactor))
    assert str(caught.value) == (
        "server.directory: the services want a directory for their files: "
        f'{tmp_path}/x/a cannot be made: Not a directory; write "directory" in [server]'
    )


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"XDG_STATE_HOME": "~nobody-of-that-name/x"}, "~nobody-of-that-name/x"),
        ({}, "~/.local/state"),
    ],
)
def test_noHome(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], told: str) -> None:
    """A user without a home is told so when a service wants it, and not before."""
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    # As for a user whom the system does not know.
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    given = attrs.evolve(resources(), directory=stateDirectory(None))
    modest = plan(plugin(Built().factory), "tcp:7")
    buildServer([modest], given, Server(given.reactor))
    with pytest.raises(ConfigurationError) as caught:
        buildServer([plan(plugin(wantsDirectory), "tcp:7")], given, Server(given.reactor))
    assert str(caught.value) == (
        "server.directory: the services want a directory for their files: "
        f'{told} is in a home directory, and there is none; write "directory" in [server]'
    )


def test_noCurrentDirectory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The place of a relative path is unknown when the current directory is gone."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()
    told = stateDirectory(Path("state"))
    assert isinstance(told, ConfigurationError)
    assert "there is no current directory: No such file" in str(told)


@pytest.mark.parametrize(
    ("listen", "limit"),
    [
        ("udp:7", 3),
        ("udp:7:amplification=10", 10),
        ("udp:7:amplification=0", None),
        ("unixgram:/a", 3),
        ("fd:3:type=DGRAM", 3),
        ("fd:3:type=DGRAM:amplification=10", 10),
    ],
)
def test_amplification(listen: str, limit: float | None) -> None:
    """Every datagram endpoint has the limit, and an operator may set that of UDP."""
    [service] = build(plan(plugin(None, Built().datagram), listen))
    [listener] = service.listeners
    assert isinstance(listener, DatagramListener)
    amplification = listener.channel._amplification
    assert (amplification.factor if amplification is not None else None) == limit
