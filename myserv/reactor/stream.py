"""
A connection: the reading half, the end, and what can be asked of it.

The object that the protocol calls its transport is also what uvloop calls its
protocol: one call from either to the other.  The two that every byte passes,
L{Stream.data_received} and L{Outflow.write}, look up what they call each time, so
that C{transport.protocol} and C{protocol.dataReceived} may be replaced at any time.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    ILoggingContext,
    IPushProducer,
    ISystemHandle,
    ITCPTransport,
    ITLSTransport,
)
from twisted.python import context, log
from twisted.python.failure import Failure
from twisted.python.log import ILogContext
from zope.interface import implementer

from myserv.reactor.outflow import Outflow, ignore
from myserv.reactor.secure import startTLS

BULK: Final = 200_000
"""Bytes in one read that tell of more: uvloop asks for 256,000."""

_DONE: Final = Failure(ConnectionDone())

_new: Final = IPv4Address.__new__

RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time for it: to close is to reset."""


@implementer(ITLSTransport, ITCPTransport, ISystemHandle, IHalfCloseableDescriptor)
@implementer(IConsumer, IPushProducer, ILoggingContext)
class Stream(Outflow):
    """
    A connection on one of uvloop's transports.

    @cvar tlsClient: TLS begins with our hello.
    @ivar TLS: C{startTLS} was called.
    @ivar reading: What arrives is read.
    """

    __slots__ = ()

    tlsClient = False
    TLS = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.protocolType.__name__}>"

    @property
    def logstr(self) -> str:
        """
        What log lines call it.
        """
        return self._protocolName()

    @property
    def protocolType(self) -> type:
        """The class of the protocol, of the last one after the end."""
        return self._last if self.protocol is None else type(self.protocol)

    def _protocolName(self) -> str:
        # Asked for when something is logged, which is seldom.
        protocol = self.protocol
        if ILoggingContext.providedBy(protocol):
            return str(protocol.logPrefix())
        return self.protocolType.__name__

    def logPrefix(self) -> str:
        """
        What log lines call it.
        """
        return self.logstr

    def __getitem__(self, key: object) -> dict[str, object]:
        """
        What Twisted's log finds in the context of a call: whose call it is.

        Made only when something is logged.

        Raises:
            KeyError: Something else is looked for.
        """
        return contextOf(self, key)

    # What uvloop says.

    def itself(self) -> Stream:
        """
        What uvloop takes for a protocol's factory.
        """
        return self

    def connection_made(self, native: Any) -> None:
        """
        The transport of uvloop's is there; see L{opened}.
        """
        self.native = native
        self._send = native.write
        self._direct = True

    def opened(self) -> None:
        """
        The socket is read: introduce the protocol.

        Not earlier: uvloop begins to read whatever a protocol says in
        C{connection_made}.
        """
        self.connected = True
        self.reactor.natives.add(self)
        contexts = self._contexts
        contexts.append(self)
        try:
            self.protocol.makeConnection(self)
        except BaseException:  # noqa: BLE001 - the protocol's bug
            self._madeRaised()
        finally:
            contexts.pop()

    def giveUp(self) -> None:
        """
        The reactor has ended before the protocol was introduced, which it never will be.
        """
        self.disconnected = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def discard(self) -> None:
        """
        Close the socket of a connection that was given up.
        """
        self.native.abort()
        self.descriptor.close()

    def _madeRaised(self) -> None:
        # Twisted leaves an accepted connection open, too.
        log.err()

    def data_received(self, data: bytes) -> None:
        """
        Bytes came.
        """
        contexts = self._contexts
        contexts.append(self)
        try:
            self.protocol.dataReceived(data)
        except BaseException:  # noqa: BLE001 - the protocol's bug, see raised
            self.raised()
        finally:
            contexts.pop()
        if len(data) >= BULK:
            self._giveWay()

    def _giveWay(self) -> None:
        # libuv reads on as long as there is as much as it asks for, and nobody else has
        # a turn meanwhile.
        native = self.native
        if native is not None and native.is_reading():
            native.pause_reading()
            self._isGivingWay = True
            self._loop.call_soon(self._goOn)

    def _goOn(self) -> None:
        if self._isGivingWay:
            self.startReading()

    def eof_received(self) -> bool:
        """
        The peer will send no more.

        Returns:
            That uvloop is not to close by itself.
        """
        self._inputEnded = True
        if self._drainDue:
            self.readConnectionLost(_DONE)
            return True
        # Most close now, with nothing left to send: that need not take another turn.
        self._drainDue = True
        self.readConnectionLost(_DONE)
        self._drainDue = False
        if self.disconnecting or self._writeDisconnecting:
            self._drainNow()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """
        The transport of uvloop's is gone.
        """
        if self._aborting:
            self.connectionLost(Failure(ConnectionAborted()))
        elif error is None:
            self.connectionLost(_DONE)
        else:
            self.connectionLost(_lost(error))

    # The end.

    def readConnectionLost(self, reason: Failure) -> None:
        """
        The input has ended.
        """
        heard = IHalfCloseableProtocol(self.protocol, None)
        if heard is not None:
            self._tell(heard.readConnectionLost)
        else:
            self.connectionLost(reason)

    def writeConnectionLost(self, reason: Failure) -> None:
        """
        The output has ended.
        """
        self.connectionLost(reason)

    def _done(self) -> None:
        self.connectionLost(_DONE)

    def abortConnection(self) -> None:
        """
        Reset the connection; what was written and not yet sent is lost.
        """
        if not self.connected or self._aborting:
            return
        self._aborting = True
        self.stopReading()
        self._send = ignore
        self._direct = False
        self._loop.call_soon(self.connectionLost, Failure(ConnectionAborted()))

    def connectionLost(self, reason: Failure) -> None:
        """
        Close, and tell the protocol; only once.

        Args:
            reason: Why.
        """
        if self.disconnected:
            return
        self.disconnected = True
        self.connected = False
        self._send = ignore
        self._direct = False
        self.reactor.natives.discard(self)
        producer, self.producer = self.producer, None
        if producer is not None:
            self._tell(producer.stopProducing)
        self._closeNative(reset=self._aborting)
        protocol = self.protocol
        contexts = self._contexts
        contexts.append(self)
        try:
            self.protocol = None
            self._last = type(protocol)
            protocol.connectionLost(reason)
        except BaseException:  # noqa: BLE001 - the protocol's bug
            log.err()
        finally:
            contexts.pop()

    def _closeNative(self, *, reset: bool) -> None:
        native, self.native = self.native, None
        if reset or not self._inputEnded:
            # The peer may be gone, or uvloop have closed already.
            with contextlib.suppress(OSError):
                if reset:
                    self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                elif self._shouldShutdown:
                    # Now, not when uvloop gets to it: the peer waits.
                    self.socket.shutdown(socket.SHUT_RDWR)
        native.abort()
        self.descriptor.close()

    # As a producer.

    @property
    def reading(self) -> bool:
        """What arrives is read."""
        return self.native is not None and bool(self.native.is_reading())

    def pauseProducing(self) -> None:
        """
        Read no more until L{resumeProducing}.
        """
        self.stopReading()

    def resumeProducing(self) -> None:
        """
        Read again.
        """
        if self.connected and not self.disconnecting:
            self.startReading()

    def stopProducing(self) -> None:
        """
        Close.
        """
        self.loseConnection()

    def stopReading(self) -> None:
        """
        Read no more.
        """
        self._isGivingWay = False
        if self.native is not None:
            self.native.pause_reading()

    def startReading(self) -> None:
        """
        Read again.
        """
        self._isGivingWay = False
        if self.native is not None and not self._inputEnded and not self._aborting:
            self.native.resume_reading()

    # What it is.

    def startTLS(self, contextFactory: Any, normal: bool = True) -> None:
        """
        Speak TLS from now on, as Twisted's own transports do.

        Args:
            contextFactory: See C{ITLSTransport}.
            normal: The client of the connection is the client of TLS, too.
        """
        startTLS(self, contextFactory, client=self.tlsClient is normal)

    def getHandle(self) -> Any:
        """
        The socket, for its options; to read or write it is uvloop's.
        """
        return self.socket

    def fileno(self) -> int:
        """
        The socket's descriptor, -1 after the end.
        """
        return self.descriptor.fileno()

    def getHost(self) -> Any:
        """
        The address at our end.
        """
        return address(self.socket.getsockname())

    def getPeer(self) -> Any:
        """
        The address at the other end.
        """
        return address(self.socket.getpeername())

    def getTcpNoDelay(self) -> bool:
        """
        Whether short writes are sent at once; uvloop turns that on.
        """
        return bool(self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        Send short writes at once, or wait for more.
        """
        # Not worth more than a try: the peer may be gone.
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        """
        Whether the kernel probes a silent peer.
        """
        return bool(self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """
        Have the kernel probe a silent peer, or not.
        """
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)


def contextOf(whose: Any, key: object) -> dict[str, object]:
    """
    Make Twisted's logging context.

    Raises:
        KeyError: It is not what is looked for.
    """
    if key is not ILogContext:
        raise KeyError(key)
    return {**context.defaultContextDict[ILogContext], "system": whose.logPrefix()}


def _lost(error: Exception) -> Failure:
    if not isinstance(error, OSError):
        return Failure(error, type(error), error.__traceback__)
    lost: Any = ConnectionLost(error.strerror or str(error))
    lost.osError = error  # as Twisted's ConnectError says it
    lost.__cause__ = error
    return Failure(lost)


def address(sockaddr: Any) -> IPv4Address | IPv6Address:
    """
    Make Twisted's address of the kernel's.

    Args:
        sockaddr: A pair for IPv4, a 4-tuple for IPv6.
    """
    if len(sockaddr) == 2:
        # As IPv4Address("TCP", *sockaddr) does it, which also looks whether "TCP" is
        # one of its types: a hundredth of a connection.
        made = _new(IPv4Address)
        made.type = "TCP"
        made.host, made.port = sockaddr
        return made
    return IPv6Address("TCP", *scoped(sockaddr))


def scoped(sockaddr: Any) -> Any:
    """
    Put an IPv6 address's scope where Twisted has it: C{fe80::1%eth0}.
    """
    if not sockaddr[3] or "%" in sockaddr[0]:
        return sockaddr
    numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    return (socket.getnameinfo(sockaddr, numeric)[0], *sockaddr[1:])
