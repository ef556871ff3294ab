"""
Datagram sessions: one object for each peer of a protocol over datagrams.

To the server a L{DatagramSessions} is a C{DatagramProtocol} like any other; to
the sessions it is what a factory and a transport are to connections.  A source
may be forged, and yet every new one begins a session; so those whose address
is not proved are kept for a shorter time, and are the first to go.  Linux's
connection tracking does the same with flows that were never answered.
"""

from __future__ import annotations

import socket
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, Final

from attrs import field, frozen
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from myserv.events import Peer, ProtocolRaised, SessionEnd
from myserv.interfaces import (
    IDatagramSession,
    IDrainable,
    IPeerObserver,
    IServerContext,
    ISessionTransport,
)

IDLE: Final = 120.0
"""Seconds without a datagram after which the session of a proved peer ends: as
Linux's nf_conntrack_udp_timeout_stream.  RFC 8085, section 3.5, lets a peer that wants to
stay send something every 15 s."""

UNPROVED_IDLE: Final = 30.0
"""The same for a peer that has not proved its address: as Linux's
nf_conntrack_udp_timeout."""

TOTAL: Final = 16_384
"""Sessions of one endpoint: as many as Linux has buckets to track connections in
with up to 4 GB of memory.  About 1 KB each, and what the author keeps."""

PER_SOURCE: Final = 50
"""Sessions of one IPv4 address or one IPv6 /64, which is one network: as Postfix's
smtpd_client_connection_count_limit."""


def _positive(instance: object, attribute: Any, value: float) -> None:
    if value <= 0:
        raise ValueError(f"{attribute.name} has to be more than 0, and is {value}")


@frozen
class SessionLimits:
    """
    How long sessions live without a datagram, and how many there may be.

    @ivar idle: Seconds until the session of a silent peer ends.
    @ivar unproved: The same while the peer has not proved its address.
    @ivar total: Sessions of one endpoint.
    @ivar perSource: Sessions of one IPv4 address or one IPv6 /64.
    """

    idle: float = field(default=IDLE, validator=_positive)
    unproved: float = field(default=UNPROVED_IDLE, validator=_positive)
    total: int = field(default=TOTAL, validator=_positive)
    perSource: int = field(default=PER_SOURCE, validator=_positive)


@frozen
class SessionStatistics:
    """
    The sessions of one endpoint, counted.

    @ivar active: Those that there are.
    @ivar proved: Those of them whose peer has proved its address.
    @ivar started: Those that there have been.
    @ivar moved: How often one has moved to another address.
    @ivar refused: Datagrams that began none, for want of room or of an address.
    @ivar ended: How many are over, by reason.
    """

    active: int
    proved: int
    started: int
    moved: int
    refused: int
    ended: Mapping[SessionEnd, int]


@implementer(IDatagramSession)
class DatagramSession:
    """
    One peer of a protocol over datagrams; see L{IDatagramSession}.

    @ivar transport: Writes to the peer; set before L{sessionStarted}.
    """

    transport: ISessionTransport

    @property
    def peer(self) -> Peer:
        """Where the peer is now."""
        return self.transport.peer

    def sessionStarted(self) -> None:
        """
        A peer's first datagram is there, and will be delivered next.
        """

    def datagramReceived(self, datagram: bytes) -> None:
        """
        A datagram came in from the peer.
        """

    def moveRequested(self, datagram: bytes, address: Peer) -> bool:
        """
        A datagram with this session's key came from another address: stay.
        """
        return False

    def sessionLost(self, reason: SessionEnd) -> None:
        """
        It is over.
        """


@implementer(ISessionTransport)
class SessionTransport:
    """
    A session's place among the others.

    @ivar session: The author's object; C{None} once it knows of its end.
    @ivar peer: Where its datagrams go.
    @ivar isProved: The peer has proved its address, this one or an earlier one.
    @ivar source: Those that count with it against the limit on one source.
    @ivar key: What finds it from any address.
    @ivar queue: Where it waits for its time.
    @ivar heard: When the last datagram came in.
    @ivar isOver: Its end has begun.
    """

    __slots__ = (
        "_sessions",
        "heard",
        "isOver",
        "isProved",
        "key",
        "peer",
        "queue",
        "session",
        "source",
    )

    def __init__(self, sessions: DatagramSessions, peer: Peer, source: Source) -> None:
        self._sessions = sessions
        self.session: Any = None
        self.peer = peer
        self.source = source
        self.isProved = False
        self.key: Hashable = None
        self.queue = sessions._unproved
        self.heard = 0.0
        self.isOver = False

    def write(self, datagram: bytes) -> None:
        """
        Send a datagram to the peer.
        """
        self._sessions._send(datagram, self)

    def addressProved(self) -> None:
        """
        The peer sent what only the owner of its address can have received.
        """
        self._sessions._prove(self)

    def setKey(self, key: Hashable) -> None:
        """
        Let datagrams that carry a key find this session from any address.

        Raises:
            ValueError: Another session has it.
        """
        self._sessions._setKey(self, key)

    def loseSession(self) -> None:
        """
        End the session.
        """
        self._sessions._end(self, SessionEnd.CLOSED)


class Source:
    """
    The sessions of one IPv4 address, one IPv6 /64, or all UNIX sockets.

    @ivar name: What tells it from others; C{None}: it is not limited.
    @ivar count: How many there are.
    @ivar unproved: Those whose peer has not proved its address, the one that is
        silent for the longest first.
    """

    __slots__ = ("count", "name", "unproved")

    def __init__(self, name: Hashable) -> None:
        self.name = name
        self.count = 0
        self.unproved: OrderedDict[SessionTransport, None] = OrderedDict()


class IdleQueue:
    """
    Sessions in the order in which they were last heard, and their time.

    @ivar limit: Seconds that one may be silent.
    @ivar order: The sessions, the one that is silent for the longest first.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.order: OrderedDict[SessionTransport, None] = OrderedDict()

    @property
    def first(self) -> SessionTransport | None:
        """The one that is silent for the longest."""
        return next(iter(self.order), None)


@implementer(IDrainable, IPeerObserver)
class DatagramSessions(DatagramProtocol):
    """
    Gives each peer of one endpoint a session of its own.

    C{ProtocolPlugin(session=...)} makes it.  For sessions that share something
    make it yourself, once for each endpoint::

        def buildRoom(context, options):
            room = Room()
            return DatagramSessions(context, lambda: Player(room))

        game = ProtocolPlugin("game", "...", datagram=buildRoom)

    @ivar transport: The endpoint's.
    @ivar limits: How long and how many.
    """

    noisy = False
    transport: Any  # an IDatagramTransport; None where the endpoint is closed

    def __init__(
        self,
        context: IServerContext,
        build: Callable[[], IDatagramSession],
        limits: SessionLimits = SessionLimits(),
        sessionKey: Callable[[bytes, Peer], Hashable | None] | None = None,
    ) -> None:
        """
        Args:
            context: What the plugin was given of the server.
            build: Makes a session, once for each peer.
            limits: How long and how many.
            sessionKey: Says which key a datagram carries, if any.  It is given
                bytes from anybody, and is called for each datagram.
        """
        self._context = context
        self._build = build
        self.limits = limits
        self._sessionKey = sessionKey
        self._byPeer: dict[Peer, SessionTransport] = {}
        self._byKey: dict[Hashable, SessionTransport] = {}
        self._sources: dict[Hashable, Source] = {}
        self._unproved = IdleQueue(limits.unproved)
        self._proved = IdleQueue(limits.idle)
        self._timer: IDelayedCall | None = None
        self._isDraining = False
        self._started = 0
        self._moved = 0
        self._refused = 0
        self._ended: Counter[SessionEnd] = Counter()

    def __iter__(self) -> Iterator[Any]:
        """
        The sessions that there are, as they are now.
        """
        return iter([each.session for each in self._byPeer.values()])

    def __len__(self) -> int:
        return len(self._byPeer)

    def statistics(self) -> SessionStatistics:
        """
        Count the sessions.
        """
        return SessionStatistics(
            active=len(self._byPeer),
            proved=len(self._proved.order),
            started=self._started,
            moved=self._moved,
            refused=self._refused,
            ended=dict(self._ended),
        )

    # What the endpoint calls.

    def startProtocol(self) -> None:
        """
        The endpoint is open.
        """
        self._isDraining = False

    def stopProtocol(self) -> None:
        """
        The endpoint is closed: whoever was not told yet is told now.
        """
        self.drainRequested(0.0)

    def drainRequested(self, deadline: float) -> None:
        """
        The endpoint is about to be closed: tell the sessions while they can write.
        """
        self._isDraining = True
        for each in list(self._byPeer.values()):
            self._end(each, SessionEnd.STOPPED)

    def peerLost(self, peer: Peer) -> None:
        """
        A layer has lost a peer.
        """
        transport = self._byPeer.get(peer)
        if transport is not None:
            self._end(transport, SessionEnd.PEER_LOST)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Hand a datagram to its session; a new peer's begins one.
        """
        transport = self._byPeer.get(addr)
        if self._sessionKey is not None:
            known = self._byKey.get(self._sessionKey(datagram, addr))
            if known is not None and known is not transport:
                # It goes to no other: not to whoever else was at this address,
                # nor to a new session that would take it for a beginning.
                if not self._move(known, datagram, addr):
                    return
                transport = known
        if transport is None:
            transport = self._begin(addr)
            if transport is None:
                return
        transport.heard = self._context.reactor.seconds()
        transport.queue.order.move_to_end(transport)
        if not transport.isProved:
            transport.source.unproved.move_to_end(transport)
        self._call(transport, "datagramReceived", datagram)

    def _call(self, transport: SessionTransport, name: str, *arguments: object) -> Any:
        try:
            return getattr(transport.session, name)(*arguments)
        except BaseException:  # noqa: BLE001 - the author's bug, which costs this session only
            self._raised(name, transport.peer)
            self._end(transport, SessionEnd.RAISED)
            return None

    def _raised(self, during: str, peer: Peer) -> None:
        self._context.emit(ProtocolRaised(self._context.name, peer, during, Failure()))

    # The beginning.

    def _begin(self, addr: Any) -> SessionTransport | None:
        source = self._sourceOf(addr)
        refusal = self._whyNot(addr, source)
        if refusal is not None:
            self._refused += 1
            self._drop(refusal, addr)
            return None
        transport = SessionTransport(self, addr, source)
        try:
            transport.session = self._build()
            transport.session.transport = transport
        except BaseException:  # noqa: BLE001 - the author's bug, which costs this datagram only
            self._raised("session", addr)
            return None
        self._started += 1
        self._byPeer[addr] = transport
        transport.isProved = self.transport.isAddressProved(addr)
        self._enterSource(transport)
        self._enqueue(transport, self._proved if transport.isProved else self._unproved)
        self._call(transport, "sessionStarted")
        # It may have ended by itself.
        return None if transport.isOver else transport

    def _whyNot(self, addr: Any, source: Source) -> str | None:
        if self._isDraining:
            return "the listener stops"
        if not addr:
            return "the sender left no address to answer to"
        if not self._makeRoomFor(source):
            return "its host has too many sessions"
        if len(self._byPeer) >= self.limits.total:
            eldest = self._unproved.first
            if eldest is None:
                return "there are too many sessions"
            self._end(eldest, SessionEnd.DISPLACED)
        return None

    def _makeRoomFor(self, source: Source) -> bool:
        if source.name is None or source.count < self.limits.perSource:
            return True
        eldest = next(iter(source.unproved), None)
        if eldest is None:
            return False
        self._end(eldest, SessionEnd.DISPLACED)
        return True

    def _sourceOf(self, addr: Any) -> Source:
        name = _sourceName(addr)
        return self._sources.get(name) or Source(name)

    def _enterSource(self, transport: SessionTransport) -> None:
        source = transport.source
        # Whoever made room may have been its last.
        self._sources[source.name] = source
        source.count += 1
        if not transport.isProved:
            source.unproved[transport] = None

    def _leaveSource(self, transport: SessionTransport) -> None:
        source = transport.source
        source.unproved.pop(transport, None)
        source.count -= 1
        if not source.count:
            del self._sources[source.name]

    def _drop(self, reason: str, addr: Peer) -> None:
        self.transport.countDropped(reason, addr)

    # What a session's transport asks for.

    def _send(self, datagram: bytes, transport: SessionTransport) -> None:
        # A session that is over may still hold its transport.
        if self.transport is not None and transport.session is not None:
            self.transport.write(datagram, transport.peer)

    def _prove(self, transport: SessionTransport) -> None:
        if transport.isOver:
            return
        self.transport.addressProved(transport.peer)
        if not transport.isProved:
            transport.isProved = True
            del transport.source.unproved[transport]
            del self._unproved.order[transport]
            self._enqueue(transport, self._proved)

    def _setKey(self, transport: SessionTransport, key: Hashable) -> None:
        if transport.isOver:
            return
        if self._byKey.get(key, transport) is not transport:
            raise ValueError("another session has this key")
        self._byKey.pop(transport.key, None)
        transport.key = key
        if key is not None:
            self._byKey[key] = transport

    def _move(self, transport: SessionTransport, datagram: bytes, addr: Any) -> bool:
        source = self._sourceOf(addr)
        refusal: str | None = None
        if not addr:
            refusal = "the sender left no address to answer to"
        elif addr in self._byPeer:
            # Whoever forges addresses could end another's session with its own.
            refusal = "its session would move to where another one is"
        elif not self._call(transport, "moveRequested", datagram, addr):
            refusal = "its session did not agree to move"
        elif transport.isOver:
            return False
        elif source is not transport.source and not self._makeRoomFor(source):
            refusal = "its host has too many sessions"
        if refusal is not None:
            self._drop(refusal, addr)
            return False
        del self._byPeer[transport.peer]
        self._leaveSource(transport)
        self._forgetAddress(transport)
        self._moved += 1
        transport.peer = addr
        transport.source = source
        self._byPeer[addr] = transport
        self._enterSource(transport)
        return True

    # The end.

    def _end(self, transport: SessionTransport, reason: SessionEnd) -> None:
        if transport.isOver:
            return
        transport.isOver = True
        self._ended[reason] += 1
        del transport.queue.order[transport]
        self._byKey.pop(transport.key, None)
        del self._byPeer[transport.peer]
        self._leaveSource(transport)
        if not self._byPeer and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._call(transport, "sessionLost", reason)
        transport.session = None
        self._forgetAddress(transport)

    def _forgetAddress(self, transport: SessionTransport) -> None:
        # Whoever comes next to this address has to prove it again.
        if self.transport is not None and transport.isProved:
            self.transport.forgetAddress(transport.peer)

    # Time.

    def _enqueue(self, transport: SessionTransport, queue: IdleQueue) -> None:
        now = self._context.reactor.seconds()
        transport.heard = now
        transport.queue = queue
        queue.order[transport] = None
        self._expireAt(now + queue.limit)

    def _expireAt(self, when: float) -> None:
        # One timer for all.  Whoever is heard meanwhile goes to the end of a
        # queue, and the timer is not touched: it looks again when it is due.
        if self._timer is not None and self._timer.getTime() <= when:
            return
        if self._timer is not None:
            self._timer.cancel()
        reactor = self._context.reactor
        self._timer = reactor.callLater(max(0.0, when - reactor.seconds()), self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = self._context.reactor.seconds()
        for queue in (self._unproved, self._proved):
            while (first := queue.first) is not None:
                due = first.heard + queue.limit
                if due > now:
                    self._expireAt(due)
                    break
                self._end(first, SessionEnd.IDLE)


def _sourceName(addr: Any) -> Hashable:
    """
    Say what a peer counts as for the limit on one source: its IPv4 address, its
    IPv6 /64, or C{None}, which is not limited, for a UNIX socket.
    """
    if not isinstance(addr, tuple):
        return None
    host: str = addr[0]
    if ":" not in host:
        return host
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    if packed.startswith(bytes(10) + b"\xff\xff"):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return packed[:8]
