"""From the services that run to others: everything, or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol

from myserv.admission.server import ServerAdmission
from myserv.config.document import parseDocument
from myserv.errors import ConfigurationError, PluginError
from myserv.events import (
    LimitsChanged,
    ListenerFailed,
    ProtocolRaised,
    ServiceStopped,
)
from myserv.interfaces import IProtocolPlugin, IServerContext
from myserv.limits import PenaltyLimits
from myserv.plugin import ProtocolPlugin
from myserv.server.build import Resources, buildServer
from myserv.server.built import BuiltService, builtServices
from myserv.server.changes import Changes, comparePlans
from myserv.server.endings import Endings
from myserv.server.plan import ServerPlan, planServer
from myserv.server.service import Server
from myserv.server.stream import StreamListener
from myserv.server.transition import Transition
from myserv.testing import RecordingObserver
from tests.server.network import Network


class Room(Protocol):
    """Knows how many are in its room."""

    factory: Any

    def connectionMade(self) -> None:
        """One more."""
        self.factory.there += 1
        self.transport.write(b"%d" % self.factory.there)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        """Say it louder."""
        self.transport.write(data.upper())  # type: ignore[union-attr]


class Rooms(Factory):
    """What connections of a service share."""

    protocol = Room
    there = 0
    noisy = False


class Datagrams(DatagramProtocol):
    """Says it louder."""

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Say it louder."""
        self.transport.write(datagram.upper(), addr)  # type: ignore[union-attr]


class Shy(DatagramProtocol):
    """Cannot start."""

    def startProtocol(self) -> None:
        """Do not."""
        raise ZeroDivisionError("no")


def refuse(context: IServerContext, options: object) -> Any:
    """Be a plugin that refuses."""
    raise ConfigurationError("not today")


PLUGINS = {
    "room": ProtocolPlugin(
        "room", "", factory=lambda context, options: Rooms(), datagram=Datagrams
    ),
    "refusing": ProtocolPlugin("refusing", "", factory=refuse),
    "shy": ProtocolPlugin("shy", "", datagram=Shy),
}


class Registry:
    """Finds the plugins above."""

    def find(self, reference: str) -> IProtocolPlugin:
        """Find one."""
        if reference not in PLUGINS:
            raise PluginError(f"there is no {reference}")
        return PLUGINS[reference]


class Stage:
    """A server that runs, on a network in memory."""

    def __init__(self, text: str) -> None:
        self.reactor = Network()
        self.observer = RecordingObserver()
        emit = self.observer.observe
        self.admission = ServerAdmission(self.reactor.seconds, emit, penalties=PenaltyLimits())
        self.server = Server(self.reactor)
        self.endings = Endings()
        self.plan, self.resources = self.read(text)
        buildServer(self.plan.services, self.resources, self.server)
        self.server.privilegedStartService()
        self.server.startService()
        self.observer.events.clear()

    def read(self, text: str) -> tuple[ServerPlan, Resources]:
        """Read a configuration file."""
        document = parseDocument("a.toml", text.encode())
        resources = Resources(
            reactor=self.reactor,
            emit=self.observer.observe,
            directory=Path("/srv"),
            admission=self.admission,
            report=document.report,
        )
        return planServer(document, Registry()), resources

    def transition(self, text: str) -> tuple[Transition, Changes]:
        """Prepare to become what a text says."""
        plan, resources = self.read(text)
        changes = comparePlans(self.plan, plan)
        made = Transition(self.server, changes, resources, self.admission, self.endings)
        return made, changes

    def become(self, text: str) -> list[str]:
        """Become what a text says; or the reasons why not."""
        transition, changes = self.transition(text)
        failures: list[Any] = []
        try:
            transition.build()
        except ConfigurationError as error:
            return str(error).splitlines()
        opening = Deferred.fromCoroutine(transition.open()).addErrback(failures.append)
        self.reactor.settle()
        assert opening.called
        if failures:
            failures[0].trap(ConfigurationError)
            return str(failures[0].value).splitlines()
        transition.commit()
        self.reactor.settle()
        self.plan = changes.after
        return []

    @property
    def services(self) -> dict[str, BuiltService]:
        """The services, by name."""
        return {each.builder.plan.name: each for each in builtServices(self.server)}

    def endpoints(self) -> dict[str, list[str]]:
        """The endpoints of each service."""
        return {
            name: [each.endpoint for each in service.listeners]
            for name, service in self.services.items()
        }

    def happened(self) -> list[str]:
        """The names of the events since last time."""
        names = [type(each).__name__ for each in self.observer.events]
        self.observer.events.clear()
        return names

    def end(self) -> None:
        """Stop the server."""
        stopped = self.server.stopService()
        self.reactor.advance(60)
        assert stopped.called
        assert self.reactor.open() == []
        assert self.reactor.getDelayedCalls() == []


def service(name: str, *listen: str, protocol: str = "room", more: str = "") -> str:
    """The lines of one service."""
    return f'[services.{name}]\nprotocol = "{protocol}"\nlisten = {list(listen)}\n{more}\n'


TWO = service("a", "tcp:1") + service("b", "tcp:2", "udp:2")


def test_nothing() -> None:
    """What is the same is not touched."""
    stage = Stage(TWO)
    before = [each.listeners for each in stage.services.values()]
    assert stage.become(TWO) == []
    assert [each.listeners for each in stage.services.values()] == before
    assert stage.happened() == []
    stage.end()


def test_aNewService() -> None:
    """It opens, serves, and stops with the others."""
    stage = Stage(TWO)
    assert stage.become(TWO + service("c", "tcp:3", "udp:3")) == []
    assert stage.happened() == ["ListenerStarted", "ListenerStarted", "ServiceStarted"]
    assert stage.services["c"].running
    client = stage.reactor.connect(3)
    stage.reactor.settle()
    assert client.received == b"1"
    assert stage.reactor.open() == ["tcp:1", "tcp:2", "tcp:3", "udp:2", "udp:3"]
    client.close()
    stage.end()
    assert stage.observer.ofType(ServiceStopped)[-1] == ServiceStopped("c")


def test_aServiceThatGoes() -> None:
    """Its endpoints close at once; those who are connected have time, and others notice nothing."""
    stage = Stage(TWO)
    client, other = stage.reactor.connect(1), stage.reactor.connect(2)
    client.send(b"hello")
    stage.reactor.settle()
    client.send(b"more")
    assert stage.become(service("b", "tcp:2", "udp:2")) == []
    assert stage.endpoints() == {"b": ["tcp:2", "udp:2"]}
    assert stage.reactor.open() == ["tcp:2", "udp:2"]
    assert [*stage.endings] != []
    assert client.take() == b"1HELLOMORE"
    assert not client.closed
    waiting = stage.endings.wait()
    stage.reactor.advance(10)
    assert client.closed
    assert waiting.called
    other.send(b"hello")
    stage.reactor.settle()
    assert other.take() == b"1HELLO"
    other.close()
    stage.end()


def test_aServiceThatComesBack() -> None:
    """While those of its namesake are still there."""
    stage = Stage(TWO)
    client = stage.reactor.connect(1)
    stage.reactor.settle()
    assert stage.become(service("b", "tcp:2", "udp:2")) == []
    assert stage.become(TWO) == []
    again = stage.reactor.connect(1)
    stage.reactor.settle()
    assert (client.received, again.received) == (b"1", b"1")
    assert stage.admission.connections == 2
    again.close()
    stage.reactor.advance(20)
    assert client.closed
    assert stage.admission.connections == 0
    stage.end()


def test_endpointsComeAndGo() -> None:
    """All connections of a service share what they share, wherever they came in."""
    stage = Stage(service("a", "tcp:1", "udp:1", "tcp:0", "tcp:0"))
    old = stage.reactor.connect(1)
    stage.reactor.settle()
    assert stage.become(service("a", "tcp:0", "tcp:3", "udp:3", "tcp:0:backlog=5")) == []
    assert stage.endpoints() == {"a": ["tcp:0", "tcp:3", "udp:3", "tcp:0:backlog=5"]}
    new = stage.reactor.connect(3)
    peer = stage.reactor.atUDP(3).peer()
    peer.sendDatagram(b"hello")
    stage.reactor.settle()
    assert (old.received, new.received) == (b"1", b"2")
    assert peer.take() == [b"HELLO"]
    [one] = stage.services.values()
    assert len(one.statistics().listeners) == 5
    stage.reactor.advance(20)
    assert old.closed
    assert not new.closed
    assert len(one.statistics().listeners) == 4
    stage.end()


def test_theFirstStreamOfAService() -> None:
    """Its factory is made when it is needed."""
    stage = Stage(service("a", "udp:1"))
    assert stage.become(service("a", "udp:1", "tcp:1")) == []
    client = stage.reactor.connect(1)
    stage.reactor.settle()
    assert client.received == b"1"
    stage.end()


def test_whoLeavesIsCutWithTheRest() -> None:
    """A server that is to end at once does not wait for what an earlier change left over."""
    stage = Stage(service("a", "tcp:1", "tcp:2"))
    client = stage.reactor.connect(1)
    client.stay()
    stage.reactor.settle()
    assert stage.become(service("a", "tcp:2")) == []
    [one] = stage.services.values()
    stopped = one.drain(0.0)
    stage.reactor.settle()
    assert client.aborted
    assert stopped.called
    stage.end()


def test_whoLeavesIsWaitedFor() -> None:
    """A service has stopped when the connections of its former endpoints are gone."""
    stage = Stage(service("a", "tcp:1", "tcp:2", more="limits.drain = '5s'"))
    client = stage.reactor.connect(1)
    client.stay()
    stage.reactor.settle()
    assert stage.become(service("a", "tcp:2", more="limits.drain = '5s'")) == []
    stopped = stage.server.stopService()
    stage.reactor.settle()
    assert not stopped.called
    stage.reactor.advance(20)
    assert stopped.called
    stage.end()


def test_limits() -> None:
    """They hold at once, and for those who are connected."""
    stage = Stage(TWO)
    client, other = stage.reactor.connect(1), stage.reactor.connect(2)
    for each in (client, other):
        each.send(b"hello")
    stage.reactor.settle()
    assert stage.become(TWO + "[services.a.limits]\nidle = '5s'\n") == []
    assert stage.observer.ofType(LimitsChanged) == [LimitsChanged("a", ("idle",))]
    stage.reactor.advance(6)
    assert client.aborted or client.closed
    assert not other.aborted
    stage.end()


def test_aPlaceThatMoves() -> None:
    """It closes in one service before it opens in the other; who is connected drains."""
    stage = Stage(TWO)
    client = stage.reactor.connect(1)
    stage.reactor.settle()
    assert stage.become(service("a", "tcp:3") + service("b", "tcp:2", "udp:2", "tcp:1")) == []
    assert stage.endpoints() == {"a": ["tcp:3"], "b": ["tcp:2", "udp:2", "tcp:1"]}
    new = stage.reactor.connect(1)
    stage.reactor.settle()
    [listener] = [each for each in stage.services["b"].listeners if each.endpoint == "tcp:1"]
    assert isinstance(listener, StreamListener)
    assert len(listener.connections) == 1
    assert not client.closed
    stage.reactor.advance(20)
    assert client.closed
    assert not new.closed
    stage.end()


def test_anEndpointThatIsWrittenAnew() -> None:
    """The same port with another key: the old socket closes first, of datagrams too."""
    stage = Stage(TWO)
    assert (
        stage.become(
            service("a", "tcp:1:backlog=5") + service("b", "tcp:2", "udp:2:interface=127.0.0.1")
        )
        == []
    )
    assert stage.endpoints() == {
        "a": ["tcp:1:backlog=5"],
        "b": ["tcp:2", "udp:2:interface=127.0.0.1"],
    }
    assert stage.reactor.open() == ["tcp:1", "tcp:2", "udp:2"]
    stage.end()


IN_USE = "the address is in use: another program listens there"


def test_onePlaceInTheWayOfTwo() -> None:
    """
    What covers every address makes room for each of those that want one; when the
    second cannot have it, the first closes again and the old one is as it was.
    """
    stage = Stage(service("a", "tcp:1"))
    client = stage.reactor.connect(1)
    stage.reactor.settle()
    reasons = stage.become(
        service("a", "tcp:1:interface=127.0.0.1") + service("b", "tcp:1:interface=127.0.0.2")
    )
    # The network in memory has one address only.
    where = "tcp:1:interface=127.0.0.2"
    assert reasons == [f"a.toml:7:11: services.b.listen[0]: cannot listen on {where}: {IN_USE}"]
    assert stage.endpoints() == {"a": ["tcp:1"]}
    assert stage.reactor.open() == ["tcp:1"]
    client.send(b"hello")
    new = stage.reactor.connect(1)
    stage.reactor.settle()
    assert (client.received, new.received) == (b"1HELLO", b"2")
    stage.end()


def test_everythingThatIsRefused() -> None:
    """Plugins, endpoints and users that are not there, each at its place; nothing is left."""
    stage = Stage(TWO)
    reasons = stage.become(
        service("a", "unix:1", "tls:certs=/nope:unix:5", more="limits.users = 'nobody-knows'")
        + service("c", "tcp:6", protocol="refusing")
        + service("d", "unix:7", more="limits.groups = 'nobody-knows'")
        + service("e", "tcp:8")
    )
    assert [each.split(": ")[:2] for each in reasons] == [
        ["a.toml:3:21", "services.a.listen[1]"],
        ["a.toml:4:8", "services.a.limits.users"],
        ["a.toml:5:11", "services.c.options"],
        ["a.toml:12:8", "services.d.limits.groups"],
    ]
    assert stage.endpoints() == {"a": ["tcp:1"], "b": ["tcp:2", "udp:2"]}
    assert stage.happened() == []
    # Nothing remembers it.
    assert stage.become(TWO) == []
    stage.end()


@pytest.mark.parametrize("wanted", ["tcp:9", "udp:9"])
def test_aPortThatIsInUse(wanted: str) -> None:
    """Whatever was opened closes again, before anything makes room."""
    stage = Stage(TWO)
    stage.reactor.taken.add(9)
    old = stage.reactor.connect(1)
    stage.reactor.settle()
    reasons = stage.become(
        service("a", "tcp:1:backlog=5")
        + service("b", "tcp:2", "udp:2:interface=127.0.0.1", "tcp:4")
        + service("c", "tcp:3", wanted)
    )
    assert reasons == [f"a.toml:11:20: services.c.listen[1]: cannot listen on {wanted}: {IN_USE}"]
    assert stage.endpoints() == {"a": ["tcp:1"], "b": ["tcp:2", "udp:2"]}
    assert stage.reactor.open() == ["tcp:1", "tcp:2", "udp:2"]
    old.send(b"hello")
    stage.reactor.settle()
    assert old.take() == b"1HELLO"
    assert "ServiceStarted" not in stage.happened()
    stage.end()


def test_roomThatIsLost() -> None:
    """Who made room may find that somebody else was quicker: that is told."""
    stage = Stage(TWO)
    client = stage.reactor.connect(1)
    stage.reactor.settle()
    stage.reactor.taken |= {1, 2}
    reasons = stage.become(
        service("a", "tcp:3") + service("b", "tcp:2", "udp:2:interface=127.0.0.1", "tcp:1")
    )
    assert len(reasons) == 1
    [failed] = stage.observer.ofType(ListenerFailed)
    assert (failed.service, failed.endpoint, failed.reason) == ("b", "udp:2", IN_USE)
    client.send(b"hello")
    stage.reactor.settle()
    assert client.take() == b"1HELLO"
    stage.end()


def test_aProtocolThatCannotStart() -> None:
    """Is told like a port that is in use, and its author has the traceback."""
    stage = Stage(TWO)
    reasons = stage.become(TWO + service("c", "udp:5", protocol="shy"))
    assert reasons == [
        "a.toml:11:11: services.c.listen[0]: cannot listen on udp:5: ZeroDivisionError: no"
    ]
    [raised] = stage.observer.ofType(ProtocolRaised)
    assert (raised.service, raised.during) == ("c", "startProtocol")
    stage.end()


def test_theServerStopsMeanwhile() -> None:
    """What is new is closed, and nothing opens again behind its back."""
    stage = Stage(TWO)
    transition, _ = stage.transition(service("a", "tcp:1:backlog=5", "tcp:3"))
    transition.build()
    opening = Deferred.fromCoroutine(transition.open())
    # The old port takes a turn of the reactor to close.
    assert not opening.called
    assert stage.reactor.open() == ["tcp:1", "tcp:2", "tcp:3", "udp:2"]
    stopped = stage.server.stopService()
    opening.cancel()
    opening.addErrback(lambda failure: failure.trap(CancelledError) and None)
    stage.reactor.settle()
    assert opening.called
    assert stopped.called
    stage.end()


def test_nothingIsLeft() -> None:
    """Endings that are asked for when there are none are over."""
    endings = Endings()
    assert endings.wait().called
    assert endings.drain(None).called
    assert [*endings] == []
