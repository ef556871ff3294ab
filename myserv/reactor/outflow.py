"""
The writing half of a connection: bytes, producers, and what happens when all is sent.

uvloop writes at once what the kernel takes and keeps the rest.  It says when what it
keeps grows beyond a limit and when it has shrunk below another; everything here is
made of those two, because they cost nothing while there is nothing to say.  Limits
of zero are how it is asked to say when all has been sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable
from typing import Any, Final

from twisted.internet.error import ConnectionFdescWentAway
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.logger import Logger
from twisted.python import log
from twisted.python.failure import Failure

from myserv.reactor.sockets import Descriptor

BUFFER: Final = 64 * 1024
"""Bytes that may wait to be sent until a producer is paused; Twisted's figure."""

_RESUME: Final = 0
"""Bytes that may still wait when a paused producer is asked for more."""

_JOIN: Final = 16 * 1024
"""Bytes up to which copying several pieces into one costs less than C{writev}."""


def _check(data: object) -> None:
    if not isinstance(data, bytes):
        # In Twisted's words.
        raise TypeError("Data must be bytes")


def ignore(data: bytes) -> None:
    """
    Write to a connection that is gone, or whose output has ended: as Twisted does it.
    """


class Outflow:
    """
    What a protocol writes to.

    @ivar native: uvloop's transport; C{None} before it is there and after the end.
    @ivar descriptor: The socket's.
    @ivar protocol: What is told about both halves; C{None} after the end.
    @ivar connected: There is a protocol, and the end has not come.
    @ivar disconnected: The end has come.
    @ivar disconnecting: It comes when all has been sent.
    @ivar producer: Who is told when there is room, C{None} if nobody is.
    @ivar streamingProducer: The producer writes until it is paused.
    """

    # What every connection has; the dictionary is for what few have, and for what others
    # set.  Without slots each would have one, made at its end.
    __slots__ = (
        "__dict__",
        "__weakref__",
        "_aborting",
        "_contexts",
        "_direct",
        "_drainDue",
        "_inputEnded",
        "_isGivingWay",
        "_last",
        "_loop",
        "_send",
        "connected",
        "descriptor",
        "disconnected",
        "disconnecting",
        "native",
        "producer",
        "producerPaused",
        "protocol",
        "reactor",
        "streamingProducer",
    )

    bufferSize = BUFFER
    # As Twisted's: who has shared the socket with somebody else turns it off.
    _shouldShutdown = True

    _log = Logger()
    _writeDisconnecting = False
    _writeDisconnected = False
    # There are limits of zero, and every write is looked at.
    _watching = False

    def __init__(self, descriptor: Descriptor, protocol: Any, reactor: Any) -> None:
        """
        Args:
            descriptor: Of a connected socket.
            protocol: What reads it.
            reactor: A L{myserv.reactor.core.UVLoopReactor}.
        """
        self.descriptor = descriptor
        self.protocol = protocol
        self.reactor = reactor
        self.native: Any = None
        self.connected = False
        self.disconnected = False
        self.disconnecting = False
        self.producer: Any = None
        self.streamingProducer = False
        self.producerPaused = False
        self._loop: asyncio.AbstractEventLoop = reactor.eventLoop
        self._contexts: list[Any] = reactor.contexts
        self._send: Callable[[bytes], object] = ignore
        # What is written goes to uvloop and nowhere else.
        self._direct = False
        self._aborting = False
        self._drainDue = False
        self._inputEnded = False
        self._isGivingWay = False
        # The class of the protocol, after the end.
        self._last: type = type(protocol)

    @property
    def socket(self) -> socket.socket:
        """
        The socket, for its options; to read or write it is uvloop's.

        Raises:
            OSError: The connection is over.
        """
        lent = self.descriptor.socket
        lent.whenClosed = self._socketClosed
        return lent

    def _socketClosed(self) -> None:
        # The same connection may go on elsewhere, through another descriptor.
        self._shouldShutdown = False
        self.stopReading()
        self._loop.call_soon(self.connectionLost, Failure(ConnectionFdescWentAway()))

    # Bytes.

    def write(self, data: bytes) -> None:
        """
        Send bytes, now or when there is room.

        Raises:
            TypeError: They are not C{bytes}.  Of anything else uvloop keeps what may be
                changed before it is sent, or drops it without a word if it is false.
        """
        if type(data) is not bytes:
            _check(data)
        self._send(data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """
        Send several pieces as one.

        Raises:
            TypeError: As L{write}; then none is sent.
        """
        pieces = iovec if isinstance(iovec, list | tuple) else list(iovec)
        for piece in pieces:
            _check(piece)
        if self._direct and len(pieces) > 1 and sum(map(len, pieces)) > _JOIN:
            self.native.writelines(pieces)
        else:
            self._send(b"".join(pieces))

    def getWriteBufferSize(self) -> int:
        """
        How many bytes wait here for room in the kernel.
        """
        native = self.native
        return 0 if native is None else int(native.get_write_buffer_size())

    # What uvloop says.

    def pause_writing(self) -> None:
        """
        More than the limit waits.
        """
        producer = self.producer
        if (
            producer is not None
            and self.streamingProducer
            and not self.producerPaused
            and self.native.get_write_buffer_size() > self.bufferSize
        ):
            self.producerPaused = True
            self._tell(producer.pauseProducing)

    def resume_writing(self) -> None:
        """
        All has been sent, or nearly so.
        """
        self._drained()

    # Producers.

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Have a producer told when there is room.

        Args:
            producer: An C{IPushProducer}, or an C{IPullProducer}.
            streaming: It is the former.

        Raises:
            RuntimeError: There is one already.
        """
        if self.producer is not None:
            raise RuntimeError(
                f"Cannot register producer {producer}, because producer "
                f"{self.producer} was never unregistered."
            )
        if self.disconnected:
            producer.stopProducing()
            return
        self.producer = producer
        self.streamingProducer = streaming
        self.producerPaused = False
        if streaming:
            # Twisted pauses it at its next write; uvloop has said so already.
            native = self.native
            if native is not None and native.get_write_buffer_size() > self.bufferSize:
                self.pause_writing()
        else:
            self._watch()
            producer.resumeProducing()
            # As on Twisted's reactors, where what was written before is on its way
            # until the next turn.
            if self.connected:
                self._drainSoon()

    def unregisterProducer(self) -> None:
        """
        Tell a producer nothing more; if the end waited for it, it comes.
        """
        self.producer = None
        if self.connected:
            if self.disconnecting:
                self._drainSoon()
            elif self._watching and not self._writeDisconnecting:
                self._unwatch()

    def stopConsuming(self) -> None:
        """
        A producer has nothing more, and closes.
        """
        self.unregisterProducer()
        self.loseConnection()

    # The end of the output.

    def loseConnection(self) -> None:
        """
        Close when what was written, and what a producer still has, is sent.
        """
        if not self.connected or self.disconnecting:
            return
        self.stopReading()
        if self._writeDisconnected:
            self._done()
        else:
            self.disconnecting = True
            # Not now: what is written in this turn is sent, too.
            self._drainSoon()

    def loseWriteConnection(self) -> None:
        """
        Close the output when what was written, and what a producer still has, is
        sent.
        """
        self._writeDisconnecting = True
        self._drainSoon()

    def _drainSoon(self) -> None:
        if not self._drainDue:
            self._drainDue = True
            self._loop.call_soon(self._drainNow)

    def _drainNow(self) -> None:
        self._drainDue = False
        if not self.connected or self._aborting:
            return
        if self.native.get_write_buffer_size():
            # Resumes here.
            self._watch()
        else:
            self._drained()

    def _drained(self) -> None:
        # Twisted's order: a producer that waits, then the end, then half of it.
        if not self.connected or self._aborting:
            return
        producer = self.producer
        if producer is not None and (self.producerPaused or not self.streamingProducer):
            self.producerPaused = False
            self._tell(producer.resumeProducing)
        elif self.disconnecting:
            self._done()
        elif self._writeDisconnecting and not self._writeDisconnected:
            self._endOutput()

    def _endOutput(self) -> None:
        self._writeDisconnected = True
        self._send = ignore
        self._direct = False
        # The peer may be gone; reading finds out.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
        heard = IHalfCloseableProtocol(self.protocol, None)
        if heard is not None:
            self._tell(heard.writeConnectionLost)

    # Looking at every write.

    def _watch(self) -> None:
        if not self._watching:
            self._watching = True
            self._direct = False
            self._send = self._sendWatched
            self.native.set_write_buffer_limits(0, 0)

    def _unwatch(self) -> None:
        self._watching = False
        self._direct = True
        self._send = self.native.write
        self.native.set_write_buffer_limits(self.bufferSize, _RESUME)

    def _sendWatched(self, data: bytes) -> None:
        self.native.write(data)
        if self.native.get_write_buffer_size():
            self.pause_writing()
        else:
            self._drainSoon()

    # What a subclass knows.

    def _tell(self, call: Callable[[], object]) -> None:
        # Whom it calls may raise: that costs the connection, as on any reactor.
        try:
            call()
        except BaseException:  # noqa: BLE001 - see above
            self.raised()

    def raised(self) -> None:
        """
        The protocol, or a producer of its, raised what is being handled.
        """
        failure = Failure()
        contexts = self._contexts
        contexts.append(self)
        try:
            log.err(failure)
        finally:
            contexts.pop()
        self.connectionLost(failure)

    def stopReading(self) -> None:
        """
        Read nothing more.
        """
        raise NotImplementedError

    def connectionLost(self, reason: Failure) -> None:
        """
        The end.
        """
        raise NotImplementedError

    def _done(self) -> None:
        raise NotImplementedError
