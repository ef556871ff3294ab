"""
What a server asks of every protocol over datagrams, as checks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Final

from attrs import frozen
from twisted.cred.portal import Portal

from myserv.events import DatagramsDropped, ProtocolRaised
from myserv.interfaces import IDatagramProtocolPlugin, IProtocolPlugin
from myserv.server.channel import AMPLIFIES
from myserv.sessions import DatagramSessions
from myserv.testing.conversation import Exchange, caseName, cuts, shorten
from myserv.testing.datagram import MAX_DATAGRAM, MemoryDatagramPeer
from myserv.testing.hosting import MemoryServer, hostPlugin
from myserv.testing.logged import LoggedFailures
from myserv.testing.stream_checks import PATIENCE

LOOP_ROUNDS: Final = 8
"""How often a protocol may answer its own answers before it is taken for one
that always does."""

_REFLECTORS: Final = (("192.0.2.1", 7), ("192.0.2.1", 53), ("192.0.2.1", 123), ("192.0.2.1", 1900))

_JUNK: Final = (
    b"",
    b"\x00",
    b"\xff" * 1000,
    bytes(range(256)),
    b"\xc3\x28 \xe2\x82\r\n",
    b"\x00" * MAX_DATAGRAM,
)


def checkDatagramPlugin(
    plugin: IProtocolPlugin,
    conversation: Sequence[Exchange],
    options: object = None,
    *,
    portal: Portal | None = None,
    isolated: bool = True,
    provesAddress: bool = False,
) -> None:
    """
    Check that a protocol over datagrams can be served.

    Each datagram is answered by one or, where C{expects} is empty, by none;
    empty, largest and damaged ones raise nothing, sources without a name
    neither; a protocol that would answer its own answers says so
    (C{answersAnything}) and is then kept from reflectors; no answer is more than
    a source may be sent that has not proved its address; a peer whose
    session is over may come back; the server stops and starts again; nothing is
    left behind.

    Args:
        plugin: What to check.
        conversation: What one client sends and receives, in order.
        options: As for L{hostPlugin}.
        portal: As for L{hostPlugin}.
        isolated: Peers know nothing of each other.
        provesAddress: As for L{hostPlugin}: it is meant to be served through
            C{dtls} only.

    Raises:
        AssertionError: The protocol does not pass.
    """
    if not IDatagramProtocolPlugin.providedBy(plugin):
        raise AssertionError(f"{plugin.name} has no protocol over datagrams")
    host = functools.partial(
        hostPlugin, plugin, options, portal=portal, provesAddress=provesAddress
    )
    for case in _CASES:
        if case is _twoPeers and not isolated:
            continue
        label = f"{plugin.name}, {caseName(case)}"
        with LoggedFailures() as logged:
            case(_Check(label, host, tuple(conversation), plugin.answersAnything, isolated))
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
    answersAnything: bool
    isolated: bool

    def fail(self, what: str) -> AssertionError:
        return AssertionError(f"{self.label}: {what}")

    def converse(self, server: MemoryServer, peer: MemoryDatagramPeer) -> None:
        for exchange in self.conversation:
            peer.sendDatagram(exchange.sends)
            self.answer(server, peer, exchange)

    def answer(self, server: MemoryServer, peer: MemoryDatagramPeer, exchange: Exchange) -> None:
        server.settle()
        wanted = exchange.expects != b""
        if wanted and not peer.received:
            server.advance(PATIENCE)
        received = peer.take()
        right = len(received) == 1 and exchange.answeredBy(received[0]) if wanted else not received
        if not right:
            self.sound(server)
            for drop in server.observer.ofType(DatagramsDropped):
                if drop.reason.startswith(AMPLIFIES):
                    raise self.fail(f"its answer to {shorten(exchange.sends)}: {drop.reason}")
            raise self.fail(exchange.describe(received))

    def finish(self, server: MemoryServer) -> None:
        self.sound(server)
        server.stop()
        self.sound(server)
        left = server.reactor.getDelayedCalls()
        if left:
            raise self.fail(f"the stopped server has timers: {shorten(list(left))}")

    def sound(self, server: MemoryServer) -> None:
        for event in server.observer.ofType(ProtocolRaised):
            traceback = event.failure.getTraceback()
            raise self.fail(f"{event.during} raised\n{traceback}") from event.failure.value


# The checks: the docstring of each is its name in an error.


def _eachAnswered(check: _Check) -> None:
    """Each datagram is answered on its own."""
    server = check.host()
    check.converse(server, server.datagramPeer())
    check.finish(server)


def _junk(check: _Check) -> None:
    """A peer sends junk."""
    server = check.host()
    peer = server.datagramPeer()
    damaged = [
        exchange.sends[:cut] for exchange in check.conversation for cut in cuts(len(exchange.sends))
    ]
    padded = [exchange.sends.ljust(MAX_DATAGRAM, b"\x00") for exchange in check.conversation]
    for junk in (*_JUNK, *damaged, *padded):
        peer.sendDatagram(junk)
        server.settle()
        check.sound(server)
    check.finish(server)


def _unnamedSource(check: _Check) -> None:
    """A datagram from a UNIX socket without a name."""
    server = check.host()
    for address in (None, b"", ""):
        for exchange in check.conversation:
            server.datagramPeer(address).sendDatagram(exchange.sends)
            server.settle()
    check.finish(server)


def _unsendable(check: _Check) -> None:
    """An answer that the system does not take."""
    server = check.host()
    server.datagramEndpoint.writeError = PermissionError(1, "Operation not permitted")
    for exchange in check.conversation:
        server.datagramPeer().sendDatagram(exchange.sends)
        server.settle()
    server.advance(PATIENCE)
    check.finish(server)


def _loops(check: _Check) -> None:
    """Its own answers are sent to it."""
    for exchange in (*check.conversation, *(Exchange(junk) for junk in _JUNK)):
        server = check.host()
        datagrams = [exchange.sends]
        for _ in range(LOOP_ROUNDS):
            peer = server.datagramPeer()
            for datagram in datagrams:
                peer.sendDatagram(datagram)
            server.settle()
            datagrams = peer.take()
        if datagrams and not check.answersAnything:
            raise check.fail(
                f"it answered {shorten(exchange.sends)}, then its own answers, and would for ever: "
                "two such servers and one forged datagram are a loop (CVE-2024-2169), so the "
                "plugin has to say answersAnything=True"
            )
        check.finish(server)


def _reflectors(check: _Check) -> None:
    """A datagram seems to come from a reflector."""
    if not check.answersAnything:
        return
    server = check.host()
    for address in _REFLECTORS:
        peer = server.datagramPeer(address)
        for exchange in check.conversation:
            peer.sendDatagram(exchange.sends)
            server.settle()
        if peer.received:
            raise check.fail(f"it answered {address}")
    check.finish(server)


def _silence(check: _Check) -> None:
    """A peer is silent until its session is over, and comes back."""
    server = check.host()
    listener = server.datagramListener
    assert listener is not None
    sessions = listener.channel.protocol
    # What else remembers a peer may do so for ever.
    if isinstance(sessions, DatagramSessions) and check.isolated:
        peer = server.datagramPeer()
        check.converse(server, peer)
        server.advance(max(sessions.limits.idle, sessions.limits.unproved) + 1)
        check.converse(server, peer)
    check.finish(server)


def _restart(check: _Check) -> None:
    """The server stops and starts again."""
    server = check.host()
    check.finish(server)
    server.start()
    check.converse(server, server.datagramPeer())
    check.finish(server)


def _twoPeers(check: _Check) -> None:
    """Two peers at once."""
    server = check.host()
    peers = (server.datagramPeer(), server.datagramPeer())
    for exchange in check.conversation:
        for peer in peers:
            peer.sendDatagram(exchange.sends)
        for peer in peers:
            check.answer(server, peer, exchange)
    check.finish(server)


_CASES: Final = (
    _eachAnswered,
    _twoPeers,
    _junk,
    _unnamedSource,
    _unsendable,
    _loops,
    _reflectors,
    _silence,
    _restart,
)
