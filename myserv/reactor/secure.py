"""
C{startTLS}: Twisted's TLS between a connection and its protocol, from some point on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import ISSLTransport
from zope.interface import directlyProvides

if TYPE_CHECKING:
    from myserv.reactor.stream import Stream


class _Beneath:
    """
    The connection as TLS itself sees it, without TLS.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._class = type(stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, data: bytes) -> None:
        self._class.write(self._stream, data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        self._class.writeSequence(self._stream, iovec)

    def loseConnection(self) -> None:
        self._class.loseConnection(self._stream)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._class.registerProducer(self._stream, producer, streaming)

    def unregisterProducer(self) -> None:
        self._class.unregisterProducer(self._stream)


def startTLS(stream: Stream, contextFactory: Any, *, client: bool) -> None:
    """
    Put TLS between a connection and its protocol.

    Args:
        stream: The connection.
        contextFactory: See C{ITLSTransport.startTLS}.
        client: Say the first hello.
    """
    # pyOpenSSL is slow to import, and few need it here.
    from twisted.protocols.tls import TLSMemoryBIOFactory

    producer, streaming = stream.producer, stream.streamingProducer
    if producer is not None:
        stream.unregisterProducer()
    nobody: Any = None  # builds protocols: there is one
    factory = TLSMemoryBIOFactory(contextFactory, client, nobody)
    tls = factory.protocol(factory, stream.protocol, False)
    stream.protocol = tls

    def write(data: bytes) -> None:
        if stream.connected:
            tls.write(data)

    def writeSequence(iovec: Iterable[bytes]) -> None:
        if stream.connected:
            tls.writeSequence(iovec)

    def loseConnection() -> None:
        if stream.connected and not stream.disconnecting:
            tls.loseConnection()

    # Of this one connection: no other pays for asking whether there is TLS.
    vars(stream).update(
        TLS=True,
        write=write,
        writeSequence=writeSequence,
        loseConnection=loseConnection,
        registerProducer=tls.registerProducer,
        unregisterProducer=tls.unregisterProducer,
        getHandle=tls.getHandle,
        getPeerCertificate=tls.getPeerCertificate,
    )
    directlyProvides(stream, ISSLTransport)
    tls.makeConnection(_Beneath(stream))
    if producer is not None:
        stream.registerProducer(producer, streaming)
