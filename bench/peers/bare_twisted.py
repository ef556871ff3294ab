"""
Twisted as it comes: an unmodified Protocol on the epoll reactor.
"""

import sys
from typing import Any, cast

from twisted.internet import epollreactor

epollreactor.install()

from twisted.internet import reactor  # noqa: E402 - the reactor comes first
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
    epoll.listenTCP(port, Factory.forProtocol(Echo), interface="127.0.0.1")
    epoll.listenUDP(port, DatagramEcho(), interface="127.0.0.1")
    epoll.run()


if __name__ == "__main__":
    main()
