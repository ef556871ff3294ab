"""The line between the supervisor and a worker."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from twisted.python.failure import Failure

from myserv.workers.channel import ENOUGH, MOST, Channel
from myserv.workers.messages import ChangeLimits, Drain, Message, Ping, Ready, encode
from tests.workers.stage import WatchingClock


class End:
    """One end, and what came through it."""

    def __init__(self, sock: socket.socket, unread: bytes = b"", unsent: bytes = b"") -> None:
        self.reactor = WatchingClock()
        self.received: list[Message] = []
        self.closed: list[str] = []
        self.channel = Channel(
            self.reactor, sock, self.received.append, self.closed.append, unread, unsent
        )


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A pair."""
    one, two = socket.socketpair()
    with one, two:
        yield one, two


def test_bothWays(sockets: tuple[socket.socket, socket.socket]) -> None:
    """Messages arrive, and so does the end."""
    one, two = map(End, sockets)
    one.channel.send(Ping())
    two.channel.send(Ready())
    one.channel.doRead()
    two.channel.doRead()
    two.channel.doRead()
    assert (one.received, two.received) == ([Ready()], [Ping()])
    one.channel.close()
    one.channel.send(Drain())
    assert one.reactor.readers == []
    two.channel.doRead()
    assert two.closed == ["it was closed"]
    assert one.closed == []
    two.channel.connectionLost(Failure(OSError()))
    assert two.closed == ["it was closed"]


def test_whatIsNoMessageEndsIt(sockets: tuple[socket.socket, socket.socket]) -> None:
    """A worker that a peer has taken over may say anything."""
    end = End(sockets[0])
    sockets[1].send(b"nonsense\n")
    end.channel.doRead()
    assert end.closed == ["not a message: JSONDecodeError"]
    assert not end.channel.isOpen


def test_oneThatDoesNotRead(sockets: tuple[socket.socket, socket.socket]) -> None:
    """What can be done without is left out, and at some point the other end is given up."""
    end = End(sockets[0])
    while not end.channel.unsent:
        end.channel.send(ChangeLimits("x" * ENOUGH))
    assert end.reactor.writers == [end.channel]
    end.channel.send(ChangeLimits("x" * ENOUGH))
    before = len(end.channel.unsent)
    end.channel.send(Ping(), needed=False)
    assert len(end.channel.unsent) == before
    end.channel.doWrite()
    while end.channel.isOpen:
        assert len(end.channel.unsent) <= MOST + ENOUGH + 1000
        end.channel.send(ChangeLimits("x" * ENOUGH))
    assert end.closed == ["it does not read what it is told"]


def test_whatWaitsIsSentLater(sockets: tuple[socket.socket, socket.socket]) -> None:
    """As soon as there is room, and the next program of a process goes on with it."""
    first = End(sockets[0])
    text = "x" * ENOUGH
    first.channel.send(ChangeLimits(text))
    unsent = first.channel.unsent
    assert unsent
    half = encode(Ready())
    sockets[1].send(half[:5])
    first.channel.doRead()
    again = End(sockets[0], first.channel.unread, unsent)
    assert again.reactor.writers == [again.channel]
    other = End(sockets[1])
    while again.channel.unsent:
        again.channel.doWrite()
        other.channel.drain()
    other.channel.drain()
    assert again.reactor.writers == []
    assert other.received == [ChangeLimits(text)]
    sockets[1].send(half[5:])
    again.channel.doRead()
    assert again.received == [Ready()]


def test_theOtherEndIsGone(sockets: tuple[socket.socket, socket.socket]) -> None:
    """What it said last is read although nothing can be sent to it."""
    end = End(sockets[0])
    sockets[1].send(encode(Ready()))
    sockets[1].close()
    end.channel.send(Ping())
    assert end.channel.isOpen
    end.channel.drain()
    assert end.received == [Ready()]
    assert end.closed == ["it was closed"]
    assert end.channel.logPrefix() == "workers"
