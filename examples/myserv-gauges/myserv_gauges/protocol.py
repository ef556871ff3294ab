"""
Gauges over connections and over datagrams.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import DatagramProtocol, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from myserv.plugin import IDrainable, IServerContext
from myserv_gauges.codec import (
    Get,
    LineTooLongError,
    List,
    Request,
    RequestError,
    RequestReader,
    Set,
    Watch,
    formatReading,
    parseRequest_untrusted,
)
from myserv_gauges.gauges import FullError, Gauges


@implementer(IHalfCloseableProtocol, IPushProducer, IDrainable)
class GaugesProtocol(Protocol):
    """
    One connection.

    A peer that does not read its answers is not read from, and is told of no
    more values until it has caught up: what waits for it here stays bounded.
    """

    transport: Any  # an ITransport that is an IConsumer and an IPushProducer

    def __init__(self, context: IServerContext, gauges: Gauges, maxLine: int) -> None:
        self._context = context
        self._gauges = gauges
        self._reader = RequestReader(maxLine)
        self._paused = False
        self._ended = False
        self._missed = 0

    def connectionMade(self) -> None:
        """
        Be told when too much waits to be sent.
        """
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """
        Bytes came in.
        """
        # TLS may deliver more after the connection was told to close.
        if not self._ended:
            self._reader.receive_data(data)
            self._answerAll()

    def readConnectionLost(self) -> None:
        """
        The peer will send no more: it still gets its answers.
        """
        self._ended = True
        self._answerAll()

    def writeConnectionLost(self) -> None:
        """
        Never happens: nothing here closes one half.
        """

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The peer is gone.
        """
        self._ended = self._paused = True
        self._gauges.unwatch(self._changed)

    def drainRequested(self, deadline: float) -> None:
        """
        The server is going away: whoever watches would never be done.
        """
        self._close(b"bye\n")

    def pauseProducing(self) -> None:
        """
        Too much waits to be sent: neither read nor tell.
        """
        self._paused = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """
        The peer has caught up.
        """
        self._paused = False
        self.transport.resumeProducing()
        if self._missed:
            missed, self._missed = self._missed, 0
            self.transport.write(b"missed %d\n" % missed)
        self._answerAll()

    def stopProducing(self) -> None:
        """
        The connection is about to be lost: connectionLost does what there is to do.
        """

    def _answerAll(self) -> None:
        # One at a time: any answer may fill the transport and pause us.
        while not self._paused:
            try:
                request = self._reader.next_event()
                if request is None:
                    break
                self.transport.write(self._answer(request))
            except LineTooLongError as error:
                self._context.penalize(self.transport.getPeer(), "sent a line that is too long")
                self._close(b"error %s\n" % str(error).encode())
                return
            except RequestError as error:
                self.transport.write(b"error %s\n" % str(error).encode())
        if self._ended and not self._paused:
            self._close(b"")

    def _answer(self, request: Request) -> bytes:
        match request:
            case Set(name, value):
                try:
                    self._gauges.set(name, value)
                except FullError:
                    return b"error there is no room for another gauge\n"
                return b"ok\n"
            case Get(name):
                found = self._gauges.get(name)
                return b"none\n" if found is None else formatReading(name, found)
            case List(prefix):
                lines = [formatReading(name, value) for name, value in self._gauges.list(prefix)]
                return b"".join([*lines, b"end\n"])
            case Watch(prefix):
                self._gauges.watch(prefix, self._changed)
                return b"ok\n"

    def _changed(self, name: str, value: float) -> None:
        if self._paused:
            self._missed += 1
        else:
            self.transport.write(formatReading(name, value))

    def _close(self, last: bytes) -> None:
        self._gauges.unwatch(self._changed)
        self._ended = self._paused = True
        self.transport.write(last)
        # A transport with a producer waits for more to write, and never closes.
        self.transport.unregisterProducer()
        # If it was paused: TLS has to hear the peer's goodbye to end.
        self.transport.resumeProducing()
        self.transport.loseConnection()


class GaugesDatagramProtocol(DatagramProtocol):
    """
    One socket: sensors report, a line or several in a datagram.

    Nothing is ever answered, because the sender may not be who it says it is.
    For the same reason nobody is penalized for what it sent.
    """

    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Obey every line that sets a gauge.
        """
        for line in datagram.splitlines():
            try:
                request = parseRequest_untrusted(line)
                if isinstance(request, Set):
                    self._gauges.set(request.name, request.value)
            except (RequestError, FullError):
                continue
