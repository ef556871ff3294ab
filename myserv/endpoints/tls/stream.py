"""
TLS on one connection: bytes in, plain bytes out, and the other way round.

OpenSSL works on memory here; what it wants on the wire is written to the transport
at once.  Most segments hold exactly one record, and for those nothing is asked
of OpenSSL twice.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import INegotiated, ISSLTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from myserv.endpoints.failure import describeOpenSSLError
from myserv.endpoints.layer import Layer, LayerFactory
from myserv.endpoints.tls.policy import GROUPS
from myserv.endpoints.tls.store import CertificateStore
from myserv.interfaces import IReloadable

_READ: Final = 64 * 1024
_HEADER: Final = 5
_OVERHEAD: Final = 256
_RECORD: Final = 16384

# The record of a fatal alert, handshake_failure, as TLS 1.2 and 1.3 write it
# before there are keys (RFC 8446, section 6.2).
_REFUSAL: Final = b"\x15\x03\x03\x00\x02\x02\x28"


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
        ssl = SSL.Connection(self._store.current.default, None)
        ssl.set_accept_state()
        return TLSLayer(self, addr, self._timeout, ssl)


@implementer(ISSLTransport, INegotiated)
class TLSLayer(Layer):
    """
    One connection's TLS.
    """

    name = "tls"

    def __init__(
        self, factory: TLSFactory, address: Any, timeout: float, ssl: SSL.Connection
    ) -> None:
        super().__init__(factory, address, timeout)
        self._ssl = ssl
        self._answered = False
        # Of the record under way: bytes that are still to come, or, where not
        # even its header is complete, what there is of that.
        self._outstanding = 0
        self._header = b""
        self._saidGoodbye = False
        self._wantsToClose = False
        self._producing = False
        self._truncated = False

    # From the wire.

    def dataReceived(self, data: bytes) -> None:
        """
        Decrypt what came and hand it on; first of all, shake hands.
        """
        if self._saidGoodbye:
            return
        self._ssl.bio_write(data)
        # One record, whole, in a segment of its own: one read has it all.
        whole = (
            self._outstanding == 0
            and not self._header
            and len(data) > _HEADER
            and len(data) == _HEADER + (data[3] << 8 | data[4])
        )
        if not whole:
            self._track(data)
        if self.upper is None:
            self._shakeHands()
        else:
            self._decrypt(once=whole)

    def _track(self, data: bytes) -> None:
        # Follow the lengths in the records' headers, to know where the next begins.
        if self._header:
            data = self._header + data
        position = self._outstanding
        while position + _HEADER <= len(data):
            position += _HEADER + (data[position + 3] << 8 | data[position + 4])
        self._header = data[position:]
        self._outstanding = max(0, position - len(data))

    def _decrypt(self, *, once: bool) -> None:
        ssl = self._ssl
        while self.upper is not None and not self._saidGoodbye:
            try:
                plain = ssl.recv(_READ)
            except SSL.WantReadError:
                break
            except SSL.ZeroReturnError:
                self._flush()
                self.endOfInput()
                return
            except SSL.Error as error:
                self._broken(error)
                return
            self.upper.dataReceived(plain)
            if once:
                return
        self._flush()

    def _broken(self, error: SSL.Error) -> None:
        # What OpenSSL has to say about it goes out first: an alert.
        self._flush()
        self.context.penalize(self.getPeer(), f"broke TLS: {describeOpenSSLError(error)}")
        self.abortConnection()

    def _shakeHands(self) -> None:
        try:
            self._ssl.do_handshake()
        except SSL.WantReadError:
            if self._groupIsAccepted():
                self._flush()
            return
        except SSL.Error as error:
            self._flush()
            self._fail(describeOpenSSLError(error))
            return
        if not self._groupIsAccepted():
            return
        self._flush()
        self.handshakeDone()
        # The first request may have come with the end of the handshake.
        self._decrypt(once=False)

    def _groupIsAccepted(self) -> bool:
        # The key exchange is agreed on by now, and nobody has been told yet.
        if self._answered:
            return True
        group = self._ssl.get_group_name()
        if group is None:
            return True
        self._answered = True
        if group.lower() in GROUPS:
            return True
        self.transport.write(_REFUSAL)
        self._fail(f"the key exchange {group} is not accepted")
        return False

    def _fail(self, reason: str) -> None:
        self.handshakeFailed(reason, abort=False)
        # Not cut: the alert has to arrive.
        self.closeTransport()

    def readConnectionLost(self) -> None:
        """
        The peer will send no more.
        """
        if self.upper is not None and not self._ssl.get_shutdown() & SSL.RECEIVED_SHUTDOWN:
            self._truncated = True
        super().readConnectionLost()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """
        The transport is gone.
        """
        if self._truncated:
            reason = Failure(ConnectionLost("the peer left without a TLS goodbye"))
        super().connectionLost(reason)

    # To the wire.

    def write(self, data: bytes) -> None:
        """
        Encrypt and send.
        """
        if self._saidGoodbye or not data:
            return
        try:
            if len(data) <= _RECORD:
                self._ssl.send(data)
            else:
                self._sendRecords(data)
        except SSL.Error as error:
            self._broken(error)
            return
        self.transport.write(self._ssl.bio_read(len(data) + _OVERHEAD))
        if len(data) > _RECORD:
            self._flush()

    def _sendRecords(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._ssl.send(view) :]

    def _flush(self) -> None:
        while True:
            try:
                waiting = self._ssl.bio_read(_READ)
            except SSL.WantReadError:
                return
            self.transport.write(waiting)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Let the transport pause whoever writes here.
        """
        self.transport.registerProducer(producer, streaming)
        self._producing = True

    def unregisterProducer(self) -> None:
        """
        Nobody writes here by themselves any more.
        """
        self._producing = False
        self.transport.unregisterProducer()
        if self._wantsToClose:
            self._sayGoodbye()

    def loseConnection(self) -> None:
        """
        Close when what was written, and what a producer still writes, is sent.
        """
        self._wantsToClose = True
        if not self._producing:
            self._sayGoodbye()

    def _sayGoodbye(self) -> None:
        if self._saidGoodbye:
            return
        # A connection that broke cannot say it.
        with contextlib.suppress(SSL.Error):
            self._ssl.shutdown()
        self._flush()
        self._saidGoodbye = True
        self.closeTransport()

    def loseWriteConnection(self) -> None:
        """
        TLS 1.2 has no half-close that peers understand: close it all.
        """
        self.loseConnection()

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
