"""
UDP ports: read in a tight loop, and send what the kernel has no room for later.

What opens and closes a port is Twisted's.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from typing import Any, Final

from twisted.internet import udp
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.error import InvalidAddressError, MessageLengthError
from twisted.internet.interfaces import IDelayedCall, IUDPTransport
from twisted.logger import Logger
from zope.interface import implementer

from myserv.reactor.batches import Taken, receiverOf
from myserv.reactor.stream import contextOf

BATCH: Final = 64
"""Datagrams read in one turn of the loop, at most.  Twisted counts bytes, and empty
datagrams have none."""

REST: Final = 0.5
"""Seconds for which nothing is read after an error that is no datagram's."""

QUEUE: Final = 1024
"""Datagrams that wait for room in the kernel, at most; further ones are dropped."""

QUEUE_BYTES: Final = 1024 * 1024
"""Bytes that wait for room in the kernel, at most."""

_HOSTS: Final = 4096
"""Hosts known to be written as addresses, at most."""

_REFUSED: Final = {errno.ECONNREFUSED, errno.ECONNRESET, errno.ENETRESET, errno.ETIMEDOUT}

_FULL: Final = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS}

_log: Final = Logger()


@implementer(IUDPTransport)
class UDPPort(udp.Port):
    """
    A UDP port.

    @ivar reading: What arrives is read.
    @ivar dropped: How many datagrams found neither the kernel nor the queue with room
        for them.
    """

    reactor: Any

    reading = False
    dropped = 0

    _watched = -1
    _watchedOut = False
    _waitingBytes = 0
    _late: IDelayedCall | None = None
    _resting: IDelayedCall | None = None

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        # What the kernel has handed over and the protocol has not got yet.
        self._taken: Taken = deque()
        self._waiting: deque[tuple[bytes, Any]] = deque()
        self._hosts: set[str] = set()
        # The errors of sending that were told; each is told once until one arrives.
        self._told: set[int] = set()

    def _connectToProtocol(self) -> None:
        self._receiver = receiverOf(self.socket)
        super()._connectToProtocol()

    # In.

    def startReading(self) -> None:
        """
        Read what arrives, from now on or again; what was taken from the kernel before
        comes first.
        """
        self.reading = True
        self.reactor.natives.add(self)
        if self._watched < 0:
            self._watched = self.socket.fileno()
            self.reactor.watch(self.reactor.eventLoop.add_reader, self._watched, self.doRead)
        if self._taken and self._late is None:
            # Nothing that arrives may remind of it.
            self._late = self.reactor.callLater(0, self._readLate)

    def stopReading(self) -> None:
        """
        Read nothing more, at once; what arrives waits in the kernel, as long as it
        has room, and what was taken from there waits here.
        """
        self.reading = False
        resting, self._resting = self._resting, None
        if resting is not None:
            resting.cancel()
        if self._late is not None:
            self._late.cancel()
            self._late = None
        if self._watched >= 0:
            self.reactor.eventLoop.remove_reader(self._watched)
            self._watched = -1

    def _readLate(self) -> None:
        self._late = None
        self.doRead()

    def doRead(self) -> None:
        """
        Datagrams are there: read a few.
        """
        contexts = self.reactor.contexts
        contexts.append(self)
        try:
            self._receive()
        finally:
            contexts.pop()

    def __getitem__(self, key: object) -> dict[str, object]:
        """
        What Twisted's log finds in the context of a call: whose call it is.

        Raises:
            KeyError: Something else is looked for.
        """
        return contextOf(self, key)

    def _receive(self) -> None:
        taken, receiver = self._taken, self._receiver
        for _ in range(0, BATCH, receiver.most):
            if not self.reading:
                return
            if not taken:
                try:
                    receiver.receive(self.maxPacketSize, taken)
                except BlockingIOError:
                    return
                except OSError as error:
                    self._readFailed(error)
                    return
            self._deliver(taken)

    def _deliver(self, taken: Taken) -> None:
        next_ = taken.popleft
        while taken and self.reading:
            data, sender = next_()
            try:
                # Looked up each time: protocols may be wrapped while they run.
                self.protocol.datagramReceived(data, sender)
            except BaseException:  # noqa: BLE001 - the protocol's bug; Twisted only logs it, too
                _log.failure("{port!r}: datagramReceived raised", port=self)

    def _readFailed(self, error: OSError) -> None:
        if error.errno in _REFUSED:
            if self._connectedAddr:
                self._refused()
        elif error.errno not in (errno.EINTR, errno.EMSGSIZE):
            _log.error(
                "{port!r} cannot read: {error}; it tries again in {rest} s",
                port=self,
                error=error,
                rest=REST,
            )
            if self.reading:
                self.stopReading()
                self._resting = self.reactor.callLater(REST, self._rested)

    def _rested(self) -> None:
        self._resting = None
        self.startReading()

    def _refused(self) -> None:
        try:
            self.protocol.connectionRefused()
        except BaseException:  # noqa: BLE001 - the protocol's bug
            _log.failure("{port!r}: connectionRefused raised", port=self)

    # Out.

    def write(self, datagram: bytes, addr: tuple[str, int] | None = None) -> None:
        """
        Send a datagram, now or when the kernel has room.

        Args:
            datagram: What to send.
            addr: Host and port, the host as an address; C{None} on a connected port.

        Raises:
            twisted.internet.error.MessageLengthError: It is too long.
            twisted.internet.error.InvalidAddressError: The host is a name, or of
                the other kind of address.
            OSError: The kernel refused; the same error is raised once, and then
                not until a datagram was sent again.
        """
        if self._connectedAddr:
            assert addr in (None, self._connectedAddr)
            addr = None
        else:
            assert addr is not None
            if addr[0] not in self._hosts:
                self._checkHost(addr[0])
        if self._waiting:
            self._enqueue(datagram, addr)
            return
        try:
            self._put(datagram, addr)
        except OSError as error:
            self._writeFailed(error, datagram, addr)
        else:
            if self._told:
                self._told.clear()

    def _put(self, datagram: bytes, addr: Any) -> None:
        if addr is None:
            self.socket.send(datagram)
        else:
            self.socket.sendto(datagram, addr)

    def _checkHost(self, host: str) -> None:
        old = isIPAddress(host) or host == "<broadcast>"
        new = not old and isIPv6Address(host)
        if not old and not new:
            raise InvalidAddressError(host, "write() only accepts IP addresses, not hostnames")
        if old and self.addressFamily == socket.AF_INET6:
            raise InvalidAddressError(
                host, "IPv6 port write() called with IPv4 or broadcast address"
            )
        if new and self.addressFamily == socket.AF_INET:
            raise InvalidAddressError(host, "IPv4 port write() called with IPv6 address")
        if len(self._hosts) >= _HOSTS:
            self._hosts.clear()
        self._hosts.add(host)

    def _writeFailed(self, error: OSError, datagram: bytes, addr: Any) -> None:
        if error.errno in _FULL:
            self._enqueue(datagram, addr)
        elif error.errno == errno.EMSGSIZE:
            raise MessageLengthError("message too long") from error
        elif error.errno == errno.ECONNREFUSED:
            # Without a connection it says nothing about this datagram.
            if addr is None:
                self._refused()
        elif error.errno not in self._told:
            self._told.add(error.errno or 0)
            raise error

    def _enqueue(self, datagram: bytes, addr: Any) -> None:
        if len(self._waiting) >= QUEUE or self._waitingBytes + len(datagram) > QUEUE_BYTES:
            self.dropped += 1
            return
        self._waiting.append((datagram, addr))
        self._waitingBytes += len(datagram)
        if not self._watchedOut:
            self._watchedOut = True
            loop = self.reactor.eventLoop
            self.reactor.watch(loop.add_writer, self.socket.fileno(), self._flush)

    def _flush(self) -> None:
        waiting = self._waiting
        for _ in range(BATCH):
            if not waiting:
                break
            datagram, addr = waiting[0]
            try:
                self._put(datagram, addr)
            except OSError as error:
                if error.errno in _FULL:
                    return
                # Nobody is left to tell whose datagram it was.
                self.dropped += 1
            waiting.popleft()
            self._waitingBytes -= len(datagram)
        if not waiting:
            self._stopFlushing()

    def _stopFlushing(self) -> None:
        if self._watchedOut:
            self._watchedOut = False
            self.reactor.eventLoop.remove_writer(self.socket.fileno())

    def getWriteBufferSize(self) -> int:
        """
        How many bytes wait here for room in the kernel.
        """
        return self._waitingBytes

    # The end.

    def stopWriting(self) -> None:
        """
        Send nothing more of what waits.
        """
        self._stopFlushing()

    def connectionLost(self, reason: Any = None) -> None:
        """
        Close the port.
        """
        self._stopFlushing()
        self._waiting.clear()
        self._waitingBytes = 0
        # As what is left in the kernel is.
        self._taken.clear()
        self.reactor.natives.discard(self)
        super().connectionLost(reason)
        self.reactor.natives.discard(self)
