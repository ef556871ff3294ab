"""C{proxy:}: whose header is taken, and what is above it never knows that it was there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IHalfCloseableProtocol, ITCPTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from zope.interface import implementer

from myserv.endpoints.bare import BareContext
from myserv.endpoints.farewell import LINGER, PATIENCE
from myserv.endpoints.parse import parseEndpoint
from myserv.endpoints.proxy.codec import Command, Family, UNIXPath
from myserv.endpoints.proxy.wrapper import (
    LOCAL_PATIENCE,
    ProxyFactory,
    ProxyLayer,
    ProxyOptions,
    Trusted,
)
from myserv.errors import EndpointError
from myserv.events import (
    ConnectionEnded,
    ConnectionRefused,
    ConnectionStarted,
    HandshakeFailed,
)
from myserv.limits import NO_DEADLINES, structureLimits
from myserv.options.values import Duration
from myserv.server.listener import State
from myserv.server.stream import StreamListener
from myserv.testing import (
    MemoryEndpoint,
    MemoryPeer,
    RecordingObserver,
    SteppedReactor,
    chunkings,
)
from myserv.testing.stream import FIRST_PEER_PORT
from tests.endpoints.certificates import issue
from tests.endpoints.proxy.writer import fromText, writeBinary, writeBlock, writeLine

LINE = b"PROXY TCP4 203.0.113.7 198.51.100.9 56324 443\r\n"
CLIENT = IPv4Address("TCP", "203.0.113.7", 56324)
SERVER = IPv4Address("TCP", "198.51.100.9", 443)
LOCAL = writeBlock(0, 0, 0, b"")

BALANCER = "192.0.2.1"
ENDPOINT = "proxy:from=192.0.2.0/24:tcp:80"
HERE = IPv4Address("TCP", "198.51.100.1", 7000)


class Echo(Protocol):
    """Answers, and remembers what it was told."""

    transport: Any
    onConnection: Callable[[Any], None] | None = None

    def __init__(self) -> None:
        self.received = b""
        self.lost = 0

    def connectionMade(self) -> None:
        if self.onConnection is not None:
            type(self).onConnection(self)  # type: ignore[misc]

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.transport.write(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.lost += 1


class Protocols(Factory):
    """Builds one kind of protocol, and remembers for whom."""

    noisy = False

    def __init__(self, kind: Any) -> None:
        self.protocol = kind
        self.built: list[Any] = []
        self.addresses: list[Any] = []

    def buildProtocol(self, addr: Any) -> Any:
        self.addresses.append(addr)
        built = super().buildProtocol(addr)
        self.built.append(built)
        return built


class Stage:
    """A listener behind a balancer, in memory."""

    def __init__(self, kind: Any = Echo, text: str = ENDPOINT) -> None:
        self.reactor = SteppedReactor()
        self.observer = RecordingObserver()
        self.endpoint = MemoryEndpoint(self.reactor)
        self.factory = Protocols(kind)
        parsed = parseEndpoint(text)
        self.listener = StreamListener(
            "hall",
            str(parsed),
            self.endpoint,
            self.factory,
            self.reactor,
            self.observer.observe,
            parsed.wrapFactory,
            limits=structureLimits(NO_DEADLINES),
        )
        self.listener.start()
        self.observer.take()

    def connect(self, address: Any = None) -> MemoryPeer:
        peer = self.endpoint.connect(address)
        self.reactor.settle()
        return peer

    def send(self, peer: MemoryPeer, *pieces: bytes) -> None:
        for piece in pieces:
            peer.send(piece)
            self.reactor.settle()

    def speak(self, *pieces: bytes) -> MemoryPeer:
        peer = self.connect()
        self.send(peer, *pieces)
        return peer

    @property
    def protocol(self) -> Any:
        [built] = self.factory.built
        return built

    @property
    def layer(self) -> Any:
        return self.protocol.transport._transport

    @property
    def failures(self) -> list[str]:
        return [each.reason for each in self.observer.ofType(HandshakeFailed)]


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A listener, and a look that its clock is left empty."""
    stage = Stage()
    yield stage
    stopped: list[Any] = []
    stage.listener.stop(0.5).addBoth(stopped.append)
    stage.reactor.advance(20)
    assert stopped == [None]
    assert stage.reactor.getDelayedCalls() == []
    assert stage.listener._handshaking == set()


def having(onConnection: Callable[[Any], None]) -> Stage:
    """A stage whose protocol does something as soon as it is connected."""
    return Stage(type("Doing", (Echo,), {"onConnection": onConnection}))


# --- the keys -----------------------------------------------------------------


NOBODY = "proxy: nobody comes to {} through a UNIX socket: name the balancers' networks in from="


def test_options() -> None:
    """Networks, addresses and UNIX sockets; how long it may take."""
    endpoint = parseEndpoint(r"proxy:from=10.0.0.0/8,127.0.0.1,\:\:1,unix:timeout=3s:tcp:80")
    assert endpoint.layers[0].options == ProxyOptions(
        ("10.0.0.0/8", "127.0.0.1", "::1", "unix"), Duration(3)
    )
    assert str(endpoint) == r"proxy:from=10.0.0.0/8,127.0.0.1,\:\:1,unix:timeout=3s:tcp:80"


def test_anAddressInBrackets() -> None:
    """It needs no backslashes, as with every other prefix."""
    endpoint = parseEndpoint("proxy:from=[::1]:tcp:80")
    assert str(endpoint) == "proxy:from=[::1]:tcp:80"
    assert ipv6("::1") in Trusted(endpoint.layers[0].options.sources)


def test_aNetworkInBrackets() -> None:
    """Nor does a network, in a list."""
    endpoint = parseEndpoint("proxy:from=10.0.0.0/8,[2001:db8::]/32:tcp:80")
    trusted = Trusted(endpoint.layers[0].options.sources)
    assert ipv6("2001:db8::7") in trusted
    assert ipv6("2001:db9::7") not in trusted
    assert parseEndpoint(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    "text",
    [
        "proxy:from=unix:proxy:from=10.0.0.0/8:tcp:80",
        "proxy:from=10.0.0.0/8,unix:unix:/x",
        "proxy:from=unix:fd:3",
        "proxy:from=10.0.0.0/8:systemd:name=x",
        "proxy:from=unix:haproxy:tcp:80",
    ],
)
def test_sourcesThatMayBe(text: str) -> None:
    """Of what cannot be known from the string, nothing is said."""
    assert str(parseEndpoint(text)) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "proxy:tcp:80",
            (
                'proxy: from: is required: the networks of the proxies; "unix" for whoever may '
                "open the UNIX socket"
            ),
        ),
        (
            "proxy:from=10.0.0.1/8,x:tcp:80",
            (
                "proxy: from[0]: '10.0.0.1/8' has bits set beyond its prefix; "
                'did you mean "10.0.0.0/8"?'
            ),
        ),
        (
            "proxy:from=10.0.0.0/8,:tcp:80",
            (
                "proxy: from[1]: '' is not a network: write one such as \"10.0.0.0/8\" "
                'or "2001:db8::/32"'
            ),
        ),
        (
            "proxy:from=10.0.0.0/8:timeout=0s:tcp:80",
            "proxy: timeout: '0s' is too small: the least is 1ms",
        ),
        ("proxy:from=unix:tcp:80", NOBODY.format("tcp")),
        ("proxy:from=10.0.0.1:proxy:from=unix:tcp6:80", NOBODY.format("tcp6")),
        (
            "proxy:from=10.0.0.0/8:unix:/x",
            "proxy: who comes through a UNIX socket has no address: write from=unix",
        ),
    ],
)
def test_wrongOptions(text: str, told: str) -> None:
    """Nobody is trusted unless the operator says so, and what is no network is told."""
    with pytest.raises(EndpointError) as caught:
        parseEndpoint(text)
    assert caught.value.problems[0].message == f'in "{text}": {told}'


def ipv4(host: str) -> IPv4Address:
    """Somebody at an address."""
    return IPv4Address("TCP", host, 1)


def ipv6(host: str) -> IPv6Address:
    """Somebody at an IPv6 address."""
    return IPv6Address("TCP", host, 1)


@pytest.mark.parametrize(
    ("sources", "address", "trusted"),
    [
        (("10.0.0.0/8",), ipv4("10.255.0.1"), True),
        (("10.0.0.0/8",), ipv4("11.0.0.1"), False),
        (("127.0.0.1", "10.0.0.0/8"), ipv4("10.0.0.1"), True),
        (("127.0.0.1",), ipv4("127.0.0.2"), False),
        (("2001:db8::/32",), ipv6("2001:db8::1"), True),
        (("2001:db8::/32",), ipv6("2001:db9::1"), False),
        (("[2001:db8::1]",), ipv6("2001:db8::1"), True),
        (("fe80::/10",), ipv6("fe80::1%eth0"), True),
        # A tcp6 socket has clients over IPv4 as well.
        (("10.0.0.0/8",), ipv6("::ffff:10.0.0.1"), True),
        (("10.0.0.0/8",), ipv6("::ffff:11.0.0.1"), False),
        (("0.0.0.0/0",), ipv6("2001:db8::1"), False),
        (("unix",), UNIXAddress(None), True),
        (("unix",), UNIXAddress("/run/x"), True),
        (("unix",), ipv4("127.0.0.1"), False),
        (("0.0.0.0/0", "::/0"), UNIXAddress(None), False),
        (("0.0.0.0/0", "::/0", "unix"), HostnameAddress(b"localhost", 1), False),
        (("0.0.0.0/0", "::/0", "unix"), None, False),
        ((), ipv4("127.0.0.1"), False),
    ],
)
def test_whoIsTrusted(sources: tuple[str, ...], address: object, trusted: bool) -> None:
    """Only whom the operator named."""
    assert (address in Trusted(sources)) is trusted


# --- the addresses --------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [LINE, writeBinary(fromText("203.0.113.7", 56324), fromText("198.51.100.9", 443))],
    ids=["1", "2"],
)
def test_theClientIsTold(header: bytes) -> None:
    """To the factory, the protocol and whoever observes, in whatever pieces it comes."""
    for pieces in chunkings(header + b"hello"):
        stage = Stage()
        peer = stage.speak(*pieces)
        assert peer.received == b"hello"
        assert stage.factory.addresses == [CLIENT]
        transport = stage.protocol.transport
        assert (transport.getPeer(), transport.getHost()) == (CLIENT, SERVER)
        assert transport.proxyHeader.command is Command.PROXY
        [started] = stage.observer.ofType(ConnectionStarted)
        assert started.peer == CLIENT
        peer.close()
        stage.reactor.settle()
        [ended] = stage.observer.ofType(ConnectionEnded)
        assert (ended.peer, ended.bytesReceived, ended.reason) == (CLIENT, 5, "closed")
        assert stage.reactor.getDelayedCalls() == []


def test_noProtocolBeforeTheHeader(stage: Stage) -> None:
    """A greeting must not go out before it is known to whom."""
    peer = stage.speak(LINE[:-1])
    assert stage.factory.built == []
    assert stage.observer.events == []
    stage.send(peer, LINE[-1:])
    assert len(stage.factory.built) == 1


@pytest.mark.parametrize(
    ("header", "client", "server"),
    [
        (
            writeLine(fromText("2001:db8::1", 1), fromText("2001:db8::2", 2)),
            IPv6Address("TCP", "2001:db8::1", 1),
            IPv6Address("TCP", "2001:db8::2", 2),
        ),
        (
            writeBinary(fromText("::ffff:192.0.2.9", 1), fromText("::1", 2)),
            IPv6Address("TCP", "::ffff:192.0.2.9", 1),
            IPv6Address("TCP", "::1", 2),
        ),
        (
            writeBlock(1, 1, 2, bytes([192, 0, 2, 9, 192, 0, 2, 8, 0, 1, 0, 2])),
            IPv4Address("UDP", "192.0.2.9", 1),
            IPv4Address("UDP", "192.0.2.8", 2),
        ),
        (
            writeBinary(UNIXPath(b""), UNIXPath(b"/run/front.sock")),
            UNIXAddress(None),
            UNIXAddress("/run/front.sock"),
        ),
    ],
)
def test_addresses(stage: Stage, header: bytes, client: Any, server: Any) -> None:
    """Of every family, as Twisted's own transports would name them."""
    stage.speak(header)
    transport = stage.protocol.transport
    assert (transport.getPeer(), transport.getHost()) == (client, server)
    assert stage.factory.addresses == [client]


@pytest.mark.parametrize(
    "header",
    [b"PROXY UNKNOWN\r\n", LOCAL, writeBlock(1, 0, 0, b"")],
    ids=["unknown", "local", "unspecified"],
)
def test_theConnectionsOwnAddresses(stage: Stage, header: bytes) -> None:
    """They hold where the proxy tells of none."""
    peer = stage.speak(header + b"hello")
    assert peer.received == b"hello"
    transport = stage.protocol.transport
    assert (transport.getPeer(), transport.getHost()) == (peer.address, HERE)
    assert stage.factory.addresses == [peer.address]
    assert transport.proxyHeader.family is Family.UNSPEC


# --- who gets no protocol ---------------------------------------------------------


def test_whoIsNotTrustedIsNotListenedTo() -> None:
    """Its header is not even read."""
    stage = Stage(text="proxy:from=10.0.0.0/8:tcp:80")
    peer = stage.endpoint.connect()
    peer.send(LINE + b"hello")
    stage.reactor.settle()
    assert peer.aborted
    assert peer.unread == len(LINE + b"hello")
    assert stage.factory.built == []
    assert stage.observer.events == [
        HandshakeFailed("hall", peer.address, "proxy", "it is not a trusted proxy")
    ]
    assert stage.reactor.getDelayedCalls() == []


def test_noHeader(stage: Stage) -> None:
    """A client that found its way past the balancer is cut."""
    peer = stage.speak(b"GET / HTTP/1.1\r\n\r\n")
    assert peer.aborted
    assert stage.failures == ["it began with b'GET / HTTP/1.1\\r\\n', which is no PROXY header"]
    assert stage.factory.built == []


@pytest.mark.parametrize("data", [LINE[:-2] + b"\n", b"PROXY TCP5\r\n", b"PROXY " + b"x" * 999])
def test_malformed(stage: Stage, data: bytes) -> None:
    """Told of once, whatever else was on its way."""
    peer = stage.endpoint.connect()
    peer.send(data)
    stage.reactor.settle()
    assert peer.aborted
    assert len(stage.failures) == 1


@pytest.mark.parametrize("sent", [b"", b"PROXY TCP4 203.0.113"])
def test_itTookTooLong(stage: Stage, sent: bytes) -> None:
    """Silence and half a header end the same way."""
    peer = stage.connect()
    stage.send(peer, *([sent] if sent else []))
    stage.reactor.advance(9.9)
    assert not peer.aborted
    stage.reactor.advance(0.2)
    assert peer.aborted
    assert stage.failures == ["it took too long"]


def test_aByteNowAndThen() -> None:
    """The deadline is for all of the header, not for the next byte."""
    stage = Stage(text="proxy:from=192.0.2.1:timeout=2s:tcp:80")
    peer = stage.connect()
    for index in range(len(LINE)):
        if not peer.aborted:
            peer.send(LINE[index : index + 1])
        stage.reactor.advance(0.5)
    assert peer.aborted
    assert stage.failures == ["it took too long"]


@pytest.mark.parametrize("leave", [MemoryPeer.close, MemoryPeer.abort, MemoryPeer.closeWrite])
def test_whoLeavesWithoutAByteIsNoFact(stage: Stage, leave: Callable[[MemoryPeer], None]) -> None:
    """A health check every two seconds must not fill the log."""
    peer = stage.connect()
    leave(peer)
    stage.reactor.advance(60)
    assert stage.observer.events == []
    assert stage.reactor.getDelayedCalls() == []
    assert stage.listener._handshaking == set()


@pytest.mark.parametrize("leave", [MemoryPeer.close, MemoryPeer.abort, MemoryPeer.closeWrite])
def test_whoLeavesWithinTheHeader(stage: Stage, leave: Callable[[MemoryPeer], None]) -> None:
    """That is no health check."""
    peer = stage.speak(LINE[:20])
    leave(peer)
    stage.reactor.settle()
    assert stage.failures == ["the peer left"]


@pytest.mark.parametrize("leave", [MemoryPeer.close, MemoryPeer.abort, MemoryPeer.closeWrite])
@pytest.mark.parametrize(
    "header",
    [
        LOCAL,
        b"PROXY UNKNOWN\r\n",
        # What HAProxy sends of version 1, and would to a socket for both families.
        writeLine(fromText(BALANCER, FIRST_PEER_PORT), fromText("198.51.100.1", 7000)),
        writeLine(fromText(f"::ffff:{BALANCER}", FIRST_PEER_PORT), fromText("::1", 7000)),
    ],
    ids=["local", "unknown", "itself", "itself, mapped"],
)
def test_aHealthCheckWithAHeader(
    stage: Stage, header: bytes, leave: Callable[[MemoryPeer], None]
) -> None:
    """One that says on whose behalf it comes and leaves is no connection."""
    peer = stage.speak(header)
    stage.reactor.advance(LOCAL_PATIENCE / 2)
    leave(peer)
    stage.reactor.advance(60)
    assert stage.observer.events == []
    assert stage.factory.built == []
    assert stage.reactor.getDelayedCalls() == []


@pytest.mark.parametrize(
    ("host", "port"), [(BALANCER, FIRST_PEER_PORT + 1), ("192.0.2.2", FIRST_PEER_PORT)]
)
def test_aClientAtTheBalancer(stage: Stage, host: str, port: int) -> None:
    """Of whom it tells on the same machine, or at the same port, nobody waits."""
    stage.speak(writeLine(fromText(host, port), fromText("198.51.100.1", 7000)))
    assert stage.factory.addresses == [IPv4Address("TCP", host, port)]


def test_aHealthCheckThatWaitsForAGreeting() -> None:
    """It gets one, a little later."""
    stage = having(lambda echo: echo.transport.write(b"220 hello\r\n"))
    peer = stage.speak(LOCAL)
    stage.reactor.advance(LOCAL_PATIENCE * 0.9)
    assert peer.received == b""
    stage.reactor.advance(LOCAL_PATIENCE * 0.2)
    assert peer.received == b"220 hello\r\n"
    stage.send(peer, b"QUIT")
    assert peer.received == b"220 hello\r\nQUIT"
    stage.reactor.advance(60)
    assert not peer.closed
    assert stage.failures == []


def test_aHealthCheckThatSpeaks(stage: Stage) -> None:
    """Nobody waits for what is there already."""
    peer = stage.speak(LOCAL, b"EHLO")
    assert peer.received == b"EHLO"
    stage.reactor.advance(60)
    assert len(stage.factory.built) == 1


def test_aShortTimeoutIsForTheHeader() -> None:
    """What is waited for after it was not the peer's to send."""
    stage = Stage(text="proxy:from=192.0.2.1:timeout=10ms:tcp:80")
    peer = stage.speak(LOCAL)
    stage.reactor.advance(1)
    assert len(stage.factory.built) == 1
    assert not peer.aborted
    assert stage.failures == []


@pytest.mark.parametrize(
    ("sent", "told"),
    [(b"", 0), (LINE[:20], 1), (LOCAL, 0)],
    ids=["nothing", "some", "local"],
)
def test_theListenerStops(sent: bytes, told: int) -> None:
    """At once: whoever has no protocol yet is cut."""
    stage = Stage()
    peer = stage.speak(*([sent] if sent else []))
    stopped: list[Any] = []
    stage.listener.stopNow().addBoth(stopped.append)
    stage.reactor.settle()
    assert stopped == [None]
    assert peer.aborted
    assert stage.factory.built == []
    assert len(stage.failures) == told
    stage.reactor.advance(60)
    assert stage.reactor.getDelayedCalls() == []


def test_theHeaderComesWhenTheListenerHasClosed() -> None:
    """Whoever was accepted before is served, if there is time."""
    stage = Stage()
    peer = stage.connect()
    stage.listener.drain()
    peer.send(LINE + b"hello")
    stage.reactor.settle()
    assert peer.received == b"hello"
    assert stage.observer.ofType(HandshakeFailed) == []
    stage.reactor.advance(5)
    assert peer.closed
    assert stage.listener.state is State.STOPPED


def test_theFactoryDeclines() -> None:
    """What came behind the header of a refused peer goes nowhere."""
    stage = Stage(kind=lambda: None)
    stage.factory.buildProtocol = lambda addr: None  # type: ignore[method-assign]
    peer = stage.speak(LINE + b"hello")
    assert peer.aborted
    [refused] = stage.observer.ofType(ConnectionRefused)
    assert refused.peer == CLIENT


# --- the end of a connection ------------------------------------------------------


def test_everythingAtOnce(stage: Stage) -> None:
    """Header, request and end in one segment, as C{nc -N} sends them."""
    peer = stage.endpoint.connect()
    peer.send(LINE + b"hello")
    peer.closeWrite()
    stage.reactor.settle()
    assert peer.received == b"hello"
    assert peer.closed
    assert stage.protocol.lost == 1


def test_halfClose() -> None:
    """A protocol that goes on after the peer's end is let go on."""

    @implementer(IHalfCloseableProtocol)
    class Counting(Echo):
        def readConnectionLost(self) -> None:
            self.transport.write(b"%d bytes" % len(self.received))
            self.transport.loseWriteConnection()

        def writeConnectionLost(self) -> None:
            self.received += b"!"

    stage = Stage(Counting)
    peer = stage.speak(LINE, b"12345")
    peer.closeWrite()
    stage.reactor.settle()
    assert peer.received == b"123455 bytes"
    assert stage.protocol.received == b"12345!"


def test_aPeerThatStillTalksIsHeardOut(stage: Stage) -> None:
    """It gets the last answer, and what it says meanwhile goes nowhere."""
    peer = stage.speak(LINE + b"hello")
    peer.stay()
    stage.protocol.transport.write(b" and goodbye")
    stage.protocol.transport.loseConnection()
    stage.reactor.settle()
    stage.send(peer, b"wait", b"please")
    assert peer.received == b"hello and goodbye"
    assert stage.protocol.received == b"hello"
    assert not peer.closed
    stage.reactor.advance(LINGER + 0.1)
    assert peer.closed
    assert stage.protocol.lost == 1


def test_aPeerThatDoesNotStopTalking(stage: Stage) -> None:
    """Nobody has to hear that."""
    peer = stage.speak(LINE)
    peer.stay()
    stage.protocol.transport.loseConnection()
    stage.reactor.settle()
    stage.send(peer, bytes(PATIENCE + 1))
    assert peer.aborted


@pytest.mark.parametrize("end", ["loseConnection", "abortConnection", "stopProducing"])
def test_itEndsAtOnce(end: str) -> None:
    """A protocol that closes as soon as it is connected hears nothing more."""
    stage = having(lambda echo: getattr(echo.transport, end)())
    peer = stage.speak(LINE + b"hello")
    assert (peer.aborted, peer.closed) == ((True, False) if "abort" in end else (False, True))
    assert stage.protocol.received == b""
    assert stage.protocol.lost == 1


def test_aTransportThatKeptTheOldMethod(stage: Stage) -> None:
    """It works all the same, also after the end."""
    peer = stage.connect()
    [layer] = stage.listener._handshaking
    assert isinstance(layer, ProxyLayer)
    deliver = layer.dataReceived
    deliver(LINE)
    deliver(b"a")
    deliver(b"b")
    stage.reactor.settle()
    assert peer.received == b"ab"
    stage.protocol.transport.loseConnection()
    deliver(b"c")
    assert stage.protocol.received == b"ab"


def test_theLayerIsNotInTheWay(stage: Stage) -> None:
    """After the header, a byte goes from transport to connection and back directly."""
    stage.speak(LINE)
    layer = stage.layer
    assert layer.dataReceived == layer.upper.dataReceived
    assert layer.write == layer.transport.write
    assert layer.writeSequence == layer.transport.writeSequence
    assert ITCPTransport.providedBy(stage.protocol.transport)
    stage.protocol.transport.setTcpNoDelay(True)
    assert stage.protocol.transport.getTcpNoDelay()


# --- producers ----------------------------------------------------------------------


def test_pausedFromTheStart() -> None:
    """What came with the header waits as well, and comes first."""
    stage = having(lambda echo: echo.transport.pauseProducing())
    peer = stage.speak(LINE + b"one ", b"two ")
    stage.reactor.advance(5)
    assert stage.protocol.received == b""
    stage.protocol.transport.resumeProducing()
    stage.protocol.transport.resumeProducing()
    assert stage.protocol.received == b"", "not within the call"
    stage.send(peer, b"three")
    assert stage.protocol.received == b"one two three"
    assert stage.reactor.getDelayedCalls() == []


def test_pausedAgain() -> None:
    """Between asking for more and getting it, or while getting it."""
    stage = having(lambda echo: echo.transport.pauseProducing())
    stage.speak(LINE + b"one", b" two")
    transport = stage.protocol.transport
    transport.resumeProducing()
    transport.pauseProducing()
    stage.reactor.advance(5)
    assert stage.protocol.received == b""
    echo = type(stage.protocol).dataReceived

    def once(data: bytes) -> None:
        echo(stage.protocol, data)
        transport.pauseProducing()

    stage.protocol.dataReceived = once
    transport.protocol = stage.protocol
    transport.resumeProducing()
    stage.reactor.advance(5)
    assert stage.protocol.received == b"one"
    transport.resumeProducing()
    stage.reactor.advance(5)
    assert stage.protocol.received == b"one two"


def test_pausedWithNothingWaiting(stage: Stage) -> None:
    """As with any transport."""
    peer = stage.speak(LINE)
    stage.protocol.transport.pauseProducing()
    stage.send(peer, b"hello")
    assert stage.protocol.received == b""
    stage.protocol.transport.resumeProducing()
    stage.reactor.settle()
    assert stage.protocol.received == b"hello"


@pytest.mark.parametrize("end", ["loseConnection", "abortConnection"])
@pytest.mark.parametrize("resumed", [True, False])
def test_itEndsWhilePaused(end: str, resumed: bool) -> None:
    """What was waiting is not wanted any more."""
    stage = having(lambda echo: echo.transport.pauseProducing())
    stage.speak(LINE + b"one")
    if resumed:
        stage.protocol.transport.resumeProducing()
    getattr(stage.protocol.transport, end)()
    stage.reactor.advance(5)
    assert stage.protocol.received == b""
    assert stage.protocol.lost == 1
    assert stage.reactor.getDelayedCalls() == []


def test_itIsLostWhileResuming() -> None:
    """Nothing is left for later."""
    stage = having(lambda echo: echo.transport.pauseProducing())
    stage.speak(LINE + b"one")
    stage.protocol.transport.resumeProducing()
    stage.layer.transport.abortConnection()
    stage.layer.transport.connectionLost(_aborted())
    assert stage.protocol.lost == 1
    stage.reactor.advance(5)
    assert stage.protocol.received == b""


def _aborted() -> Any:
    from twisted.internet.error import ConnectionAborted
    from twisted.python.failure import Failure

    return Failure(ConnectionAborted())


class Source:
    """A push producer."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def stopProducing(self) -> None:
        self.calls.append("stop")


def test_producers(stage: Stage) -> None:
    """A slow reader pauses whoever writes, and a close waits for the writer."""
    peer = stage.speak(LINE)
    transport = stage.protocol.transport
    source = Source()
    transport.registerProducer(source, True)
    peer.pauseReading(1000)
    transport.write(bytes(100_000))
    stage.reactor.settle()
    assert source.calls == ["pause"]
    transport.loseConnection()
    peer.resumeReading()
    stage.reactor.settle()
    assert source.calls == ["pause", "resume"]
    assert not peer.closed
    transport.write(b"the last")
    transport.unregisterProducer()
    stage.reactor.advance(0.1)
    assert peer.received.endswith(b"the last")
    assert peer.closed


# --- with other layers ----------------------------------------------------------------


def test_aProxyBehindAProxy() -> None:
    """Each says where it was reached from; the client is told by the last."""
    stage = Stage(text="proxy:from=203.0.113.7:proxy:from=192.0.2.1:tcp:80")
    inner = writeLine(fromText("198.18.0.1", 1), fromText("198.18.0.2", 2))
    for pieces in chunkings(LINE + inner + b"hello"):
        stage.factory.built.clear()
        peer = stage.speak(*pieces)
        stage.send(peer, b" again")
        assert peer.received == b"hello again"
        assert stage.protocol.transport.getPeer() == IPv4Address("TCP", "198.18.0.1", 1)


def test_aProxyBehindAnUnknownProxy() -> None:
    """The outer one's word is taken, and what it says is not enough."""
    stage = Stage(text="proxy:from=10.0.0.0/8:proxy:from=192.0.2.1:tcp:80")
    peer = stage.speak(LINE)
    assert peer.aborted
    assert stage.observer.events == [
        HandshakeFailed("hall", CLIENT, "proxy", "it is not a trusted proxy")
    ]


class TLSClient:
    """A client that speaks TLS through a memory peer."""

    def __init__(self, stage: Stage, peer: MemoryPeer) -> None:
        self._stage = stage
        self._peer = peer
        self._ssl = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
        self._ssl.set_connect_state()

    def exchange(self, *, piecewise: bool = False) -> None:
        """Move bytes until there are none."""
        for _ in range(6):
            with suppress(SSL.WantReadError):
                self._ssl.do_handshake()
            with suppress(SSL.WantReadError):
                data = self._ssl.bio_read(1 << 20)
                size = 1 if piecewise else len(data)
                self._stage.send(
                    self._peer, *(data[i : i + size] for i in range(0, len(data), size))
                )
            if self._peer.received:
                self._ssl.bio_write(self._peer.take())

    def ask(self, data: bytes, *, piecewise: bool = False) -> bytes:
        """Say something, and hear the answer."""
        self._ssl.send(data)
        self.exchange(piecewise=piecewise)
        return self._ssl.recv(1 << 20)


@pytest.mark.parametrize("piecewise", [False, True])
def test_underTLS(tmp_path: Path, piecewise: bool) -> None:
    """The header comes before TLS, and the client is told through it."""
    certificate = issue("x", "example.org").write(tmp_path)
    stage = Stage(text=f"tls:cert={certificate}:proxy:from=192.0.2.1:tcp:443")
    peer = stage.connect()
    size = 1 if piecewise else len(LINE)
    stage.send(peer, *(LINE[i : i + size] for i in range(0, len(LINE), size)))
    client = TLSClient(stage, peer)
    client.exchange(piecewise=piecewise)
    assert client.ask(b"hello", piecewise=piecewise) == b"hello"
    transport = stage.protocol.transport
    assert (transport.getPeer(), transport.getHost()) == (CLIENT, SERVER)
    assert transport.proxyHeader.version == 1
    [started] = stage.observer.ofType(ConnectionStarted)
    assert started.peer == CLIENT
    transport.loseConnection()
    client.exchange()
    peer.close()
    stage.reactor.advance(5)
    assert stage.protocol.lost == 1
    stage.listener.stop()
    stage.reactor.advance(5)
    assert stage.reactor.getDelayedCalls() == []


def test_theFirstOfTLSBehindTheHeader(tmp_path: Path) -> None:
    """In one segment, as it comes from a balancer in a hurry."""
    certificate = issue("x", "example.org").write(tmp_path)
    stage = Stage(text=f"tls:cert={certificate}:proxy:from=192.0.2.1:tcp:443")
    peer = stage.connect()
    peer.send(LINE)
    client = TLSClient(stage, peer)
    client.exchange()
    assert client.ask(b"hello") == b"hello"


def test_withinTLS(tmp_path: Path) -> None:
    """A balancer that encrypts towards us sends its header inside."""
    certificate = issue("x", "example.org").write(tmp_path)
    stage = Stage(text=f"proxy:from=192.0.2.1:tls:cert={certificate}:tcp:443")
    client = TLSClient(stage, stage.connect())
    client.exchange()
    assert client.ask(LINE + b"hello") == b"hello"
    assert client.ask(b" again") == b" again"
    assert stage.protocol.transport.getPeer() == CLIENT


# --- outside of a server ----------------------------------------------------------------


def test_aTransportThatIsAProducer() -> None:
    """Whoever consumes what the peer sends may have had enough."""
    protocols = Protocols(Echo)
    options = ProxyOptions(("192.0.2.1",), Duration(1))
    factory = ProxyFactory(BareContext(SteppedReactor(), ""), protocols, options)
    layer = factory.buildProtocol(ipv4("192.0.2.1"))
    wire = StringTransport()
    layer.makeConnection(wire)
    layer.dataReceived(LINE)
    protocols.built[0].transport.stopProducing()
    assert wire.disconnecting
    layer.connectionLost()


def test_aTransportThatCannotAbort() -> None:
    """Standard input and output: whoever is there is not trusted, and is told goodbye."""

    class Pipe(StringTransport):
        abortConnection: Any = property(lambda self: self._there_is_none)

    reactor = SteppedReactor()
    options = ProxyOptions(("unix",), Duration(1))
    layer = ProxyFactory(BareContext(reactor, ""), Protocols(Echo), options).buildProtocol(None)
    pipe = Pipe()
    layer.makeConnection(pipe)
    assert pipe.disconnecting
    assert reactor.getDelayedCalls() == []
