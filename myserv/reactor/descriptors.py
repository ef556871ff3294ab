"""
Descriptors sent over a UNIX socket.

Each goes with a byte, ahead of what is written after it.  uvloop sends none, so they
are sent past it, when nothing that was written earlier waits in it.
"""

from __future__ import annotations

import errno
import socket
from typing import Final

from twisted.internet.error import FileDescriptorOverrun
from twisted.python.failure import Failure

from myserv.reactor.outflow import Outflow

RETRY: Final = 0.005
"""Seconds until the next try when the peer's buffer is full; uvloop lets nobody else
watch its sockets."""

QUEUE: Final = 64
"""Descriptors that wait until a producer is paused; Twisted's figure."""

# There is no room in the peer's buffer, or too many descriptors are on their way.
_LATER: Final = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.ETOOMANYREFS}


class DescriptorQueue(Outflow):
    """
    What sends descriptors along with bytes.
    """

    _held: bytearray | None = None

    def sendFileDescriptor(self, descriptor: int) -> None:
        """
        Send a descriptor along with the next byte that is written.

        Args:
            descriptor: Has to stay open until it is sent.
        """
        if not self.connected or self._writeDisconnected:
            return
        if self._held is None:
            self._held = held = bytearray()
            self._descriptors: list[int] = []
            self._direct = False
            self._send = held.extend
            self._loop.call_soon(self._sendDescriptors)
        self._descriptors.append(descriptor)
        producer = self.producer
        if (
            len(self._descriptors) > QUEUE
            and producer is not None
            and self.streamingProducer
            and not self.producerPaused
        ):
            self.producerPaused = True
            self._tell(producer.pauseProducing)

    def getWriteBufferSize(self) -> int:
        """
        How many bytes wait here for room in the kernel.
        """
        return super().getWriteBufferSize() + len(self._held or b"")

    def _sendDescriptors(self) -> None:
        held = self._held
        if held is None or not self.connected or self._aborting:
            return
        if len(self._descriptors) > len(held):
            self.connectionLost(Failure(FileDescriptorOverrun()))
            return
        try:
            while self._descriptors and not super().getWriteBufferSize():
                socket.send_fds(self.socket, [held[:1]], self._descriptors[:1])
                del held[:1], self._descriptors[0]
        except OSError as error:
            if error.errno not in _LATER:
                # uvloop finds out, and tells, when it writes.
                self._descriptors.clear()
        if self._descriptors:
            self._loop.call_later(RETRY, self._sendDescriptors)
            return
        self._held = None
        if self._watching:
            self._send = self._sendWatched
        else:
            self._send = self.native.write
            self._direct = True
        self._send(bytes(held))
        if self.producerPaused:
            self._drainSoon()

    def _drainNow(self) -> None:
        if self._held is None:
            super()._drainNow()
        else:
            # After what is held.
            self._loop.call_later(RETRY, self._drainNow)

    def _drained(self) -> None:
        if self._held is None:
            super()._drained()
        else:
            self._drainSoon()
