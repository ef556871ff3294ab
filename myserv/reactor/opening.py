"""
How a connected socket becomes a connection.

uvloop makes a transport of a socket in a coroutine.  Nothing in it waits but for the
transport to be there, which is so in the next turn of the loop: it is stepped by
hand here, which costs less than a task.
"""

from __future__ import annotations

import os
from collections.abc import Coroutine, Sequence
from typing import Any

from myserv.reactor.server import TCPServerStream, unixServerStream
from myserv.reactor.sockets import own
from myserv.reactor.stream import Stream, address

Opening = tuple[Stream, Coroutine[Any, None, Any]]


def begin(stream: Stream) -> Opening:
    """
    Begin to make a connection of its socket.

    Returns:
        What L{finishSoon} needs.

    Raises:
        OSError: uvloop did not take the socket, which is closed.
    """
    descriptor = stream.descriptor
    coroutine = stream.reactor.eventLoop.connect_accepted_socket(stream.itself, descriptor)
    try:
        coroutine.send(None)
    except BaseException:
        descriptor.destroy()
        raise
    return stream, coroutine


def finishSoon(reactor: Any, openings: Sequence[Opening]) -> None:
    """
    Introduce the protocols when the transports are there.

    That is in the next turn: what uvloop has to do comes first, and nothing is read in
    between.

    Args:
        reactor: If it ends before that, it gives them up.
        openings: What L{begin} returned in this turn.
    """
    reactor.openings.append(openings)
    reactor.eventLoop.call_soon(_finish, reactor, context=reactor.base)


def _finish(reactor: Any) -> None:
    for stream, coroutine in reactor.openings.popleft():
        try:  # noqa: SIM105 - the other way costs a hundredth of a connection
            coroutine.send(None)
        except StopIteration:
            pass
        if stream.disconnected:
            stream.discard()
        else:
            # What it sets there is not for others.
            reactor.base.copy().run(stream.opened)


def open_(stream: Stream) -> None:
    """
    Make a connection of its socket; the protocol is introduced in the next turn.
    """
    finishSoon(stream.reactor, (begin(stream),))


def adoptTCP(reactor: Any, descriptor: int, family: int, factory: Any) -> Stream | None:
    """
    Make a connection of somebody's TCP socket.

    Args:
        reactor: Where it lives.
        descriptor: Is duplicated.
        family: AF_INET or AF_INET6.
        factory: Builds its protocol.

    Returns:
        The connection, C{None} if the factory built no protocol.
    """
    taken = own(os.dup(descriptor), family)
    peer = address(taken.socket.getpeername())
    protocol = factory.buildProtocol(peer)
    if protocol is None:
        taken.destroy()
        return None
    stream = TCPServerStream(taken, protocol, peer, None, peer.port, reactor)
    open_(stream)
    return stream


def adoptUNIX(reactor: Any, descriptor: int, family: int, factory: Any) -> Any:
    """
    Make a connection of somebody's UNIX socket; see L{adoptTCP}.
    """
    from twisted.internet.address import UNIXAddress

    taken = own(os.dup(descriptor), family)
    sock = taken.socket
    protocol = factory.buildProtocol(UNIXAddress(sock.getsockname()))
    if protocol is None:
        taken.destroy()
        return None
    return unixServerStream(taken, protocol, sock.getpeername(), None, 0, reactor, open_)
