"""
Ports that receive datagrams: UDP, UNIX and inherited sockets alike.

Twisted's read until so many bytes have come, of which a flood of empty datagrams
has none; raise into the protocol what became of an earlier datagram; drop what the
kernel has no room for; and close when a peer of theirs has no socket.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from twisted.internet import udp as twistedUDP
from twisted.internet import unix as twistedUNIX
from twisted.internet.abstract import FileDescriptor, isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import InvalidAddressError, MessageLengthError
from twisted.internet.interfaces import IDelayedCall, ILoggingContext
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from twisted.python import log
from twisted.python.failure import Failure

from myserv.endpoints.pausing import PausingDescriptor
from myserv.endpoints.sieve import Sieve
from myserv.reactor.batches import Taken, receiverOf

DATAGRAMS_PER_TURN: Final = 128
"""Datagrams received before others have their turn: a millisecond's worth."""

RECEIVE_BUFFER: Final = 1024 * 1024
"""Bytes of the kernel's that may wait to be received; Linux gives 212,992 unasked,
and no more than net.core.rmem_max.  QUIC's servers ask for 2 to 7 MiB."""

UNSENT_DATAGRAMS: Final = 256
"""Datagrams that may wait for room in the kernel, of one port."""

UNSENT_BYTES: Final = 1024 * 1024
"""Their bytes."""

UNSENT_PATIENCE: Final = 1.0
"""Seconds that one may wait: whoever it is for will have asked again by then (DNS
clients do after 1 s or more, RFC 1536; CoAP's after 2, RFC 7252)."""

SEND_RETRY: Final = 0.01
"""Seconds until what waits is tried again, where the kernel does not tell when."""

READ_PAUSE: Final = 0.5
"""Seconds for which nothing is received after an error that is no datagram's; as
L{myserv.endpoints.accepting.ACCEPT_PAUSE}."""

BEHIND: Final = 0.25
"""Seconds without an empty queue after which reading has fallen behind, and between
two times of telling so."""

_NO_ROOM: Final = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})
_LATE: Final = frozenset(
    {
        # What an ICMP message said of a datagram sent before (udp(7), ip(7)).
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.EHOSTDOWN,
        errno.ENETUNREACH,
        errno.ENONET,
        errno.ENOPROTOOPT,
        errno.EMSGSIZE,
        errno.EPROTO,
        errno.EOPNOTSUPP,
        errno.EACCES,
        errno.EINTR,
    }
)
_NOBODY: Final = ("", 0)
_KNOWN_HOSTS: Final = 4096

PRIVATE: Final = ("_bindSocket", "_connectToProtocol", "_connectedAddr")
"""What is used here of Twisted's port that is not public."""

_log = Logger()


def _nothing() -> None:
    """Nobody wants to know that the port has closed."""


class ReceivingPort(PausingDescriptor, twistedUDP.Port):
    """
    A port around a datagram socket that is bound already.

    A protocol, or one of those that it wraps (C{wrappedProtocol}), may have
    C{countDropped(reason, addr)}, which is told of each datagram that was not
    sent, and C{readingFellBehind()}: for L{BEHIND} seconds datagrams have come
    faster than they were read; it is told again as long as that lasts.
    """

    # Where the kernel tells of earlier datagrams, and when there is room for more.
    _internet = True
    kind = "UDP"
    _late: IDelayedCall | None = None

    def _adopt(self, sock: socket.socket, reactor: Any, closed: Callable[[], None]) -> None:
        self._bound = sock
        self._clock = reactor
        self._closed = closed
        self._sieve = Sieve(sock, reactor)
        self._stopping: list[Deferred[None]] = []
        self._source: Any = _NOBODY
        # What the kernel has handed over and the protocol has not got yet.
        self._taken: Taken = deque()
        self._hosts: set[str] = set()
        # What waits for room, and for whom there is none.
        self._unsent: deque[tuple[bytes, Any, float]] = deque()
        self._unsentBytes = 0
        self._full: set[Any] = set()
        self._retry: IDelayedCall | None = None
        self._fullSince: float | None = None

    # From start to end.

    def startListening(self) -> None:
        """
        Let the reactor watch the socket.
        """
        sock = self._bound
        try:
            self._prepare(sock)
            self._bindSocket()
            self._connectToProtocol()
        except BaseException:
            self.connected = 0
            self.stopReading()
            sock.close()
            self._closed()
            raise

    def _prepare(self, sock: socket.socket) -> None:
        # The kernel tells twice what it was asked for (socket(7)).
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) < 2 * RECEIVE_BUFFER:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        # A process that was killed may have left its own to us.
        self._sieve.clear()

    def _bindSocket(self) -> None:
        self.socket = self._bound
        self.fileno = self.socket.fileno  # type: ignore[method-assign]
        self._receiver = receiverOf(self.socket)
        self._transmit: Callable[[bytes, Any], object] = self.socket.sendto
        self.connected = 1
        log.msg(f"{self._protocolName()} starting on {self._describe()}")

    def _describe(self) -> str:
        return str(self.socket.getsockname()[1])

    def __repr__(self) -> str:
        name = f"on {self._describe()}" if self.connected else "(not listening)"
        return f"<{type(self).__name__} of {type(self.protocol).__name__} {name}>"

    def _protocolName(self) -> str:
        if ILoggingContext.providedBy(self.protocol):
            return self.protocol.logPrefix()
        return type(self.protocol).__name__

    def stopListening(self) -> Deferred[None] | None:
        """
        Receive nothing more, and close.

        Returns:
            Fires when it has closed; C{None} if it has before.
        """
        self.stopReading()
        if not self.connected:
            return None
        stopped: Deferred[None] = Deferred()
        if not self._stopping:
            self._clock.callLater(0, self.connectionLost)
        self._stopping.append(stopped)
        return stopped

    def connectionLost(self, reason: Failure | None = None) -> None:
        """
        Close the socket.
        """
        if not self.connected:
            return
        name = self._describe()
        FileDescriptor.connectionLost(self, reason)
        self.endPause()
        # As what is left in the kernel is.
        self._taken.clear()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        unsent, self._unsent = self._unsent, deque()
        self._full.clear()
        for _, addr, _ in unsent:
            self._drop("the port closed before it could be sent", addr)
        self._sieve.clear()
        # Its methods stay, and fail: a write that comes late is dropped.
        self.socket.close()
        del self.fileno
        self._closed()
        log.msg(f"({self.kind} Port {name} Closed)")
        try:
            self.protocol.doStop()
        finally:
            stopping, self._stopping = self._stopping, []
            for each in stopping:
                each.callback(None)

    def shutOut(self, hosts: Iterable[str], seconds: float) -> bool:
        """
        Let the kernel drop what comes from some hosts.

        Args:
            hosts: Their addresses; see L{Sieve.shutOut}.
            seconds: For how long.

        Returns:
            Whether it does: only Linux does, and only for UDP.
        """
        return bool(self.connected) and self._sieve.shutOut(hosts, seconds)

    # Receiving.

    def startReading(self) -> None:
        """
        Deliver what is left of the batch at hand, and read.
        """
        super().startReading()
        if self._taken and self._late is None:
            # Nothing that comes in may remind of it.
            self._late = self._clock.callLater(0, self._deliverLate)

    def stopReading(self) -> None:
        """
        Deliver nothing more; what is left of the batch at hand is kept.
        """
        super().stopReading()
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _deliverLate(self) -> None:
        self._late = None
        log.callWithLogger(self, self._deliver)

    def doRead(self) -> None:
        """
        Datagrams have come.
        """
        receive, most = self._receiver.receive, self._receiver.most
        left = DATAGRAMS_PER_TURN
        while self._deliver():
            if left <= 0:
                self._batchWasFull()
                return
            try:
                received = receive(self.maxPacketSize, self._taken)
            except BlockingIOError:
                self._fullSince = None
                return
            except OSError as error:
                if error.errno not in _LATE:
                    self._cannotRead(error)
                    return
                self._tellRefused(error.errno)
                left -= 1
                continue
            left -= received
            if received < most:
                # To ask whether there are more would cost an exception.
                self._fullSince = None
                self._deliver()
                return

    def _deliver(self) -> bool:
        # One queue, whoever empties it: a protocol that has the port read while it gets
        # a datagram gets the next ones in order, too.
        taken = self._taken
        next_ = taken.popleft
        deliver = self.protocol.datagramReceived
        while taken and self._reads:
            datagram, source = next_()
            self._source = source
            try:
                deliver(datagram, source)
            except BaseException:  # noqa: BLE001 - a bug that costs this datagram only
                _log.failure("datagramReceived raised")
        return self._reads

    def _batchWasFull(self) -> None:
        now = self._clock.seconds()
        if self._fullSince is None:
            self._fullSince = now
        elif now - self._fullSince >= BEHIND:
            self._fullSince = now
            readingFellBehind = self._find("readingFellBehind")
            if readingFellBehind is not None:
                try:
                    readingFellBehind()
                except BaseException:  # noqa: BLE001 - a bug that must not close the port
                    _log.failure("readingFellBehind raised")

    def _cannotRead(self, error: OSError) -> None:
        self.pauseReading(READ_PAUSE)
        _log.warn(
            "nothing can be received for {seconds} seconds: {reason}",
            seconds=READ_PAUSE,
            reason=error.strerror,
        )

    def readConnectionLost(self, reason: Failure) -> None:
        """
        The reactor takes news of a datagram sent earlier for the end of the socket.
        """
        number = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._tellRefused(number)
        if self._reads:
            self.startReading()

    def _tellRefused(self, number: int | None) -> None:
        if number == errno.ECONNREFUSED and self._connectedAddr:
            self.protocol.connectionRefused()

    # Sending.

    def connect(self, host: str, port: int) -> None:
        """
        Exchange datagrams with one peer only; C{write} then needs no address.

        Raises:
            InvalidAddressError: The host is not an IP address.
            RuntimeError: It is connected already.
        """
        super().connect(host, port)
        send = self.socket.send
        self._transmit = lambda datagram, addr: send(datagram)

    def write(self, datagram: bytes, addr: Any = None) -> None:
        """
        Send a datagram, or have it wait for a little while until it can be sent.

        One that cannot be sent is dropped, and counted by a protocol that counts.

        Args:
            datagram: The whole of it.
            addr: Where to; C{None} on a connected port.

        Raises:
            InvalidAddressError: A host is not an IP address, or of the other family.
            MessageLengthError: It is larger than any datagram can be.
        """
        # Nearly always it is an answer.
        if addr is not self._source:
            self._checkAddress(addr)
        if self._full and self._keyOf(addr) in self._full:
            self._keep(datagram, addr, self._clock.seconds())
            return
        try:
            self._transmit(datagram, addr)
        except OSError as error:
            self._notSent(error, datagram, addr)

    def writeSequence(self, seq: Iterable[bytes], addr: Any = None) -> None:
        """
        Send several pieces as one datagram.
        """
        self.write(b"".join(seq), addr)

    def _checkAddress(self, addr: Any) -> None:
        if self._connectedAddr:
            assert addr in (None, self._connectedAddr)
            return
        assert addr is not None
        host = addr[0]
        if host in self._hosts:
            return
        isShort = isIPAddress(host) or host == "<broadcast>"
        if not isShort and not isIPv6Address(host):
            # The system would ask its name server, and everybody would wait.
            raise InvalidAddressError(host, "write() only accepts IP addresses, not hostnames")
        if isShort and self.addressFamily == socket.AF_INET6:
            raise InvalidAddressError(
                host, "IPv6 port write() called with IPv4 or broadcast address"
            )
        if not isShort and self.addressFamily == socket.AF_INET:
            raise InvalidAddressError(host, "IPv4 port write() called with IPv6 address")
        if len(self._hosts) >= _KNOWN_HOSTS:
            self._hosts.clear()
        self._hosts.add(host)

    def _keyOf(self, addr: Any) -> Any:
        # It is the socket's own queue that is full, whomever the next is for.
        return None

    def _notSent(self, error: OSError, datagram: bytes, addr: Any) -> None:
        if error.errno in _LATE and self._internet and error.errno != errno.EMSGSIZE:
            # It was told of an earlier one instead of sending this one.
            self._tellRefused(error.errno)
            try:
                self._transmit(datagram, addr)
                return
            except OSError as second:
                error = second
        if error.errno == errno.EMSGSIZE:
            raise MessageLengthError("message too long") from None
        if not self.connected:
            self._drop("the port has closed", addr)
        elif error.errno in _NO_ROOM:
            self._full.add(self._keyOf(addr))
            self._keep(datagram, addr, self._clock.seconds())
            self._waitForRoom(error.errno)
        else:
            self._drop(f"it could not be sent: {error.strerror}", addr)

    def _keep(self, datagram: bytes, addr: Any, since: float) -> None:
        size = self._unsentBytes + len(datagram)
        if len(self._unsent) >= UNSENT_DATAGRAMS or size > UNSENT_BYTES:
            self._drop("too many waited to be sent", addr)
            return
        self._unsent.append((datagram, addr, since))
        self._unsentBytes = size

    def _waitForRoom(self, number: int | None) -> None:
        if number == errno.EAGAIN and self._internet:
            self.startWriting()
        elif self._retry is None:
            self._retry = self._clock.callLater(SEND_RETRY, self._retryNow)

    def _retryNow(self) -> None:
        self._retry = None
        self.doWrite()

    def doWrite(self) -> None:
        """
        There may be room for what waits.
        """
        self.stopWriting()
        waiting, self._unsent = self._unsent, deque()
        self._unsentBytes = 0
        self._full.clear()
        tooOld = self._clock.seconds() - UNSENT_PATIENCE
        for datagram, addr, since in waiting:
            if since < tooOld:
                self._drop("it waited too long to be sent", addr)
            elif self._keyOf(addr) in self._full:
                self._keep(datagram, addr, since)
            else:
                self._writeAgain(datagram, addr, since)

    def _writeAgain(self, datagram: bytes, addr: Any, since: float) -> None:
        try:
            self._transmit(datagram, addr)
        except OSError as error:
            if error.errno in _NO_ROOM:
                self._full.add(self._keyOf(addr))
                self._keep(datagram, addr, since)
                self._waitForRoom(error.errno)
            else:
                # No protocol is there to be told that it is too long.
                with suppress(MessageLengthError):
                    self._notSent(error, datagram, addr)

    def _drop(self, reason: str, addr: Any) -> None:
        countDropped = self._find("countDropped")
        if countDropped is not None:
            countDropped(reason, addr)

    def _find(self, name: str) -> Any:
        protocol: Any = self.protocol
        while protocol is not None:
            method = getattr(protocol, name, None)
            if method is not None:
                return method
            protocol = getattr(protocol, "wrappedProtocol", None)
        return None


class UDPPort(ReceivingPort):
    """
    A UDP port.
    """

    def __init__(
        self,
        sock: socket.socket,
        protocol: DatagramProtocol,
        reactor: Any,
        maximumSize: int,
        closed: Callable[[], None] = _nothing,
    ) -> None:
        """
        Args:
            sock: The socket, which does not block.
            protocol: Receives the datagrams.
            reactor: Watches the socket.
            maximumSize: Bytes to read at a time.
            closed: Called when the port closes.
        """
        host, number = sock.getsockname()[:2]
        twistedUDP.Port.__init__(self, number, protocol, host, maximumSize, reactor)
        self._adopt(sock, reactor, closed)


class UNIXDatagramPort(ReceivingPort, twistedUNIX.DatagramPort):
    """
    A port around a UNIX datagram socket.
    """

    # It tells of the socket's own queue only, and it is a peer's that is full.
    _internet = False
    kind = "UNIX datagram"

    def __init__(
        self,
        sock: socket.socket,
        protocol: DatagramProtocol,
        reactor: Any,
        maximumSize: int,
        closed: Callable[[], None] = _nothing,
    ) -> None:
        """
        See L{UDPPort}.
        """
        twistedUNIX.DatagramPort.__init__(
            self, sock.getsockname(), protocol, maxPacketSize=maximumSize, reactor=reactor
        )
        self._adopt(sock, reactor, closed)

    def _prepare(self, sock: socket.socket) -> None:
        # Neither option is there for it.
        pass

    def _describe(self) -> str:
        return repr(self.port)

    def shutOut(self, hosts: Iterable[str], seconds: float) -> bool:
        """
        Its peers have no hosts.
        """
        return False

    def write(self, datagram: bytes, addr: Any = None) -> None:
        """
        Send a datagram, see L{ReceivingPort.write}.
        """
        if addr:
            super().write(datagram, addr)
        else:
            self._drop("the sender left no address to answer to", addr)

    def _checkAddress(self, addr: Any) -> None:
        # A path is looked up in the file system, and nobody waits for that.
        pass

    def _keyOf(self, addr: Any) -> Any:
        return addr
