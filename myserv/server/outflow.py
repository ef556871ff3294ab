"""
What waits to be sent to one peer, and who has to wait for it.

To the transport this is a producer: it hears when more waits than should, and when
there is room again.  In between it counts.  While nothing waits it is not asked, so
that a peer that reads costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IPullProducer, IPushProducer
from zope.interface import implementer

from myserv.options.values import Size
from myserv.server.progress import bytesWaiting

if TYPE_CHECKING:
    from myserv.server.connection import Connection

TRANSPORT_BUFFER: Final = 65_536
"""Bytes that wait in one of Twisted's transports when it first pauses its producer."""


@implementer(IPushProducer)
class Outflow:
    """
    The sending half of one connection.

    @ivar isFull: More waits than the transport likes.
    @ivar unsent: While it is: how many bytes wait, rather too many than too few.
    @ivar producer: The protocol's own, if it has registered one.
    """

    __slots__ = (
        "_connection",
        "_isPull",
        "_isRegistered",
        "_transport",
        "isFull",
        "producer",
        "unsent",
    )

    def __init__(self, connection: Connection, transport: Any) -> None:
        # Until it is over: a connection that is gone needs no garbage collector.
        self._connection: Any = connection
        self._transport = transport
        self._isPull = False
        self.isFull = False
        self.unsent = 0
        self.producer: GuardedProducer | None = None
        # A layer from elsewhere may not know of producers.
        self._isRegistered = hasattr(transport, "registerProducer")
        if self._isRegistered:
            transport.registerProducer(self, True)

    # What a transport calls.

    def pauseProducing(self) -> None:
        """
        More waits than the transport likes.
        """
        if self.isFull:
            return
        self.isFull = True
        waiting = bytesWaiting(self._transport)
        self.unsent = TRANSPORT_BUFFER if waiting is None else waiting
        if self.producer is not None:
            self.producer.pauseProducing()
        # Only as long as it is full: a peer that reads costs nothing.
        self._connection.write = self.write
        self._connection.lookSoon()
        self.add(0)

    def resumeProducing(self) -> None:
        """
        All of it has been sent.
        """
        if not self.isFull:
            return
        self.isFull = False
        self.unsent = 0
        self._writeAsBefore()
        self._connection.releaseReading()
        if self.producer is not None:
            self.producer.resumeProducing()

    def stopProducing(self) -> None:
        """
        The connection is gone.
        """
        producer, self.producer = self.producer, None
        self._isRegistered = False
        if producer is not None:
            producer.stopProducing()

    # What the connection calls.

    def over(self) -> None:
        """
        The connection is gone, and has told the producers that it knew of.
        """
        if self.isFull:
            self.isFull = False
            self._writeAsBefore()
        self._isRegistered = False
        self._connection = self._transport = self.producer = None

    def _writeAsBefore(self) -> None:
        # An author may have had a hand in it.
        self._connection.__dict__.pop("write", None)

    def write(self, data: bytes) -> None:
        """
        What the connection's C{write} is while it is full.
        """
        connection, transport = self._connection, self._transport
        if connection is None:
            # Somebody has kept this method beyond the end.
            return
        # Before it is counted: one large answer to a peer that reads is no offence.
        self.checkBound()
        connection.bytesSent += len(data)
        transport.write(data)
        if self.isFull:
            self.add(len(data))

    def add(self, size: int) -> None:
        """
        Count what was written while it was full; from a certain mark on, the peer has
        to read before it is read from.

        A protocol with a producer of its own has its own way to wait.
        """
        self.unsent += size
        connection = self._connection
        if self.producer is None and self.unsent >= connection.limits.writeBuffer:
            connection.holdReading()

    def checkBound(self) -> None:
        """
        Cut a connection whose peer leaves too much unread.
        """
        connection = self._connection
        limit = connection.limits.maxUnsent
        if not limit or self.unsent <= limit or connection.isCut:
            return
        # Rather too many were counted: some may have been sent.
        waiting = bytesWaiting(self._transport)
        if waiting is not None:
            self.unsent = waiting
        if self.unsent > limit:
            connection.cut("maxUnsent", f"it left more than {Size(limit)} unread")

    def register(self, producer: Any, streaming: bool) -> None:
        """
        Let the protocol's own producer know when there is room.

        Raises:
            RuntimeError: There is another.
        """
        if self.producer is not None:
            raise RuntimeError(
                f"cannot register {producer!r}: {self.producer!r} was never unregistered"
            )
        guarded = self.producer = GuardedProducer(self._connection, producer)
        self._isPull = not streaming
        if self._isPull:
            # It is asked for each piece, so nothing is written that could wait.
            self._unregisterOurs()
            self.resumeProducing()
            self._transport.registerProducer(guarded, False)
        elif not self._isRegistered:
            # We were done; the transport says whether it is too late.
            self._isRegistered = True
            self._transport.registerProducer(self, True)
        elif self.isFull:
            guarded.pauseProducing()

    def unregister(self) -> None:
        """
        The protocol's producer is done.
        """
        if self.producer is None:
            return
        self.producer = None
        if self._isPull:
            self._isPull = False
            self._transport.unregisterProducer()
            if not self._connection.disconnecting:
                self._isRegistered = True
                self._transport.registerProducer(self, True)

    def close(self) -> None:
        """
        Nothing more is written: do not keep the transport from closing.
        """
        if self.producer is None:
            self._unregisterOurs()

    def _unregisterOurs(self) -> None:
        if self._isRegistered:
            self._isRegistered = False
            self._transport.unregisterProducer()


@implementer(IPushProducer, IPullProducer)
class GuardedProducer:
    """
    A producer whose exceptions cost its own connection and nothing else.

    Twisted calls C{stopProducing} before it closes a socket, and one that raised
    there would leave the socket open and the connection never lost.
    """

    __slots__ = ("_connection", "_producer")

    def __init__(self, connection: Connection, producer: Any) -> None:
        self._connection = connection
        self._producer = producer

    def __repr__(self) -> str:
        return repr(self._producer)

    def pauseProducing(self) -> None:
        """
        There is no room.
        """
        self._call("pauseProducing")

    def resumeProducing(self) -> None:
        """
        There is room again.
        """
        self._call("resumeProducing")

    def stopProducing(self) -> None:
        """
        The connection is gone.
        """
        self._call("stopProducing")

    def _call(self, name: str) -> None:
        try:
            getattr(self._producer, name)()
        except BaseException:  # noqa: BLE001 - the author's bug
            self._connection.raised(name)
