"""
Twisted as it comes: an unmodified Protocol on the epoll reactor; over TLS with a second
argument, the file of a certificate and its key.
"""

import sys
from pathlib import Path
from typing import Any, cast

from twisted.internet import epollreactor

epollreactor.install()

from twisted.internet import reactor, ssl  # noqa: E402 - the reactor comes first
from twisted.internet.interfaces import ITransport, IUDPTransport  # noqa: E402
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol  # noqa: E402


class Echo(Protocol):
    transport: ITransport

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class DatagramEcho(DatagramProtocol):
    transport: IUDPTransport

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        self.transport.write(datagram, addr)


def main() -> None:
    port = int(sys.argv[1])
    # Which reactor it is shows at run time only.
    epoll = cast(Any, reactor)
    factory = Factory.forProtocol(Echo)
    if sys.argv[2:]:
        pem = Path(sys.argv[2]).read_bytes()
        options = ssl.PrivateCertificate.loadPEM(pem).options()
        epoll.listenSSL(port, factory, options, interface="127.0.0.1")
    else:
        epoll.listenTCP(port, factory, interface="127.0.0.1")
    epoll.listenUDP(port, DatagramEcho(), interface="127.0.0.1")
    epoll.run()


if __name__ == "__main__":
    main()
