"""
What the rest of myserv is tried with on the native reactor; as
L{tests.wire.reactor_scenarios}: C{python -m tests.wire.native_scenarios NAME}.
"""

from __future__ import annotations

import os
import socket
import ssl
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IFileDescriptorReceiver, IHandshakeListener, ISSLTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import KeyPair
from twisted.internet.threads import deferToThread
from zope.interface import implementer

from myserv.endpoints.parse import parseEndpoint
from myserv.limits import DEFAULT_LIMITS, Limits
from myserv.reactor.stream import Stream
from myserv.server.stream import StreamListener
from tests.wire.processes import freePort
from tests.wire.reactor_scenarios import LOCAL, Builder, main, read, until


@implementer(IFileDescriptorReceiver)
class Receiver(Protocol):
    """Writes to the descriptors that it is sent."""

    def fileDescriptorReceived(self, descriptor: int) -> None:
        with socket.socket(fileno=descriptor) as sock:
            sock.sendall(b"received")


@implementer(IHandshakeListener)
class Secured(Protocol):
    """Begins TLS when it is asked to."""

    transport: Any
    completed = 0

    def handshakeCompleted(self) -> None:
        Secured.completed += ISSLTransport.providedBy(self.transport)

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(b"go ahead\n")
        self.transport.startTLS(KeyPair.generate().selfSignedCert(1, CN="localhost").options())
        self.transport.write(b"a secret")


class Greeter(Protocol):
    """Says hello."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"hello")


async def opensEndpoints(reactor: Any) -> None:
    """What C{unix:} and C{fd:} accept is native, and their files are removed by whom they are."""
    directory = Path(tempfile.mkdtemp())
    theirs = [
        socket.create_server((LOCAL, 0)),
        socket.create_server(("::1", 0), family=socket.AF_INET6),
        socket.socket(socket.AF_UNIX),
    ]
    theirs[2].bind(str(directory / "theirs"))
    theirs[2].listen()
    factory = Builder()
    endpoints = [f"unix:{directory / 'ours'}:mode=600", *(f"fd:{each.fileno()}" for each in theirs)]
    ports = [await parseEndpoint(each).openStream(reactor).listen(factory) for each in endpoints]
    assert (directory / "ours").stat().st_mode & 0o777 == 0o600
    clients = []
    for sock in theirs:
        clients.append(socket.socket(sock.family))
        clients[-1].connect(sock.getsockname())
    clients.append(socket.socket(socket.AF_UNIX))
    clients[-1].connect(str(directory / "ours"))
    await until(reactor, lambda: [each.made for each in factory.built] == [True] * 4)
    for protocol in factory.built:
        assert isinstance(protocol.transport, Stream)
    for port in ports:
        await maybeDeferred(port.stopListening)
    assert os.listdir(directory) == ["theirs"]
    for sock in theirs:
        # It listens still: a reactor would have shut it down.
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    for each in (*clients, *theirs):
        each.close()
    await until(reactor, lambda: all(each.lost for each in factory.built))


async def checksIdentity(reactor: Any) -> None:
    """Whom a UNIX socket's rules let in is known before the protocol is."""
    assert await _started(reactor, os.getuid()) == 1
    assert await _started(reactor, os.getuid() + 1) == 0


async def receivesDescriptors(reactor: Any) -> None:
    """A protocol that takes descriptors gets them, of every connection, behind rules too."""
    for users in ((), (str(os.getuid()),)):
        path = Path(tempfile.mkdtemp()) / "s"
        listener = await _listening(reactor, f"unix:{path}", Receiver, Limits(users=users))
        for _ in range(3):
            end, other = socket.socketpair()
            with end, socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(path))
                with other:
                    socket.send_fds(sock, [b"x"], [other.fileno()])
                assert await read(reactor, end) == b"received"
        await _stop(reactor, listener)


async def securesBehindProxy(reactor: Any) -> None:
    """C{startTLS} behind a PROXY header, too: nothing goes out as it is."""
    port = freePort()
    listener = await _listening(
        reactor, f"proxy:from=127.0.0.1:tcp:{port}:interface=127.0.0.1", Secured
    )
    for _ in range(2):
        sock = socket.create_connection((LOCAL, port))
        sock.sendall(b"PROXY TCP4 127.0.0.1 127.0.0.1 1000 80\r\nplease\n")
        assert await deferToThread(sock.recv, 9) == b"go ahead\n"
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        secured = await deferToThread(context.wrap_socket, sock)
        assert await deferToThread(secured.recv, 100) == b"a secret"
        secured.close()
    assert Secured.completed == 2
    await _stop(reactor, listener)


async def _started(reactor: Any, user: int) -> int:
    path = Path(tempfile.mkdtemp()) / "s"
    listener = await _listening(reactor, f"unix:{path}", Greeter, Limits(users=(str(user),)))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        heard = await read(reactor, sock)
    started = listener.statistics().started
    assert heard == b"hello" * started
    await _stop(reactor, listener)
    return started


async def _listening(
    reactor: Any, text: str, protocol: type[Protocol], limits: Limits = DEFAULT_LIMITS
) -> StreamListener:
    endpoint = parseEndpoint(text)
    listener = StreamListener(
        "test",
        str(endpoint),
        endpoint.openStream(reactor).place,
        Factory.forProtocol(protocol),
        reactor,
        lambda event: None,
        endpoint.wrapFactory,
        limits=limits,
    )
    await listener.start()
    return listener


async def _stop(reactor: Any, listener: StreamListener) -> None:
    await until(reactor, lambda: not listener.statistics().connections)
    await listener.stop()


if __name__ == "__main__":
    sys.exit(main(globals()[sys.argv[1]]))
