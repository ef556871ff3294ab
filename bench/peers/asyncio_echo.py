"""
asyncio's protocols, on its own event loop (asyncio PORT) or on uvloop's (uvloop PORT); over TLS
with a third argument, the file of a certificate and its key.
"""

import asyncio
import ssl
import sys
from typing import cast


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of it.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class DatagramEcho(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data, addr)


async def serve(port: int, pem: str | None) -> None:
    loop = asyncio.get_running_loop()
    tls = None
    if pem:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(pem)
    server = await loop.create_server(Echo, "127.0.0.1", port, ssl=tls)
    await loop.create_datagram_endpoint(DatagramEcho, local_addr=("127.0.0.1", port))
    await server.serve_forever()


def main() -> None:
    loop, port = sys.argv[1], int(sys.argv[2])
    pem = sys.argv[3] if sys.argv[3:] else None
    if loop == "uvloop":
        import uvloop

        uvloop.run(serve(port, pem))
    else:
        asyncio.run(serve(port, pem))


if __name__ == "__main__":
    main()
