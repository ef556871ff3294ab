"""A protocol behind DTLS on a memory endpoint, clients with a DTLS of their own, and the network between."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.protocol import DatagramProtocol

from myserv.endpoints.dtls import DTLSOptions, DTLSWrapper
from myserv.endpoints.dtls.layer import DTLSLayer
from myserv.endpoints.dtls.records import pack
from myserv.events import AssociationEnded, AssociationStarted, DatagramsDropped, HandshakeFailed
from myserv.interfaces import IListenerContext
from myserv.options.structure import structure
from myserv.server.datagram import DatagramListener
from myserv.server.reflection import OwnSockets
from myserv.testing import (
    MemoryDatagramEndpoint,
    MemoryDatagramPeer,
    RecordingObserver,
    SteppedReactor,
)
from tests.endpoints.certificates import Issued, issue
from tests.endpoints.dtls.openssl_clock import opensslClock

STEP: Final = 0.05
"""Seconds between two looks at the clients' sockets while time passes."""

DTLS1_2: Final = 0xFEFD


class Echo(DatagramProtocol):
    """Sends back what it gets."""

    transport: Any

    def __init__(self) -> None:
        self.received: list[tuple[bytes, Any]] = []
        self.lost: list[Any] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Answer."""
        self.received.append((datagram, addr))
        self.transport.write(datagram, addr)


class Link:
    """
    One direction of a network.

    @ivar lost: How many datagrams it swallowed.
    """

    def __init__(
        self,
        rng: random.Random | None = None,
        *,
        loss: float = 0.0,
        doubling: float = 0.0,
        delay: float = 0.0,
    ) -> None:
        """
        Args:
            rng: Decides; seeded by the test.
            loss: How many of a datagram are swallowed.
            doubling: How many come twice.
            delay: How many wait until others have overtaken them.
        """
        self._rng = rng or random.Random(0)
        self._loss = loss
        self._doubling = doubling
        self._delay = delay
        self._waiting: list[bytes] = []
        self.lost = 0

    def carry(self, datagrams: list[bytes]) -> list[bytes]:
        """What arrives, of what is sent."""
        arriving: list[bytes] = []
        waiting: list[bytes] = []
        for datagram in datagrams:
            if self._rng.random() < self._loss:
                self.lost += 1
                continue
            copies = 2 if self._rng.random() < self._doubling else 1
            for _ in range(copies):
                late = self._rng.random() < self._delay
                (waiting if late else arriving).append(datagram)
        arriving += self._waiting
        self._waiting = waiting
        return arriving


def clientContext(identity: Issued | None = None, *, ciphers: bytes | None = None) -> SSL.Context:
    """A client's DTLS."""
    context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
    context.set_options(SSL.OP_NO_QUERY_MTU)
    context.set_min_proto_version(DTLS1_2)
    if ciphers is not None:
        context.set_cipher_list(ciphers)
    if identity is not None:
        context.use_certificate(identity.certificate)
        key: Any = identity.key
        context.use_privatekey(key)
    return context


class Client:
    """
    A DTLS client.

    @ivar peer: Its socket.
    @ivar sent: Every datagram that it sent, lost or not.
    @ivar received: What it was sent, decrypted.
    @ivar isOpen: Its handshake is done.
    @ivar isClosed: The server said goodbye.
    @ivar error: What it failed with.
    """

    def __init__(
        self,
        peer: MemoryDatagramPeer,
        context: SSL.Context | None = None,
        *,
        name: bytes | None = None,
        mtu: int = 1200,
        out: Link | None = None,
        back: Link | None = None,
    ) -> None:
        self.peer = peer
        self.connection = SSL.Connection(context or clientContext(), None)
        self.connection.set_connect_state()
        self.connection.set_ciphertext_mtu(mtu)
        if name is not None:
            self.connection.set_tlsext_host_name(name)
        self._mtu = mtu
        self._out = out or Link()
        self._back = back or Link()
        self.sent: list[bytes] = []
        self.received: list[bytes] = []
        self.isOpen = False
        self.isClosed = False
        self.error: Exception | None = None

    def begin(self) -> None:
        """Send the first ClientHello."""
        self._shakeHands()
        self._flush()

    def _shakeHands(self) -> None:
        try:
            self.connection.do_handshake()
        except SSL.WantReadError:
            return
        except SSL.Error as error:
            self.error = error
            return
        self.isOpen = True

    def pump(self) -> None:
        """Take what has come and send what it makes us say."""
        self.take(self._back.carry(self.peer.take()))
        if self.error is None:
            if self.connection.DTLSv1_get_timeout() == 0:
                self.connection.DTLSv1_handle_timeout()
            self._flush()

    def take(self, datagrams: list[bytes]) -> None:
        """Take datagrams."""
        for datagram in datagrams:
            self.connection.bio_write(datagram)
            if not self.isOpen:
                self._shakeHands()
            if self.isOpen:
                self._read()

    def _read(self) -> None:
        while True:
            try:
                self.received.append(self.connection.recv(65536))
            except SSL.WantReadError:
                return
            except SSL.ZeroReturnError:
                self.isClosed = True
                return
            except SSL.Error as error:
                self.error = error
                return

    def datagrams(self) -> list[bytes]:
        """What its DTLS wants on the wire."""
        try:
            return list(pack(self.connection.bio_read(2**18), self._mtu))
        except SSL.WantReadError:
            return []

    def _flush(self) -> None:
        datagrams = self.datagrams()
        self.sent += datagrams
        for each in self._out.carry(datagrams):
            self.peer.sendDatagram(each)

    def write(self, data: bytes) -> None:
        """Send something."""
        self.connection.send(data)
        self._flush()

    def encrypt(self, data: bytes) -> bytes:
        """The datagram that would carry something."""
        self.connection.send(data)
        [datagram] = self.datagrams()
        return datagram

    def close(self) -> None:
        """Say goodbye."""
        self.connection.shutdown()
        self._flush()

    @property
    def certificateNames(self) -> str:
        """Whom the server's certificate is for."""
        certificate = self.connection.get_peer_certificate(as_cryptography=True)
        assert certificate is not None
        return certificate.subject.rfc4514_string()


class Stage:
    """
    A server with DTLS.

    @ivar layer: What is tested.
    """

    def __init__(
        self,
        directory: Path,
        protocol: DatagramProtocol | None = None,
        *,
        reactor: SteppedReactor | None = None,
        **keys: Any,
    ) -> None:
        """
        Args:
            directory: Where the certificate is written, unless keys name one.
            protocol: What is served.
            reactor: Where; a new one when omitted.
            keys: The keys of C{dtls:}.
        """
        self.reactor = reactor or SteppedReactor()
        # Certificates are of today.
        self.reactor.rightNow = self.epoch = float(int(time.time()))
        self.observer = RecordingObserver()
        self.endpoint = MemoryDatagramEndpoint(self.reactor)
        self.protocol: Any = Echo() if protocol is None else protocol
        if not {"certs", "cert", "selfSigned"} & keys.keys():
            keys["cert"] = str(issue("localhost", "localhost").write(directory))
        self.options: Any = structure(DTLSOptions, keys)
        self.listener = DatagramListener(
            "hall",
            "dtls:udp:7000",
            self.endpoint,
            self.protocol,
            self.reactor,
            self.observer.observe,
            self._wrap,
            provesAddress=True,
            ownSockets=OwnSockets(),
        )
        self.clients: list[Client] = []
        self.start()

    def _wrap(self, context: IListenerContext, protocol: DatagramProtocol) -> DTLSLayer:
        layer = DTLSWrapper().wrapProtocol(context, self.options, protocol)
        assert isinstance(layer, DTLSLayer)
        self.layer = layer
        return layer

    def start(self) -> None:
        """Open the endpoint."""
        outcome: list[Any] = []
        self.listener.start().addBoth(outcome.append)
        assert outcome == [None]

    def stop(self) -> None:
        """Close it."""
        outcome: list[Any] = []
        self.listener.stop().addBoth(outcome.append)
        self.reactor.settle()
        assert outcome == [None]

    def seconds(self) -> float:
        """The time since the beginning."""
        return self.reactor.seconds() - self.epoch

    def client(self, *address: Any, **arguments: Any) -> Client:
        """Make a client; it has said nothing yet."""
        client = Client(self.endpoint.peer(*address), **arguments)
        self.clients.append(client)
        return client

    def connected(self, *address: Any, **arguments: Any) -> Client:
        """Make a client and let it finish its handshake."""
        client = self.client(*address, **arguments)
        client.begin()
        self.settle()
        assert client.isOpen
        return client

    def settle(self) -> None:
        """Let happen what needs no time."""
        while True:
            before = [len(client.sent) for client in self.clients], len(self.endpoint.sent)
            self.reactor.settle()
            for client in self.clients:
                client.pump()
            self.reactor.settle()
            if before == ([len(client.sent) for client in self.clients], len(self.endpoint.sent)):
                return

    def advance(self, seconds: float) -> None:
        """Let time pass, for the clients as well."""
        end = self.reactor.seconds() + seconds
        while self.reactor.seconds() < end - STEP / 2:
            self.reactor.advance(STEP)
            for client in self.clients:
                client.pump()
            self.reactor.settle()

    def until(self, happened: Callable[[], bool], patience: float = 60.0) -> None:
        """Let time pass until something has happened."""
        end = self.reactor.seconds() + patience
        while not happened():
            assert self.reactor.seconds() < end, "it did not happen"
            self.advance(STEP)

    def drops(self) -> list[tuple[str, int, Any]]:
        """What was told of dropped datagrams since the last look."""
        events = self.observer.ofType(DatagramsDropped)
        self.observer.events = [each for each in self.observer.events if each not in events]
        return [(each.reason, each.count, each.peer) for each in events]

    def reasons(self) -> list[str]:
        """Why associations have ended."""
        return [each.reason for each in self.observer.ofType(AssociationEnded)]

    def failures(self) -> list[str]:
        """Why handshakes have failed."""
        return [each.reason for each in self.observer.ofType(HandshakeFailed)]

    def started(self) -> list[Any]:
        """With whom there have been associations."""
        return [each.peer for each in self.observer.ofType(AssociationStarted)]

    def assertNothingHeld(self) -> None:
        """No association, no handshake, no count of a host, and no timer but that of the store."""
        assert self.layer.associations == self.layer.handshakes == 0
        assert not self.layer.hosts
        assert len(self.reactor.getDelayedCalls()) <= 1


@contextmanager
def staged(
    directory: Path, protocol: DatagramProtocol | None = None, **keys: Any
) -> Iterator[Stage]:
    """
    A stage whose clock is OpenSSL's as well; when it is left, all of it is gone.
    """
    stage = Stage(directory, protocol, **keys)
    with opensslClock(stage.seconds):
        yield stage
        stage.stop()
    stage.assertNothingHeld()
    assert stage.reactor.getDelayedCalls() == []
