"""
One connection's WebSocket: from the request to the close frames of both sides.

wsproto reads the frames and knows their rules; this decides what they mean to the
protocol above.  Sizes are counted as messages arrive, piece by piece, so the cost
of one that is too large ends at the limit.
"""

from __future__ import annotations

import codecs
from typing import Any, Final

from twisted.internet.error import ConnectionClosed, ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IProtocolFactory
from twisted.python.failure import Failure
from wsproto.frame_protocol import CloseReason, Frame, FrameProtocol, Opcode, ParseFailed
from zope.interface import implementer

from myserv.endpoints.layer import Layer, LayerFactory
from myserv.endpoints.websocket.deflate import Deflate
from myserv.endpoints.websocket.framing import Assembly, MessageTooLarge, dataFrame, split
from myserv.endpoints.websocket.keepalive import KeepAlive
from myserv.endpoints.websocket.outflow import Outflow
from myserv.endpoints.websocket.request import (
    RequestReader,
    RequestRefused,
    WebSocketRequest,
    accept,
    judge,
)
from myserv.endpoints.websocket.wrapper import Frames, WebSocketOptions
from myserv.interfaces import (
    IDrainable,
    IListenerContext,
    IMessageProtocol,
    IMessageTransport,
    IWebSocketTransport,
)

CLOSE_TIMEOUT: Final = 2.0
"""Seconds that the other side has for its close frame: the peer once it was sent
ours, and a protocol that half-closes once it was told of the peer's.  The same as
L{myserv.endpoints.farewell.LINGER}."""

_DECODER: Final = codecs.getincrementaldecoder("utf-8")


class WebSocketClosed(ConnectionClosed):
    """
    One side broke a rule, and the connection was closed for it.
    """


class WebSocketFactory(LayerFactory):
    """
    Builds the WebSocket connections of one listener.

    @ivar options: The keys of the endpoint string.
    """

    def __init__(
        self, context: IListenerContext, options: WebSocketOptions, factory: IProtocolFactory
    ) -> None:
        super().__init__(context, factory)
        self.options = options

    def buildProtocol(self, addr: Any) -> WebSocketLayer:
        """
        An arrival.
        """
        return WebSocketLayer(self, addr)


@implementer(IMessageTransport, IWebSocketTransport, IDrainable)
class WebSocketLayer(Layer):
    """
    A connection that speaks WebSocket to the wire.

    @ivar webSocketRequest: What the client asked for.
    """

    name = "websocket"

    def __init__(self, factory: WebSocketFactory, address: Any) -> None:
        super().__init__(factory, address, factory.options.handshakeTimeout)
        self.webSocketRequest: WebSocketRequest | None = None
        self._options = factory.options
        # The handshake has a reader, an open connection has frames; with neither,
        # what comes is thrown away.
        self._reader: RequestReader | None = RequestReader(factory.options.maxRequest)
        self._frames: FrameProtocol | None = None
        self._outflow: Outflow | None = None
        self._keepAlive: KeepAlive | None = None
        self._compresses = False
        # Of what is written, where the stream is sent as text.
        isText = factory.options.frames is Frames.TEXT
        self._decoder = _DECODER() if isText else None
        self._assembly = Assembly(factory.options.maxMessage)
        # Reading.
        self._delivering = False
        self._paused = False
        self._interrupted = False
        self._resumption: IDelayedCall | None = None
        self._pong: bytes | None = None
        # The end.
        self._losing = False
        self._closeSent = False
        self._peerClosed = False
        self._code: int = CloseReason.NORMAL_CLOSURE
        self._closeTimer: IDelayedCall | None = None
        self._why: Failure | None = None

    # From the wire.

    def dataReceived(self, data: bytes) -> None:
        """
        Bytes came from the wire.
        """
        if self._frames is not None and not self._peerClosed:
            if self._keepAlive is not None:
                self._keepAlive.heard = True
            self._frames.receive_bytes(data)
            self._deliver()
        elif self._reader is not None:
            self._readRequest(self._reader, data)

    def _readRequest(self, reader: RequestReader, data: bytes) -> None:
        try:
            received = reader.receive_data(data)
            if received is None:
                return
            request = judge(received, self._options)
        except RequestRefused as refused:
            self._reader = None
            self.handshakeFailed(str(refused), abort=False)
            self.transport.write(refused.answer())
            self.closeTransport()
            return
        self._reader = None
        self._open(request, reader.trailing)

    def _open(self, request: WebSocketRequest, trailing: bytes) -> None:
        options = self._options
        deflate = None
        if options.compress:
            offers = [v for k, v in request.headers if k == "sec-websocket-extensions"]
            deflate = Deflate.negotiate(offers, options.maxMessage)
        self._compresses = deflate is not None
        self.webSocketRequest = request
        self._frames = FrameProtocol(False, [] if deflate is None else [deflate])
        self._outflow = Outflow(self.transport, self._drained)
        if options.ping:
            self._keepAlive = KeepAlive(
                self.context.reactor, options.ping, self._isExcused, self._ping, self._cut
            )
        self.transport.write(accept(request, None if deflate is None else deflate.response))
        self.handshakeDone()
        if trailing:
            self.dataReceived(trailing)

    def _deliver(self) -> None:
        # A layer below may deliver inside of resumeProducing, and a protocol may call
        # that inside of its dataReceived.
        if self._delivering or self._frames is None:
            return
        self._delivering = True
        try:
            if not self._paused:
                for frame in self._frames.received_frames():
                    self._frameReceived(frame)
                    if self._isHeld:
                        break
            self._interrupted = self._paused
        except ParseFailed as error:
            if error.code is CloseReason.MESSAGE_TOO_BIG:
                self._tooLarge()
            else:
                self._fail(error.code, f"the peer broke the protocol: {error}")
        finally:
            self._delivering = False

    @property
    def _isHeld(self) -> bool:
        return self._paused or self._frames is None

    def _frameReceived(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PING:
            assert isinstance(frame.payload, bytes)
            self._pinged(frame.payload)
        elif frame.opcode is Opcode.CLOSE:
            assert isinstance(frame.payload, tuple)
            self._closeReceived(frame.payload[0])
        elif frame.opcode is not Opcode.PONG and not self._losing:
            self._pieceReceived(frame)

    def _pieceReceived(self, frame: Frame) -> None:
        payload, isLast = frame.payload, frame.message_finished
        assert not isinstance(payload, tuple)
        piece = payload.encode() if isinstance(payload, str) else payload
        try:
            self._assembly.count(piece, isLast=isLast)
        except MessageTooLarge:
            self._tooLarge()
            return
        if IMessageProtocol.providedBy(self.upper):
            message = self._assembly.join(payload, piece, isLast=isLast)
            if message is not None:
                self.upper.messageReceived(message)
        elif self._decoder is not None and isinstance(payload, bytes):
            self._fail(CloseReason.UNSUPPORTED_DATA, "the peer sent what is not text")
        elif piece:
            self.upper.dataReceived(piece)

    def _tooLarge(self) -> None:
        limit = self._options.maxMessage
        self._fail(CloseReason.MESSAGE_TOO_BIG, f"a message has more than {limit}")

    # Reading stops and goes on.

    def pauseProducing(self) -> None:
        """
        Deliver nothing, and read nothing.
        """
        if not self._losing:
            self._paused = True
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """
        Deliver what was read before, then read on.
        """
        self._paused = False
        if not self._interrupted or self._frames is None:
            self.transport.resumeProducing()
        elif self._resumption is None and not self._delivering:
            # Not from inside of this call: no transport does.
            self._resumption = self.context.reactor.callLater(0, self._resume)

    def _resume(self) -> None:
        self._resumption = None
        if not self._paused:
            self._interrupted = False
            self._deliver()
        if not self._paused:
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """
        Close.
        """
        self.loseConnection()

    # To the wire.

    def write(self, data: bytes) -> None:
        """
        Send bytes, as a message of their own.

        More than C{maxMessage} is sent as several: where messages begin and end
        says nothing in a stream.
        """
        isText = self._decoder is not None
        if self._decoder is not None:
            try:
                data = self._decoder.decode(data).encode()
            except UnicodeDecodeError:
                self._fail(CloseReason.INTERNAL_ERROR, "the service wrote what is not UTF-8")
                return
        if len(data) > self._options.maxMessage:
            for piece in split(data, self._options.maxMessage, isText=isText):
                self._send(piece, isText)
        elif data:
            self._send(data, isText)

    def sendMessage(self, message: bytes | str) -> None:
        """
        Send a message.

        Raises:
            RuntimeError: What is above has no messages, but another layer, say,
                that would not see this one.
        """
        if self.upper is not None and not IMessageProtocol.providedBy(self.upper):
            raise RuntimeError("only an IMessageProtocol can send messages")
        if isinstance(message, str):
            self._send(message.encode(), True)
        else:
            self._send(message, False)

    def _send(self, data: bytes, isText: bool) -> None:
        if self._closeSent or self._frames is None:
            return
        if self._compresses:
            self.transport.write(bytes(self._frames.send_data(data.decode() if isText else data)))
        else:
            self.transport.write(dataFrame(data, isText=isText))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Have a producer paused while the transport is full, or asked for each piece.
        """
        if self._outflow is None:
            producer.stopProducing()
        else:
            self._outflow.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """
        The producer has finished; a connection that waited for it closes.
        """
        if self._outflow is not None:
            self._outflow.unregisterProducer()
            if self._losing:
                self._sayClose()

    # Pings.

    def _pinged(self, payload: bytes) -> None:
        # A peer that asks and does not read is answered once (section 5.5.3).
        assert self._outflow is not None
        if self._outflow.full:
            self._pong = payload
        elif not self._closeSent:
            self._sendPong(payload)

    def _sendPong(self, payload: bytes) -> None:
        assert self._frames is not None
        self.transport.write(bytes(self._frames.pong(payload)))

    def _drained(self) -> None:
        pong, self._pong = self._pong, None
        if pong is not None and not self._closeSent:
            self._sendPong(pong)

    def _isExcused(self) -> bool:
        # It is not listened to, or has not got what was sent before the ping.
        assert self._outflow is not None
        return self._paused or self._outflow.full

    def _ping(self) -> None:
        assert self._frames is not None
        self.transport.write(bytes(self._frames.ping()))

    def _cut(self) -> None:
        self._because("the peer did not answer a ping")
        self.abortConnection()

    # The end.

    def drainRequested(self, deadline: float) -> None:
        """
        The server goes away, and the peer is told so when the connection closes.
        """
        self._code = CloseReason.GOING_AWAY

    def loseConnection(self) -> None:
        """
        Send what was written and then a close frame, and wait a little for the
        peer's.
        """
        if self._losing:
            return
        self._losing = True
        if self._frames is None:
            self._reader = None
            self.closeTransport()
        elif self._peerClosed or self.peerEnded or not self._isProducing:
            self._sayClose()

    @property
    def _isProducing(self) -> bool:
        return self._outflow is not None and self._outflow.producing

    def _sayClose(self) -> None:
        if self._closeSent or self._frames is None:
            return
        if self._decoder is not None and not self._peerClosed and self._decoder.getstate()[0]:
            self._fail(CloseReason.INTERNAL_ERROR, "the service wrote half a character")
            return
        self._writeClose(self._code, None)
        if self._peerClosed or self.peerEnded:
            self._end()
            return
        self._startCloseTimer(self._end)
        # The peer's close frame is waited for, and nothing else it says matters.
        self._losing = True
        self.resumeProducing()

    def _writeClose(self, code: int, reason: str | None) -> None:
        assert self._frames is not None
        self._closeSent = True
        self._stopKeepAlive()
        self.transport.write(bytes(self._frames.close(code, reason)))

    def _closeReceived(self, code: int) -> None:
        self._peerClosed = True
        self._stopKeepAlive()
        if self._closeSent:
            self._end()
            return
        self._code = code
        if self._losing:
            self._sayClose()
            return
        self._startCloseTimer(self._sayClose)
        self.endOfInput()

    def readConnectionLost(self) -> None:
        """
        The peer will send no more; without a close frame, which some leave out.
        """
        self._stopKeepAlive()
        if self._frames is not None and self._losing:
            self.peerEnded = True
            self._sayClose()
            self._end()
        elif self._frames is not None and self._peerClosed:
            # The protocol was told when the close frame came.
            self.peerEnded = True
        elif self._frames is None and self.upper is not None and self._farewell is None:
            self.transport.loseConnection()
        else:
            super().readConnectionLost()

    def _fail(self, code: CloseReason, reason: str) -> None:
        if self._frames is None:
            return
        self._because(reason)
        if not self._closeSent:
            self._writeClose(code, reason)
        self._losing = True
        self._end()

    def _because(self, reason: str) -> None:
        self._why = Failure(WebSocketClosed(reason))

    def _end(self) -> None:
        if self._frames is None:
            return
        self._cancelTimers()
        self._frames = None
        assert self._outflow is not None
        self._outflow.end()
        if self._paused and not self.peerEnded:
            self.transport.resumeProducing()
        self._paused = False
        self.closeTransport()

    def _startCloseTimer(self, ended: Any) -> None:
        def due() -> None:
            self._closeTimer = None
            ended()

        self._closeTimer = self.context.reactor.callLater(CLOSE_TIMEOUT, due)

    def _stopKeepAlive(self) -> None:
        if self._keepAlive is not None:
            self._keepAlive.stop()
            self._keepAlive = None

    def _cancelTimers(self) -> None:
        self._stopKeepAlive()
        for timer in (self._closeTimer, self._resumption):
            if timer is not None:
                timer.cancel()
        self._closeTimer = self._resumption = None

    def abortConnection(self) -> None:
        """
        Close at once; nothing that was received before is delivered any more.
        """
        self._isOver()
        super().abortConnection()

    def _isOver(self) -> None:
        self._cancelTimers()
        self._frames = self._reader = None
        self._losing = self._closeSent = True

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        """
        The transport is gone: so is everything above.
        """
        self._isOver()
        outflow, self._outflow = self._outflow, None
        if outflow is not None:
            outflow.lost()
        super().connectionLost(self._why or reason)
