"""
Transports of accepted connections that do not wait to be asked to write.

Twisted queues what a protocol writes, asks the reactor when the socket takes it,
and sends it then: two system calls and a turn of the reactor more than needed,
for the socket nearly always takes it at once.  These try first:

- What a protocol writes while it is told something (that it is connected, that
  bytes came) goes out when it returns, all in one piece, as it would have.
- What it writes at other times goes out at once.
- What the kernel does not take, and all that needs more than sending (a producer
  that waits, closing either half), is left to the queue and to Twisted's code.

Nothing but bytes leaves here: an error is kept until the reactor's next turn, and
C{connectionLost} comes from the reactor, never from inside C{write}.

This is the one module that knows what Twisted's transports keep to themselves:
L{PRIVATE}.
"""

from __future__ import annotations

from errno import ENOBUFS
from typing import Any, Final

from twisted.internet import tcp as twistedTCP
from twisted.internet import unix as twistedUNIX
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import UNIXAddress
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST

PRIVATE: Final = (
    "_aborting",
    "_addressType",
    "_getLogPrefix",
    "_sendmsgQueue",
    "_tempDataBuffer",
    "_tempDataLen",
    "_writeDisconnected",
    "_writeDisconnecting",
)
"""The attributes of Twisted's that are used here and are not public."""


class TCPTransport(twistedTCP.Server):
    """
    One accepted TCP connection.
    """

    # While held, what is written is kept together; asked says that something was.
    _held = False
    _asked = False
    # The kernel has told of the connection's end, and does not do so twice.
    _broken = False

    def __init__(
        self, sock: Any, protocol: Any, address: Any, peer: Any, port: Any, number: int
    ) -> None:
        """
        Args:
            sock: The socket.
            protocol: Receives the bytes.
            address: The peer, as C{accept} told it.
            peer: The same for the protocol.
            port: What accepted it.
            number: Counts the port's connections, from 0.
        """
        # What Twisted's three constructors do, less what is done for a
        # connection that nobody looks at: its representation, its peer again.
        FileDescriptor.__init__(self, port.reactor)
        sock.setblocking(False)
        self.socket = sock
        self.fileno = sock.fileno
        self.protocol = protocol
        self.server = port
        self.sessionno = number
        self._peer = peer
        self._setClient(address)
        self.logstr = f"{self._getLogPrefix(protocol)},{number},{self.hostname}"
        self.connected = 1
        self.startReading()

    def _setClient(self, address: Any) -> None:
        self.client = address
        self.hostname = address[0]
        self._addressType = type(self._peer)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} #{self.sessionno} from {self.hostname}>"

    def getPeer(self) -> Any:
        """
        Who is at the other end.
        """
        return self._peer

    def getWriteBufferSize(self) -> int:
        """
        Tell how many bytes were written that the kernel has not taken yet.
        """
        return len(self.dataBuffer) - self.offset + self._tempDataLen

    def start(self) -> None:
        """
        Introduce the protocol to its transport.
        """
        self._held = True
        try:
            self.protocol.makeConnection(self)
        finally:
            self._release()

    # What comes from the reactor.

    def doRead(self) -> Any:
        """
        Read once, and send what the protocol answers.
        """
        self._held = True
        try:
            why = super().doRead()
        finally:
            self._release()
        # Once it has told of a reset, all that the kernel tells is "the end".
        return CONNECTION_LOST if why is CONNECTION_DONE and self._broken else why

    def doWrite(self) -> Any:
        """
        Send from the queue.
        """
        if self._broken:
            return CONNECTION_LOST
        self._held = True
        try:
            return super().doWrite()
        finally:
            # A producer was asked for more: one piece a turn is enough.
            self._held = False
            if self._asked:
                self._asked = False
                self._leaveToReactor()

    def _release(self) -> None:
        self._held = False
        if self._asked:
            self._asked = False
            self._send()

    # What comes from the protocol.

    def write(self, data: bytes) -> None:
        """
        Send bytes, see the module's head.
        """
        if (
            self._held
            and type(data) is bytes
            and (
                self.producer is None
                or len(self.dataBuffer) + self._tempDataLen + len(data) <= self.bufferSize
            )
            and self.connected
            and not self.TLS
            and not self._writeDisconnected
        ):
            # What the inherited method does where nobody has to be paused.
            if data:
                self._tempDataBuffer.append(data)
                self._tempDataLen += len(data)
                self.startWriting()
        else:
            super().write(data)

    def startWriting(self) -> None:
        """
        Something is to be written, or to be closed when all is written.
        """
        if self._held and self._tempDataLen <= self.bufferSize:
            self._asked = True
        else:
            self._send()

    def stopWriting(self) -> None:
        """
        There is nothing to be written.
        """
        self._asked = False
        super().stopWriting()

    def _send(self) -> None:
        pieces = self._tempDataBuffer
        producer = self.producer
        if (
            pieces
            and not self.dataBuffer
            and (producer is None or (self.streamingProducer and not self.producerPaused))
            and self.connected
            and not self.disconnecting
            and not self._writeDisconnecting
            and not self._aborting
        ):
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            size = len(data)
            try:
                # A limit for the sake of the others, as there is in the queue.
                limit = self.SEND_LIMIT
                sent = self.socket.send(data if size <= limit else memoryview(data)[:limit])
            except BlockingIOError:
                sent = 0
            except OSError as error:
                sent = 0
                self._broken = error.errno != ENOBUFS
            self._tempDataBuffer = []
            self._tempDataLen = 0
            if sent == size:
                self._asked = False
                return
            self.dataBuffer = data
            self.offset = sent
        self._leaveToReactor()

    def _leaveToReactor(self) -> None:
        if self.connected:
            super().startWriting()


class UNIXTransport(TCPTransport, twistedUNIX.Server):
    """
    One accepted connection over a UNIX socket.
    """

    def __init__(
        self, sock: Any, protocol: Any, address: Any, peer: Any, port: Any, number: int
    ) -> None:
        """
        See L{TCPTransport}.
        """
        # Descriptors that wait to be sent along.
        self._sendmsgQueue: list[int] = []
        super().__init__(sock, protocol, address, peer, port, number)

    def _setClient(self, address: Any) -> None:
        self.client = (address, None)
        self.hostname = address

    def getHost(self) -> UNIXAddress:
        """
        The address at our end.
        """
        return UNIXAddress(self.socket.getsockname())

    def _send(self) -> None:
        if self._sendmsgQueue:
            # They go with bytes of their own, and in their place among the others.
            self._leaveToReactor()
        else:
            super()._send()
