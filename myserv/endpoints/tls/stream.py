"""
TLS on one connection: bytes in, plain bytes out, and the other way round.

OpenSSL works on memory here; what it wants on the wire is written to the transport
at once, or, while the protocol is given something, when that is over and in one piece.
Most segments end where a record does, and for those nothing is asked of OpenSSL in vain.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHandshakeListener, INegotiated, ISSLTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from myserv.endpoints.failure import describeOpenSSLError
from myserv.endpoints.layer import Layer, LayerFactory
from myserv.endpoints.tls.policy import GROUPS
from myserv.endpoints.tls.records import HEADER, MAXIMUM_PLAIN, RecordBoundaries
from myserv.endpoints.tls.sealing import PIECE, sealOf
from myserv.endpoints.tls.store import Certificates, CertificateStore
from myserv.interfaces import IReloadable

# Bytes that are kept in OpenSSL's memory while the protocol is given something: that
# does not shrink, and for more the system calls are not what it costs.
_MOST_HELD: Final = 4 * 1024

# Of what is written while OpenSSL can write nothing: for longer than that, no peer
# that means well stops in the midst of five bytes.
_MOST_STALLED: Final = 64 * 1024

# Fatal alerts (RFC 8446, section 6) as TLS 1.2 and 1.3 write them before there
# are keys.
_ALERT: Final = b"\x15\x03\x03\x00\x02\x02"
_HANDSHAKE_FAILURE: Final = _ALERT + b"\x28"
_UNRECOGNIZED_NAME: Final = _ALERT + b"\x70"


@implementer(IReloadable)
class TLSFactory(LayerFactory):
    """
    Builds the TLS of each connection.
    """

    def __init__(self, context: Any, factory: Any, store: CertificateStore, timeout: float) -> None:
        """
        Args:
            context: The listener.
            factory: The factory nearer the protocol.
            store: The certificates.
            timeout: Seconds that a handshake may take.
        """
        super().__init__(context, factory)
        self._store = store
        self._timeout = timeout

    def startFactory(self) -> None:
        """
        The endpoint opens: from now on the certificates are watched.
        """
        super().startFactory()
        self._store.start()

    def stopFactory(self) -> None:
        """
        The endpoint closes.
        """
        self._store.stop()
        super().stopFactory()

    def reload(self) -> None:
        """
        Read the certificates again.
        """
        self._store.reload()

    def buildProtocol(self, addr: Any) -> TLSLayer:
        """
        Build the TLS of one connection.
        """
        return TLSLayer(self, addr, self._timeout, self._store.current)


@implementer(ISSLTransport, INegotiated)
class TLSLayer(Layer):
    """
    One connection's TLS.
    """

    name = "tls"

    TLS = True
    """As Twisted's transports say it."""

    def __init__(
        self, factory: TLSFactory, address: Any, timeout: float, certificates: Certificates
    ) -> None:
        """
        Args:
            factory: What built it.
            address: Whom the transport says it is connected to.
            timeout: Seconds that the handshake may take.
            certificates: What to show.
        """
        super().__init__(factory, address, timeout)
        # Kept until the handshake is over: a renewal in the midst of it must not
        # take away the callbacks that OpenSSL may still call.
        self._certificates: Certificates | None = certificates
        self._ssl = SSL.Connection(certificates.default, None)
        self._ssl.set_accept_state()
        self._seal = sealOf(self._ssl)
        self._records = RecordBoundaries()
        self._producer: Any = None
        # What still comes in is thrown away.
        self._deaf = False
        # Nothing more goes out.
        self._saidGoodbye = False
        self._wantsToClose = False
        self._wantsToEndOutput = False
        # Why the connection ends, where the transport knows less.
        self._reason: Failure | None = None
        # What waits until the peer has ended a message about keys: while OpenSSL has half
        # of it, it writes nothing.
        self._stalled = b""

    # From the wire.

    def dataReceived(self, data: bytes) -> None:
        """
        Decrypt what came and hand it on; first of all, shake hands.
        """
        if self._deaf:
            return
        seal = self._seal
        seal.feed(data)
        size = len(data)
        records = self._records
        if (
            records.between
            and size > HEADER
            and size == HEADER + (data[3] << 8 | data[4])
            and self.upper is not None
        ):
            # One record, whole, in a segment of its own.
            count = 1
        else:
            count = records.follow(data)
            if self.upper is None:
                self._shakeHands()
                return
        # What the protocol answers goes out in one piece.
        seal.held = 0
        try:
            if records.between:
                # Of each record all is read at once, and nothing follows.
                while count and self._open():
                    count -= 1
            else:
                self._openAll()
        finally:
            if seal.held is not None:
                seal.held = None
                waiting = seal.waiting()
                if waiting:
                    self.transport.write(waiting)
                    if len(waiting) == PIECE:
                        self._flush()

    def _openAll(self) -> None:
        while not self._deaf and self._open():
            pass

    def _open(self) -> bool:
        try:
            plain = self._seal.open()
        except SSL.WantReadError:
            # It may have answered by itself, to a new key for example.
            self._flush()
            if self._stalled:
                data, self._stalled = self._stalled, b""
                self.write(data)
            return False
        except SSL.ZeroReturnError:
            self._deaf = True
            self._flush()
            if not self._wantsToClose:
                self.endOfInput()
            return False
        except SSL.Error as error:
            self._broken(error)
            return False
        if not self._wantsToClose:
            self.upper.dataReceived(plain)
        return not self._deaf

    def _broken(self, error: SSL.Error) -> None:
        # What OpenSSL has to say about it goes out first: an alert.
        self._flush()
        reason = describeOpenSSLError(error)
        if " alert " not in reason:
            # The peer's own alert is its right.
            self.context.penalize(self.getPeer(), f"broke TLS: {reason}")
        self._reason = Failure(ConnectionLost(f"TLS broke: {reason}"))
        self._deaf = self._saidGoodbye = True
        producer, self._producer = self._producer, None
        if producer is not None:
            self.transport.unregisterProducer()
            producer.stopProducing()
        # Not cut: the alert has to arrive.
        self.closeTransport()

    def _shakeHands(self) -> None:
        done = True
        try:
            self._ssl.do_handshake()
        except SSL.WantReadError:
            done = False
        except SSL.Error as error:
            self._handshakeBroke(error)
            return
        # What OpenSSL has to say to this is not on the wire yet.
        group = self._ssl.get_group_name()
        if group is not None and group.lower() not in GROUPS:
            self.transport.write(_HANDSHAKE_FAILURE)
            self._refuse(f"the key exchange {group} is not accepted")
            return
        if done and self._certificates is not None and self._certificates.refused(self._ssl):
            # A resumed session needs no certificate, and so none was missing.
            self._refuse("it asked for a name that is not here")
            return
        self._flush()
        if done:
            self._handshakeCompleted()

    def _handshakeBroke(self, error: SSL.Error) -> None:
        assert self._certificates is not None
        if self._certificates.refused(self._ssl):
            # Says more than the alert that OpenSSL has ready.
            self.transport.write(_UNRECOGNIZED_NAME)
            self._refuse("it asked for a name that is not here")
            return
        self._flush()
        self._refuse(describeOpenSSLError(error))

    def _handshakeCompleted(self) -> None:
        self._certificates = None
        self.handshakeDone()
        if IHandshakeListener.providedBy(self.upper):
            self.upper.handshakeCompleted()
        # The first request may have come with the end of the handshake.
        self._openAll()

    def _refuse(self, reason: str) -> None:
        self._deaf = True
        self.handshakeFailed(reason, abort=False)
        # Not cut: the alert has to arrive.
        self.closeTransport()

    def readConnectionLost(self) -> None:
        """
        The transport's input has ended.
        """
        if self.upper is None or self._deaf:
            super().readConnectionLost()
            return
        # Who cuts a connection can do that, a goodbye cannot be forged: what is
        # above does not hear of an orderly end, though what it wrote goes out.
        self.peerEnded = True
        self._reason = _truncated()
        # Nobody is left to wait for: what a producer would still write, nobody reads.
        self._wantsToClose = True
        producer, self._producer = self._producer, None
        if producer is not None:
            self.transport.unregisterProducer()
        self._close()
        if producer is not None:
            producer.stopProducing()

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        """
        The transport is gone.
        """
        if self._reason is None and not self._deaf and reason.check(ConnectionDone):
            self._reason = _truncated()
        self._deaf = self._saidGoodbye = True
        self._certificates = self._producer = None
        super().connectionLost(self._reason or reason)

    # To the wire.

    def write(self, data: bytes) -> None:
        """
        Encrypt and send.
        """
        if self._saidGoodbye or not data:
            return
        if self._stalled:
            data, self._stalled = self._stalled + data, b""
        size = len(data)
        if size > MAXIMUM_PLAIN:
            self._writeLong(data)
            return
        seal = self._seal
        try:
            seal.seal(data)
        except SSL.WantReadError:
            self._stall(data)
            return
        except SSL.Error as error:
            self._broken(error)
            return
        held = seal.held
        if held is not None:
            held += size
            if held <= _MOST_HELD:
                seal.held = held
                return
            seal.held = 0
        self._flush()

    def _writeLong(self, data: bytes) -> None:
        seal = self._seal
        pieces = []
        # What was held goes first, and in pieces of its own.
        self._flush()
        try:
            for start in range(0, len(data), MAXIMUM_PLAIN):
                seal.seal(data[start : start + MAXIMUM_PLAIN])
                pieces.append(seal.waiting())
        except SSL.WantReadError:
            # The first piece: nothing is read in here.
            self._stall(data)
            return
        except SSL.Error as error:
            self._broken(error)
            return
        self.transport.writeSequence(pieces)
        self._flush()

    def _stall(self, data: bytes) -> None:
        if len(data) > _MOST_STALLED:
            reason = "the peer stopped half-way through a message about keys"
            self._broken(SSL.Error([("SSL routines", "", reason)]))
        else:
            self._stalled = data

    def _flush(self) -> None:
        while waiting := self._seal.waiting():
            self.transport.write(waiting)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Let the transport pause whoever writes here.
        """
        if self._saidGoodbye:
            producer.stopProducing()
            return
        # Noted before: one that is asked for all it has may finish at once.
        if self._producer is None:
            self._producer = producer
        # One that is asked for each piece is asked when the last has been written.
        self._seal.held = None
        self._flush()
        self.transport.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """
        Nobody writes here by themselves any more.
        """
        self._producer = None
        super().unregisterProducer()
        if self._wantsToClose:
            self._close()
        elif self._wantsToEndOutput:
            self._endOutput()

    def loseConnection(self) -> None:
        """
        Close when what was written, and what a producer still writes, is sent.
        """
        self._wantsToClose = True
        if self._producer is None:
            self._close()

    def _close(self) -> None:
        self._sayGoodbye()
        self._deaf = True
        self.closeTransport()

    def _sayGoodbye(self) -> None:
        if not self._saidGoodbye:
            self._saidGoodbye = True
            # Not while the peer is half-way through a message about keys.
            with contextlib.suppress(SSL.Error):
                self._ssl.shutdown()
            self._flush()

    def loseWriteConnection(self) -> None:
        """
        Say that no more comes, and go on listening.

        In TLS 1.2 a peer answers that by leaving; in 1.3 it may go on (RFC 8446,
        section 6.1).
        """
        self._wantsToEndOutput = True
        if self._producer is None:
            self._endOutput()

    def _endOutput(self) -> None:
        if not self._saidGoodbye:
            self._sayGoodbye()
            self.transport.loseWriteConnection()

    def abortConnection(self) -> None:
        """
        Close at once.
        """
        self._deaf = self._saidGoodbye = True
        self._seal.held = None
        super().abortConnection()

    # What a protocol may want to know.

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """
        What ALPN agreed on; C{None} when it did not.
        """
        return self._ssl.get_alpn_proto_negotiated() or None

    def getPeerCertificate(self) -> Any:
        """
        The client's certificate, C{None} if it showed none.
        """
        return self._ssl.get_peer_certificate()

    def getHandle(self) -> SSL.Connection:
        """
        OpenSSL's own view of it.
        """
        return self._ssl


def _truncated() -> Failure:
    return Failure(ConnectionLost("the peer left without a TLS goodbye"))
