"""
One end of the line between the supervisor and a worker.

Not a transport of the reactor's: what is half read or half written has to outlive the
supervisor's program when it replaces itself.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from myserv.workers.messages import MAXIMUM_MESSAGE, Message, MessageError, MessageReader, encode

_CHUNK: Final = 65536

ENOUGH: Final = 2**20
"""Unsent bytes from which on nothing is sent that can be done without: 1 MiB."""

MOST: Final = 2 * MAXIMUM_MESSAGE
"""Unsent bytes at which the other end is given up."""


@implementer(IReadWriteDescriptor)
class Channel:
    """
    Sends and receives messages over a stream socket.

    Resources:
        The socket is closed when either end closes.
    """

    def __init__(
        self,
        reactor: Any,
        sock: socket.socket,
        received: Callable[[Message], None],
        closed: Callable[[str], None],
        unread: bytes = b"",
        unsent: bytes = b"",
    ) -> None:
        """
        Args:
            reactor: Watches the socket.
            sock: One of a pair.
            received: Called with each message.
            closed: Called once, with a reason in a few words, when the other end
                has closed or said what is no message; not after L{close}.
            unread: What came before, of a message that is not complete.
            unsent: What is to be sent before anything else.
        """
        sock.setblocking(False)
        self.socket = sock
        self._reactor = reactor
        self._received = received
        self._closed = closed
        self._reader = MessageReader(unread)
        self._unsent = bytearray(unsent)
        self.isOpen = True
        reactor.addReader(self)
        if self._unsent:
            reactor.addWriter(self)

    @property
    def unread(self) -> bytes:
        """What has come of a message that is not complete."""
        return bytes(self._reader.buffer)

    @property
    def unsent(self) -> bytes:
        """What waits for room in the kernel."""
        return bytes(self._unsent)

    def send(self, message: Message, *, needed: bool = True) -> None:
        """
        Send a message; nothing once the channel is closed.

        Args:
            message: The message.
            needed: It may not be left out when the other end does not read.
        """
        if not self.isOpen or (len(self._unsent) > ENOUGH and not needed):
            return
        wasEmpty = not self._unsent
        self._unsent += encode(message)
        if wasEmpty:
            self.doWrite()
            if self._unsent and self.isOpen:
                self._reactor.addWriter(self)
        elif len(self._unsent) > MOST:
            self._end("it does not read what it is told")

    def doRead(self) -> None:
        """
        Bytes are there.
        """
        self._readOnce()

    def _readOnce(self) -> bool:
        try:
            data = self.socket.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._end(error.strerror or str(error))
            return False
        if not data:
            self._end("it was closed")
            return False
        try:
            messages = self._reader.receiveData(data)
        except MessageError as error:
            self._end(str(error))
            return False
        for message in messages:
            self._received(message)
        return True

    def drain(self) -> None:
        """
        Read what is there: the other end has gone, perhaps with a last word.
        """
        while self.isOpen and self._readOnce():
            pass

    def doWrite(self) -> None:
        """
        There is room for more bytes.
        """
        try:
            sent = self.socket.send(self._unsent)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            # What the other end said before it closed is still to be read.
            self._unsent.clear()
            self._reactor.removeWriter(self)
            return
        del self._unsent[:sent]
        if not self._unsent:
            self._reactor.removeWriter(self)

    def _end(self, reason: str) -> None:
        if self.isOpen:
            self.close()
            self._closed(reason)

    def close(self) -> None:
        """
        Close this end.
        """
        if self.isOpen:
            self.isOpen = False
            self._reactor.removeReader(self)
            self._reactor.removeWriter(self)
            self.socket.close()

    def fileno(self) -> int:
        """
        The descriptor, for the reactor.
        """
        return self.socket.fileno()

    def connectionLost(self, reason: Failure) -> None:
        """
        The reactor gave the socket up.
        """
        self._end("it was lost")

    def logPrefix(self) -> str:
        """
        What the reactor calls it in the log.
        """
        return "workers"
