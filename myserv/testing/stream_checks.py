"""
What a server asks of every protocol over connections, as checks.

The author says what a conversation is, once; the checks hold it under
everything that a network and an operator do to it.  Each runs against servers
of its own, and an C{AssertionError} names the check and what happened.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from attrs import frozen
from twisted.cred.portal import Portal
from twisted.internet.interfaces import IHalfCloseableProtocol

from myserv.events import ProtocolRaised
from myserv.interfaces import IProtocolPlugin, IStreamProtocolPlugin
from myserv.limits import NO_DEADLINES
from myserv.testing.conversation import Exchange, caseName, cuts, shorten
from myserv.testing.hosting import MemoryServer, hostPlugin
from myserv.testing.logged import LoggedFailures
from myserv.testing.stream import MemoryPeer

PATIENCE: Final = 60.0
"""Seconds of the server's clock that an answer may take."""

LINGER: Final = 3600.0
"""Seconds after which nothing may be left of a connection whose peer has said
everything."""

MAX_UNREAD: Final = 1024 * 1024
"""Bytes that may wait for a peer that does not read an endless answer; NATS
allows a client of its 64 MiB, Envoy 1 MiB, and it is per connection."""

_ENDLESS_TURNS: Final = 10

_SLOW_FOR: Final = 10.0

_JUNK: Final = (
    b"\x00",
    b"\xff" * 1000,
    bytes(range(256)),
    b"\r\n\r\n",
    b"\xc3\x28 \xe2\x82\r\n",
    b"A" * 100_000,
    b"-1 999999999999999999999 %s%n \x1b[0m\r\n",
)


def checkStreamPlugin(
    plugin: IProtocolPlugin,
    conversation: Sequence[Exchange],
    options: object = None,
    *,
    portal: Portal | None = None,
    pipelines: bool = True,
    isolated: bool = True,
) -> None:
    r"""
    Check that a protocol over connections can be served::

        checkStreamPlugin(
            quotes,
            [
                Exchange(expects=b"hello\r\n"),
                Exchange(b"quote\r\n", re.compile(rb".+\r\n")),
                Exchange(b"quit\r\n", b"bye\r\n", closes=True),
            ],
        )

    The requests come whole, one byte at a time, in two parts cut at every
    place, and several at once; the peer ends its half, aborts, reads slowly,
    sends junk; two peers come at once; the server stops and starts again.
    Nothing may raise, and nothing may be left behind.

    Args:
        plugin: What to check.
        conversation: What one client says and hears, in order.
        options: As for L{hostPlugin}.
        portal: As for L{hostPlugin}.
        pipelines: A client may send a request before it has the answer to the
            one before.
        isolated: Connections know nothing of each other; False of a chat.

    Raises:
        AssertionError: The protocol does not pass.
    """
    # What the server would see to is the protocol's own business here.
    host = functools.partial(hostPlugin, plugin, options, portal=portal, limits=NO_DEADLINES)
    if not IStreamProtocolPlugin.providedBy(plugin):
        raise AssertionError(f"{plugin.name} has no protocol over connections")
    for case in _CASES:
        if (case is _severalAtOnce and not pipelines) or (case is _twoPeers and not isolated):
            continue
        label = f"{plugin.name}, {caseName(case)}"
        with LoggedFailures() as logged:
            case(_Check(label, host, tuple(conversation)))
            for failure in logged.take():
                raise AssertionError(f"{label}: it was logged that {failure.getTraceback()}")


@frozen
class _Check:
    """
    One check of one plugin.
    """

    label: str
    host: Callable[[], MemoryServer]
    conversation: tuple[Exchange, ...]

    def fail(self, what: str) -> AssertionError:
        return AssertionError(f"{self.label}: {what}")

    def begin(self) -> tuple[MemoryServer, MemoryPeer]:
        server = self.host()
        return server, server.connect()

    def run(self, pieces: Callable[[int, bytes], Iterable[bytes]]) -> None:
        """Hold the whole conversation, each request in pieces."""
        server, peer = self.begin()
        for index, exchange in enumerate(self.conversation):
            self.exchange(server, peer, exchange, pieces(index, exchange.sends))
        self.finish(server, peer)

    def exchange(
        self,
        server: MemoryServer,
        peer: MemoryPeer,
        exchange: Exchange,
        pieces: Iterable[bytes] | None = None,
    ) -> None:
        """Send a request and take the answer."""
        for piece in [exchange.sends] if pieces is None else pieces:
            peer.send(piece)
            server.reactor.settle(_ENDLESS_TURNS)
        self.answer(server, peer, exchange)

    def answer(self, server: MemoryServer, peer: MemoryPeer, exchange: Exchange) -> None:
        """Take the answer to a request that was sent."""
        if exchange.endless:
            server.reactor.settle(_ENDLESS_TURNS)
        else:
            _await(server, lambda: exchange.answeredBy(peer.received))
        received = peer.take()
        if not exchange.answeredBy(received):
            self.sound(server)
            raise self.fail(exchange.describe(received))
        if exchange.closes:
            _await(server, lambda: peer.closed)
            if not peer.closed:
                raise self.fail(f"after {shorten(exchange.sends)} {peer!r} should be closed")
        elif peer.closed or peer.aborted:
            self.sound(server)
            raise self.fail(f"after {shorten(exchange.sends)} {peer!r} should be open")

    def finish(self, server: MemoryServer, *peers: MemoryPeer) -> None:
        """End the conversation as a polite client, then the server."""
        for peer in peers:
            peer.close()
        self.gone(server)
        self.stopped(server)

    def gone(self, server: MemoryServer) -> None:
        """Nothing is left of the connections."""
        _await(server, lambda: not _connections(server), LINGER)
        self.sound(server)
        if _connections(server):
            raise self.fail(f"a connection was still open {LINGER:.0f} seconds after its peer left")

    def stopped(self, server: MemoryServer) -> None:
        """The server stops, and then nothing is left of it."""
        server.stop()
        self.sound(server)
        left = server.reactor.getDelayedCalls()
        if left:
            raise self.fail(f"the stopped server has timers: {shorten(list(left))}")

    def sound(self, server: MemoryServer) -> None:
        """The protocol has raised nothing."""
        for event in server.observer.ofType(ProtocolRaised):
            traceback = event.failure.getTraceback()
            raise self.fail(f"{event.during} raised\n{traceback}") from event.failure.value


def _await(server: MemoryServer, happened: Callable[[], bool], patience: float = PATIENCE) -> None:
    # A server that has no timer will do nothing more, however long one waits.
    server.settle()
    end = server.reactor.seconds() + patience
    while not happened() and server.reactor.calls:
        now = server.reactor.seconds()
        due = server.reactor.calls[0].getTime()
        if due > end:
            break
        server.advance(max(due - now, 0.0))


def _connections(server: MemoryServer) -> int:
    assert server.streamListener is not None
    return len(server.streamListener.connections)


# The checks: the docstring of each is its name in an error.


def _whole(check: _Check) -> None:
    """Each request whole."""
    check.run(lambda _, request: [request])


def _byteByByte(check: _Check) -> None:
    """One byte at a time."""
    check.run(lambda _, request: [request[i : i + 1] for i in range(len(request))])


def _everySplit(check: _Check) -> None:
    """Each request in two parts."""
    for which, exchange in enumerate(check.conversation):
        for cut in cuts(len(exchange.sends)):

            def pieces(
                index: int, request: bytes, which: int = which, cut: int = cut
            ) -> list[bytes]:
                return [request[:cut], request[cut:]] if index == which else [request]

            check.run(pieces)


def _severalAtOnce(check: _Check) -> None:
    """Several requests at once."""
    for start in range(len(check.conversation)):
        group = _group(check.conversation[start:])
        if len(group) < 2:
            continue
        joined = Exchange(
            b"".join(each.sends for each in group),
            b"".join(each.expects for each in group if isinstance(each.expects, bytes)),
            closes=group[-1].closes,
        )
        boundary = len(group[0].sends)
        for cut in {len(joined.sends), boundary - 1, boundary + 1}:
            server, peer = check.begin()
            for exchange in check.conversation[:start]:
                check.exchange(server, peer, exchange)
            check.exchange(server, peer, joined, [joined.sends[:cut], joined.sends[cut:]])
            for exchange in check.conversation[start + len(group) :]:
                check.exchange(server, peer, exchange)
            check.finish(server, peer)


def _group(exchanges: Sequence[Exchange]) -> list[Exchange]:
    # Only answers in bytes can be told apart when they come together, and a
    # greeting has nothing to send.
    group: list[Exchange] = []
    for each in exchanges:
        if each.endless or not each.sends or not isinstance(each.expects, bytes):
            break
        group.append(each)
        if each.closes:
            break
    return group


def _halfClose(check: _Check) -> None:
    """The peer ends its half after a request."""
    for which, exchange in enumerate(check.conversation):
        if exchange.endless:
            continue
        server, peer = check.begin()
        for before in check.conversation[:which]:
            check.exchange(server, peer, before)
        server.settle()
        wantsHalf = _halfCloses(server)
        peer.send(exchange.sends)
        peer.closeWrite()
        check.gone(server)
        received = peer.take()
        # Without IHalfCloseableProtocol Twisted may drop what it has not sent.
        whole = exchange.answeredBy(received)
        if not whole and (wantsHalf or not exchange.mayBegin(received)):
            raise check.fail(exchange.describe(received))
        check.stopped(server)


def _halfCloses(server: MemoryServer) -> bool:
    assert server.streamListener is not None
    return any(
        IHalfCloseableProtocol.providedBy(connection.protocol)
        for connection in server.streamListener.connections
    )


def _abort(check: _Check) -> None:
    """The peer aborts in the middle of a request."""
    for which, exchange in enumerate(check.conversation):
        length = len(exchange.sends)
        for cut in (0, *cuts(length), length):
            for read in (True, False):
                _abortAt(check, which, cut, read)


def _abortAt(check: _Check, which: int, cut: int, read: bool) -> None:
    server = check.host()
    server.settle()
    timers = len(server.reactor.getDelayedCalls())
    peer = server.connect()
    for before in check.conversation[:which]:
        check.exchange(server, peer, before)
    if not read:
        peer.pauseReading(window=1)
    peer.send(check.conversation[which].sends[:cut])
    server.reactor.settle(_ENDLESS_TURNS)
    peer.abort()
    check.gone(server)
    left = server.reactor.getDelayedCalls()
    if len(left) > timers:
        raise check.fail(f"the connection left timers: {shorten(list(left))}")
    check.stopped(server)


def _slowReader(check: _Check) -> None:
    """The peer reads slowly."""
    server, peer = check.begin()
    for exchange in check.conversation:
        peer.pauseReading(window=1)
        peer.send(exchange.sends)
        for _ in range(64):
            server.settle()
            peer.read(1)
        if exchange.endless:
            _bounded(check, server, peer)
        peer.resumeReading()
        check.answer(server, peer, exchange)
    check.finish(server, peer)


def _bounded(check: _Check, server: MemoryServer, peer: MemoryPeer) -> None:
    assert server.streamListener is not None
    # A writer by the clock has to mind its peer as well.
    server.advance(_SLOW_FOR)
    for connection in server.streamListener.connections:
        waiting = connection.bytesSent - peer.bytesReceived
        if waiting > MAX_UNREAD:
            raise check.fail(f"{waiting} bytes wait for a peer that does not read")


def _stopWhileSlow(check: _Check) -> None:
    """The server stops while the peer does not read."""
    for which, exchange in enumerate(check.conversation):
        server, peer = check.begin()
        for before in check.conversation[:which]:
            check.exchange(server, peer, before)
        peer.pauseReading(window=1)
        peer.send(exchange.sends)
        check.stopped(server)


def _restart(check: _Check) -> None:
    """The server stops and starts again."""
    server, _ = check.begin()
    check.stopped(server)
    server.start()
    peer = server.connect()
    for exchange in check.conversation:
        check.exchange(server, peer, exchange)
    check.finish(server, peer)


def _twoPeers(check: _Check) -> None:
    """Two peers at once."""
    server, peer = check.begin()
    other = server.connect()
    for exchange in check.conversation:
        half = len(exchange.sends) // 2
        for piece in (exchange.sends[:half], exchange.sends[half:]):
            for each in (peer, other):
                each.send(piece)
                server.reactor.settle(_ENDLESS_TURNS)
        for each in (peer, other):
            check.answer(server, each, exchange)
    check.finish(server, peer, other)


def _junk(check: _Check) -> None:
    """The peer sends junk."""
    for which, exchange in enumerate(check.conversation):
        request = exchange.sends
        places = (0, *cuts(len(request))) if request else ()
        flipped = [_flip(request, place) for place in places]
        for junk in (*_JUNK, *flipped):
            server, peer = check.begin()
            for before in check.conversation[:which]:
                check.exchange(server, peer, before)
            peer.send(junk)
            server.reactor.settle(_ENDLESS_TURNS)
            peer.close()
            check.gone(server)
            check.stopped(server)


def _flip(request: bytes, place: int) -> bytes:
    return request[:place] + bytes([request[place] ^ 0x80]) + request[place + 1 :]


_CASES: Final = (
    _whole,
    _byteByByte,
    _everySplit,
    _severalAtOnce,
    _twoPeers,
    _halfClose,
    _abort,
    _slowReader,
    _stopWhileSlow,
    _restart,
    _junk,
)
