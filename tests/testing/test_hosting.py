"""A plugin hosted in memory."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from twisted.internet.protocol import DatagramProtocol, Protocol, ServerFactory
from zope.interface import implementer
from zope.interface.verify import verifyObject

from myserv.events import (
    ConnectionEnded,
    ConnectionStarted,
    ListenerStarted,
    ListenerStopped,
    PeerPenalized,
)
from myserv.interfaces import IEventObserver
from myserv.plugin import ConfigurationError, IDrainable, ProtocolPlugin, option
from myserv.server.listener import State
from myserv.testing import RecordingObserver, SteppedReactor, hostPlugin


@frozen
class GreetingOptions:
    greeting: str = option("hello", help="what to say")


class Greeter(Protocol):
    transport: Any

    def __init__(self, context: Any, options: GreetingOptions) -> None:
        self.context = context
        self.options = options

    def connectionMade(self) -> None:
        self.transport.write(self.options.greeting.encode())


class Shouter(DatagramProtocol):
    noisy = False
    transport: Any

    def __init__(self, context: Any, options: GreetingOptions) -> None:
        self.options = options

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.transport.write(self.options.greeting.upper().encode(), addr)


greeter = ProtocolPlugin(
    "greeter", "greets", stream=Greeter, datagram=Shouter, optionsType=GreetingOptions
)


def test_bothKinds() -> None:
    """A plugin of both kinds is served over both."""
    server = hostPlugin(greeter)
    peer, other = server.connect(), server.datagramPeer()
    other.sendDatagram(b"hi")
    assert server.settle()
    assert peer.received == b"hello"
    assert other.received == [b"HELLO"]
    assert len(server.listeners) == 2
    assert len(server.observer.ofType(ListenerStarted)) == 2
    assert [each.peer for each in server.observer.ofType(ConnectionStarted)] == [peer.address]
    server.stop()
    assert peer.closed
    assert len(server.observer.ofType(ListenerStopped)) == 2


@pytest.mark.parametrize("options", [{"greeting": "moin"}, GreetingOptions("moin")])
def test_options(options: object) -> None:
    """Options come as an operator's values or as the object."""
    server = hostPlugin(greeter, options)
    peer = server.connect()
    server.settle()
    assert peer.received == b"moin"


def test_wrongOptions() -> None:
    """Wrong options are refused as for an operator."""
    with pytest.raises(ConfigurationError, match="greetings"):
        hostPlugin(greeter, {"greetings": "moin"})


def test_oneKind() -> None:
    """A plugin of one kind has one listener."""
    assert hostPlugin(ProtocolPlugin("s", "", stream=Protocol)).datagramListener is None
    assert hostPlugin(ProtocolPlugin("d", "", datagram=DatagramProtocol)).streamListener is None


def test_context(tmp_path: Path) -> None:
    """The plugin is given a real context."""
    reactor = SteppedReactor()
    server = hostPlugin(greeter, name="hall", reactor=reactor, directory=tmp_path)
    assert server.context.name == "hall"
    assert server.context.reactor is server.reactor is reactor
    assert server.context.directory == tmp_path / "hall"
    assert server.context.portal is None
    server.context.penalize("somebody", "rudeness")
    assert server.observer.ofType(PeerPenalized) == [PeerPenalized("hall", "somebody", "rudeness")]


def test_temporaryDirectory() -> None:
    """Without a directory there is one for as long as the server."""
    server = hostPlugin(greeter)
    directory = server.context.directory
    assert directory.is_dir()
    del server
    gc.collect()
    assert not directory.parent.exists()


def test_restart() -> None:
    """A stopped server starts again and serves."""
    server = hostPlugin(greeter)
    server.stop()
    assert [each.state for each in server.listeners] == [State.STOPPED] * 2
    server.start()
    peer = server.connect()
    server.settle()
    assert peer.received == b"hello"
    with pytest.raises(RuntimeError):
        server.start()


def test_stopWaitsForDrain() -> None:
    """A protocol that says goodbye by itself has the grace to do so."""

    @implementer(IDrainable)
    class Lingers(Protocol):
        transport: Any

        def drainRequested(self, deadline: float) -> None:
            server.reactor.callLater(deadline - 1, self.transport.loseConnection)

    plugin = ProtocolPlugin("lingers", "", stream=Lingers)
    server = hostPlugin(plugin)
    peer = server.connect()
    server.settle()
    server.stop(grace=10)
    assert peer.closed
    assert [each.reason for each in server.observer.ofType(ConnectionEnded)] == ["closed"]


def test_stopThatNeverEnds() -> None:
    """It is said, not waited for."""
    server = hostPlugin(greeter)
    listener: Any = server.streamListener
    server.connect()
    server.settle()
    listener.connectionEnded = lambda connection: None
    with pytest.raises(RuntimeError, match="did not get there"):
        server.stop(grace=1)


def test_startThatFails() -> None:
    """An endpoint that cannot open fails the start."""
    server = hostPlugin(greeter)
    server.stop()
    server.streamEndpoint.listen(ServerFactory())
    with pytest.raises(Exception, match="in use"):
        server.start()


def test_observer() -> None:
    """The observer remembers and can forget."""
    observer = RecordingObserver()
    assert verifyObject(IEventObserver, observer)
    event = PeerPenalized("a", None, "b")
    observer.observe(event)
    assert observer.ofType(ListenerStarted) == []
    assert observer.take() == [event]
    assert observer.events == []


def test_noPytest() -> None:
    """The kit does not need pytest."""
    code = "import sys, myserv.testing; assert 'pytest' not in sys.modules"
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
