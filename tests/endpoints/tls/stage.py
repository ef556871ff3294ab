"""A protocol behind TLS on a memory endpoint, and clients with a TLS of their own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.protocol import Factory, Protocol

from myserv.endpoints.tls import TLSOptions, TLSWrapper
from myserv.options.structure import structure
from myserv.server.stream import StreamListener
from myserv.testing import MemoryEndpoint, RecordingObserver, SteppedReactor
from tests.endpoints.certificates import Issued, authority, issue

SERVICE = "tested"


class Logged(Protocol):
    """
    A protocol that writes down what happens to it.

    @ivar received: What it was given.
    @ivar log: What else happened.
    """

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.log: list[str] = []
        self.reason: Any = None

    def connectionMade(self) -> None:
        """It began."""
        self.log.append("made")

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.received += data

    def connectionLost(self, reason: Any = None) -> None:
        """It is over."""
        self.log.append("lost")
        self.reason = reason.value


class Echo(Logged):
    """Sends back what it gets."""

    def dataReceived(self, data: bytes) -> None:
        """Answer."""
        super().dataReceived(data)
        self.transport.write(data)


def clientContext(
    identity: Issued | None = None, *, version: int = SSL.TLS1_3_VERSION
) -> SSL.Context:
    """A client's TLS."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    if identity is not None:
        context.use_certificate(identity.certificate)
        key: Any = identity.key
        context.use_privatekey(key)
    return context


class Client:
    """
    A TLS client.

    @ivar peer: Its socket.
    @ivar ssl: Its TLS.
    @ivar received: What it was sent, decrypted.
    @ivar error: What its TLS failed with.
    @ivar toldGoodbye: It was sent a close_notify.
    """

    def __init__(self, stage: Stage, context: SSL.Context, name: str | None) -> None:
        self._stage = stage
        self.peer = stage.endpoint.connect()
        self.ssl = SSL.Connection(context, None)
        self.ssl.set_connect_state()
        if name is not None:
            self.ssl.set_tlsext_host_name(name.encode())
        self.received = b""
        self.error: SSL.Error | None = None
        self.isOpen = False
        self.toldGoodbye = False

    def flight(self) -> bytes:
        """What its TLS wants to send now."""
        pieces = []
        with contextlib.suppress(SSL.WantReadError):
            while True:
                pieces.append(self.ssl.bio_read(65536))
        return b"".join(pieces)

    def think(self) -> None:
        """Do what can be done with what has come."""
        try:
            if not self.isOpen:
                self.ssl.do_handshake()
                self.isOpen = True
            while True:
                self.received += self.ssl.recv(65536)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.toldGoodbye = True
        except SSL.Error as error:
            self.error = error

    def hear(self) -> bool:
        """Take what the server has sent."""
        self._stage.reactor.settle()
        came = self.peer.take()
        if came:
            self.ssl.bio_write(came)
        return bool(came)

    def go(self) -> Client:
        """Talk until there is nothing to say."""
        for _ in range(2000):
            if self.error is None and not self.toldGoodbye:
                self.think()
            sent = self.flight()
            if sent:
                self.peer.send(sent)
            if not self.hear() and not sent:
                break
        return self

    def encrypted(self, data: bytes) -> bytes:
        """What goes over the wire for some bytes."""
        view = memoryview(data)
        while view:
            view = view[self.ssl.send(view) :]
        return self.flight()

    def send(self, data: bytes) -> Client:
        """Send something, and hear the answer."""
        self.peer.send(self.encrypted(data))
        return self.go()

    def goodbye(self) -> bytes:
        """What goes over the wire for a close_notify."""
        self.ssl.shutdown()
        return self.flight()

    @property
    def shown(self) -> list[str]:
        """The subjects of the certificates that it was shown."""
        chain = self.ssl.get_peer_cert_chain(as_cryptography=True) or []
        return [each.subject.rfc4514_string().removeprefix("CN=") for each in chain]


class Stage:
    """
    A listener with TLS.

    @ivar protocols: Those that it built.
    """

    def __init__(self, protocol: Any, options: dict[str, Any]) -> None:
        self.reactor = SteppedReactor()
        # Certificates are made for today.
        self.reactor.rightNow = float(int(time.time()))
        self.observer = RecordingObserver()
        self.endpoint = MemoryEndpoint(self.reactor)
        self.protocols: list[Any] = []
        self.layers: list[Any] = []
        self.wrapped: Any = None
        factory = protocol
        if not isinstance(protocol, Factory):
            factory = Factory.forProtocol(self._building(protocol))
        wanted: Any = structure(TLSOptions, options)

        def wrap(context: Any, inner: Any, gate: Any) -> Any:
            self.wrapped = TLSWrapper().wrapFactory(context, wanted, inner)
            build = self.wrapped.buildProtocol

            def buildProtocol(address: Any) -> Any:
                layer = build(address)
                self.layers.append(layer)
                return layer

            self.wrapped.buildProtocol = buildProtocol
            return gate(self.wrapped)

        self.listener = StreamListener(
            SERVICE, "memory", self.endpoint, factory, self.reactor, self.observer.observe, wrap
        )
        self.listener.start()
        self.reactor.settle()

    def _building(self, protocol: Any) -> Any:
        def build() -> Any:
            built = protocol()
            self.protocols.append(built)
            return built

        return build

    @property
    def protocol(self) -> Any:
        """The last one that was built."""
        return self.protocols[-1]

    @property
    def layer(self) -> Any:
        """The last connection's TLS."""
        return self.layers[-1]

    def client(
        self,
        name: str | None = None,
        *,
        context: SSL.Context | None = None,
        version: int = SSL.TLS1_3_VERSION,
    ) -> Client:
        """Connect."""
        return Client(self, context or clientContext(version=version), name)

    def events(self, kind: Any) -> list[Any]:
        """What became known."""
        return self.observer.ofType(kind)

    def reasons(self, kind: Any) -> list[str]:
        """The reasons of some events."""
        return [event.reason for event in self.events(kind)]

    def stop(self) -> None:
        """Close, and look that nothing is left."""
        stopped: list[Any] = []
        self.listener.stop(1.0).addBoth(stopped.append)
        self.reactor.advance(5.0)
        assert stopped == [None]
        assert self.reactor.getDelayedCalls() == []
        assert self.reactor.getReaders() == []
        assert self.reactor.getWriters() == []
        assert not self.listener._handshaking


@contextmanager
def staged(protocol: Callable[[], Any] | Any = Echo, **options: Any) -> Iterator[Stage]:
    """Serve a protocol behind TLS."""
    stage = Stage(protocol, {key: str(value) for key, value in options.items()})
    try:
        yield stage
    finally:
        stage.stop()


def certificate(directory: Path, *names: str, days: float = 60) -> Path:
    """A file that can be served."""
    names = names or ("a.example",)
    file = directory / f"{names[0].replace('*', '_')}.pem"
    issue(names[0], *names, days=days).write(directory, file.name)
    return file


def clientCA(directory: Path) -> Path:
    """The file of those who sign clients' certificates."""
    file = directory / "clients"
    file.write_bytes(authority().certificatePEM)
    return file
