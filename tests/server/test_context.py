"""What a plugin may touch of the server."""

from __future__ import annotations

import stat
from pathlib import Path

from twisted.cred.portal import Portal
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from myserv.events import Event, PeerPenalized, ServiceStarted
from myserv.interfaces import IServerContext
from myserv.server.context import ServiceContext


def test_attributes(tmp_path: Path) -> None:
    """It carries what it was made with."""
    clock = Clock()
    portal = Portal(None)  # type: ignore[arg-type]  # nobody logs in
    events: list[Event] = []
    context = ServiceContext("echo", clock, events.append, tmp_path, portal)
    assert verifyObject(IServerContext, context)
    assert (context.name, context.reactor, context.portal) == ("echo", clock, portal)
    context.emit(ServiceStarted("echo"))
    assert events == [ServiceStarted("echo")]


def test_directory(tmp_path: Path) -> None:
    """A directory is made when it is first wanted, for this service alone."""
    context = ServiceContext("echo", Clock(), print, tmp_path / "state")
    assert not (tmp_path / "state").exists()
    assert context.directory == tmp_path / "state" / "echo"
    assert stat.S_IMODE(context.directory.stat().st_mode) == 0o700


def test_penalize() -> None:
    """Misbehaviour is a fact like others."""
    events: list[Event] = []
    context = ServiceContext("echo", Clock(), events.append, Path("/nonexistent"))
    peer = IPv4Address("TCP", "192.0.2.1", 50000)
    context.penalize(peer, "guessed a password")
    assert events == [PeerPenalized("echo", peer, "guessed a password")]
