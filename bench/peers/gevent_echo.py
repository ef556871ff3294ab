"""
gevent's servers, a greenlet for each connection; over TLS with a second argument, the file of a
certificate and its key.
"""

import sys
from typing import Any

import gevent  # type: ignore[import-untyped]
from gevent.server import DatagramServer, StreamServer  # type: ignore[import-untyped]


def echo(connection: Any, peer: object) -> None:
    with connection:
        try:
            while data := connection.recv(65536):
                connection.sendall(data)
        except OSError:
            return


class DatagramEcho(DatagramServer):
    def handle(self, data: bytes, address: tuple[str, int]) -> None:
        self.socket.sendto(data, address)


def main() -> None:
    at = ("127.0.0.1", int(sys.argv[1]))
    if sys.argv[2:]:
        StreamServer(at, echo, backlog=4096, certfile=sys.argv[2], keyfile=sys.argv[2]).start()
    else:
        StreamServer(at, echo, backlog=4096).start()
    DatagramEcho(at).start()
    gevent.wait()


if __name__ == "__main__":
    main()
