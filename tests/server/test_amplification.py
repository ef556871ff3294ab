"""What a source is sent that has not proved its address."""

from __future__ import annotations

import errno
import math
from datetime import UTC
from typing import Any

import pytest
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from myserv.events import DatagramsDropped
from myserv.interfaces import IDatagramTransport
from myserv.plugin import ProtocolPlugin
from myserv.protocols.daytime.protocol import DatagramDaytime
from myserv.protocols.time.protocol import DatagramTime
from myserv.server.amplification import (
    IPV4_HEADERS,
    IPV6_HEADERS,
    REMEMBERED_FOR,
    STRANGERS_RATE,
    Amplification,
    RecentAccounts,
)
from myserv.server.datagram import DatagramListener
from myserv.server.reflection import OwnSockets
from myserv.testing import (
    MemoryDatagramEndpoint,
    RecordingObserver,
    SteppedReactor,
    hostPlugin,
)

TOO_MUCH = "it would be more than 3 times what its source sent, which has not proved its address"
STRANGERS = "it was for an address that has sent nothing, and too much was for such"

LISTENING = {False: "198.51.100.1", True: "2001:db8::53"}
"""Where a server is, over IPv4 and over IPv6."""

Address = tuple[str, int]
HERE: Address = ("192.0.2.1", 50000)
THERE: Address = ("2001:db8::1", 50000)


def address(number: int) -> Address:
    """One of many addresses."""
    return (f"198.51.100.{number // 50000}", 1024 + number % 50000)


class Silent(DatagramProtocol):
    """Says what a test lets it say."""

    transport: Any

    def __init__(self) -> None:
        self.answer: int | None = None

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if self.answer is not None:
            self.transport.write(bytes(self.answer), addr)


class Stage:
    """A protocol on a memory endpoint with a limit."""

    def __init__(self, protocol: Any = None, host: str = "198.51.100.1", **arguments: Any) -> None:
        self.reactor = SteppedReactor()
        self.observer = RecordingObserver()
        self.endpoint = MemoryDatagramEndpoint(self.reactor, (host, 7000))
        self.protocol = Silent() if protocol is None else protocol
        self.listener = DatagramListener(
            "hall",
            "udp:7000",
            self.endpoint,
            self.protocol,
            self.reactor,
            self.observer.observe,
            ownSockets=OwnSockets(),
            **arguments,
        )
        self.listener.start()

    def hear(self, size: int = 0, source: Any = HERE) -> None:
        """Receive a datagram of this size."""
        self.endpoint.peer(source).sendDatagram(bytes(size))
        self.reactor.settle()

    def say(self, size: int, destination: Any = HERE) -> bool:
        """Send a datagram of this size, outside of a delivery; whether it went."""
        before = len(self.endpoint.sent)
        # A protocol may keep an equal address that is another object.
        if isinstance(destination, tuple):
            destination = (destination[0], destination[1])
        self.protocol.transport.write(bytes(size), destination)
        return len(self.endpoint.sent) > before

    def drops(self) -> list[tuple[str, Any]]:
        return [(each.reason, each.peer) for each in self.observer.ofType(DatagramsDropped)]


class TestChannel:
    @pytest.mark.parametrize(
        ("source", "headers"),
        [
            (HERE, IPV4_HEADERS),
            (THERE, IPV6_HEADERS),
            (("::ffff:192.0.2.1", 50000), IPV4_HEADERS),
        ],
    )
    @pytest.mark.parametrize("size", [0, 100])
    def test_anAnswer(self, source: Any, headers: int, size: int) -> None:
        """Three times what came, headers and all, and not a byte more."""
        most = 3 * (size + headers) - headers
        stage = Stage(host=LISTENING[":" in source[0]])
        stage.protocol.answer = most
        stage.hear(size, source)
        assert [len(data) for data, _ in stage.endpoint.sent] == [most]
        stage.protocol.answer = most + 1
        stage.hear(size, source)
        assert len(stage.endpoint.sent) == 1
        assert stage.drops() == [(TOO_MUCH, source)]
        assert stage.listener.channel.datagramsSent == 1

    def test_laterAnswers(self) -> None:
        """What one datagram has earned may be spent in several and by the clock."""
        stage = Stage()
        stage.hear(100)
        stage.hear(100, address(1))
        assert stage.say(100)
        stage.reactor.advance(10)
        assert stage.say(100)
        assert stage.say(100)
        assert not stage.say(0)
        stage.hear(100)
        assert stage.say(356)
        assert stage.drops() == [(TOO_MUCH, HERE)]

    def test_sourcesAreApart(self) -> None:
        """What one has sent is not spent on another, be it another port."""
        stage = Stage()
        stage.hear(1000)
        other = (HERE[0], HERE[1] + 1)
        stage.hear(0, other)
        assert not stage.say(100, other)
        assert stage.say(100)

    def test_whatTheSystemRefusesIsSpent(self) -> None:
        """It may be on its way after all: the limit errs on the safe side."""
        stage = Stage()
        stage.hear(0)
        stage.endpoint.writeError = OSError(errno.ENETUNREACH, "Network is unreachable")
        assert not stage.say(56)
        stage.endpoint.writeError = None
        assert not stage.say(56)

    def test_proved(self) -> None:
        """Who has proved its address may be sent anything, until it is forgotten."""
        stage = Stage()
        transport = stage.protocol.transport
        assert verifyObject(IDatagramTransport, transport)
        stage.hear()
        assert not transport.isAddressProved(HERE)
        transport.addressProved(HERE)
        assert transport.isAddressProved(HERE)
        assert all(stage.say(1000) for _ in range(100))
        stage.protocol.answer = 60000
        stage.hear()
        assert len(stage.endpoint.sent) == 101
        transport.forgetAddress(HERE)
        assert not transport.isAddressProved(HERE)
        assert not stage.say(0)
        stage.protocol.answer = 56
        stage.hear()
        assert len(stage.endpoint.sent) == 102

    def test_strangers(self) -> None:
        """A server may send first: nobody has forged what did not come."""
        stage = Stage()
        assert all(stage.say(1000, address(i)) for i in range(100))
        assert len(stage.listener.channel._amplification.accounts) == 0  # type: ignore[union-attr]

    def test_strangersAfterAFlood(self) -> None:
        """When sources had to be forgotten, a stranger may be one of them."""
        stage = Stage()
        stage.listener.channel._amplification.accounts._half = 10  # type: ignore[union-attr]
        for i in range(21):
            stage.hear(0, address(i))
        assert stage.say(60000, HERE)
        assert not stage.say(60000, HERE)
        assert stage.drops() == [(STRANGERS, HERE)]
        stage.reactor.advance(1)
        assert stage.say(60000, HERE)

    def test_connected(self) -> None:
        """Whom the protocol itself connects to is its own choice."""
        stage = Stage()
        transport = stage.protocol.transport
        transport.connect(*HERE)
        stage.hear()
        for _ in range(10):
            transport.write(bytes(1000))
            transport.write(bytes(1000), HERE)
        assert len(stage.endpoint.sent) == 20

    @pytest.mark.parametrize("source", ["/run/client", b"\0abstract"])
    def test_unix(self, source: Any) -> None:
        """Nobody forges the name of a UNIX socket; one without a name has none."""
        stage = Stage()
        transport = stage.protocol.transport
        stage.hear(0, source)
        assert stage.say(60000, source)
        assert transport.isAddressProved(source)
        assert not transport.isAddressProved(None)
        transport.addressProved(source)
        transport.forgetAddress(source)
        assert transport.isAddressProved(source)

    def test_provesAddress(self) -> None:
        """A layer that proves addresses leaves nothing to limit."""
        stage = Stage(provesAddress=True)
        stage.hear()
        assert stage.say(60000)
        assert stage.protocol.transport.isAddressProved(HERE)
        stage.protocol.transport.addressProved(HERE)
        stage.protocol.transport.forgetAddress(HERE)
        assert stage.protocol.transport.isAddressProved(HERE)

    def test_off(self) -> None:
        """An operator may do without; that proves nothing."""
        stage = Stage(amplification=0)
        stage.hear()
        assert stage.say(60000)
        assert not stage.protocol.transport.isAddressProved(HERE)

    def test_fraction(self) -> None:
        """The limit need not be a whole number."""
        stage = Stage(amplification=1.5)
        stage.hear(100)
        assert not stage.say(165)
        assert stage.say(164)
        reason = (
            "it would be more than 1.5 times what its source sent, which has not proved its address"
        )
        assert stage.drops() == [(reason, HERE)]


class TestAmplification:
    def test_boundedUnderAFlood(self) -> None:
        """However many sources there seem to be, so many accounts there are."""
        amplification = Amplification(3, Clock().seconds, 1000)
        for i in range(100_000):
            amplification.open(address(i)).credit += 84
            assert len(amplification.accounts) <= 1000

    def test_forgottenStartsAnew(self) -> None:
        """Who was forgotten has what the next datagram earns, and no more."""
        amplification = Amplification(3, Clock().seconds, 10)
        amplification.open(HERE).credit += 84
        for i in range(10):
            amplification.open(address(i))
        assert amplification.find(HERE) is None
        assert amplification.open(HERE).credit == 0

    def test_provedOutlivesAFlood(self) -> None:
        """Forged sources push out no proved one."""
        amplification = Amplification(3, Clock().seconds, 10)
        amplification.prove(HERE)
        for i in range(1000):
            amplification.open(address(i))
        assert amplification.isProved(HERE)
        assert amplification.open(HERE).credit == math.inf

    def test_provedIsBounded(self) -> None:
        """There is room for so many proved ones; the rest is held to the limit again."""
        amplification = Amplification(3, Clock().seconds, 10)
        for i in range(1000):
            amplification.prove(address(i))
        assert not amplification.isProved(address(0))
        assert amplification.isProved(address(999))

    def test_provedTwice(self) -> None:
        """It is one, and forgotten at once; who was not proved cannot be forgotten."""
        amplification = Amplification(3, Clock().seconds, 10)
        amplification.forget(HERE)
        assert amplification.find(HERE) is None
        amplification.prove(HERE)
        amplification.prove(HERE)
        amplification.forget(HERE)
        assert not amplification.isProved(HERE)
        assert amplification.open(HERE).credit == 0

    def test_strangersShare(self) -> None:
        """Once one was forgotten too early, all strangers share a little."""
        clock = Clock()
        amplification = Amplification(3, clock.seconds, 2)
        for i in range(3):
            assert amplification.permitsStranger(10**9)
            amplification.open(address(i))
        size = int(STRANGERS_RATE) // 4 - IPV6_HEADERS
        assert [amplification.permitsStranger(size) for _ in range(5)] == [True] * 4 + [False]
        clock.advance(0.25)
        assert [amplification.permitsStranger(size) for _ in range(2)] == [True, False]
        clock.advance(1000)
        assert [amplification.permitsStranger(size) for _ in range(5)] == [True] * 4 + [False]


class TestRecentAccounts:
    def test_whoIsThereStays(self) -> None:
        """An account that is used is in every generation."""
        amplification = Amplification(3, Clock().seconds, 10)
        accounts = amplification.accounts
        account = amplification.open(HERE)
        young = accounts.young
        for i in range(100):
            amplification.open(address(i))
            assert accounts.find(HERE) is account
        assert accounts.young is young

    def test_time(self) -> None:
        """Who was silent for long is forgotten, and that is in good time."""
        clock = Clock()
        amplification = Amplification(3, clock.seconds, 10)
        accounts: RecentAccounts = amplification.accounts
        amplification.open(HERE)
        for i in range(3):
            clock.advance(REMEMBERED_FOR)
            amplification.open(address(i))
        assert accounts.find(HERE) is None
        assert len(accounts) == 2
        assert not accounts.overflowed

    def test_remove(self) -> None:
        """Whether it is young, old or not there."""
        clock = Clock()
        amplification = Amplification(3, clock.seconds, 10)
        accounts = amplification.accounts
        for addr in (HERE, THERE):
            amplification.open(addr)
            clock.advance(REMEMBERED_FOR)
        for addr in (HERE, THERE, HERE):
            accounts.remove(addr)
        assert len(accounts) == 0


@pytest.mark.parametrize("source", [HERE, THERE])
@pytest.mark.parametrize(
    "build",
    [lambda: DatagramDaytime(Clock(), UTC), lambda: DatagramTime(Clock())],
    ids=["daytime", "time"],
)
def test_builtInsAnswerEmptyDatagrams(build: Any, source: Any) -> None:
    """Daytime and time answer as their RFCs have it, again and again."""
    stage = Stage(build(), LISTENING[":" in source[0]])
    for _ in range(100):
        stage.hear(0, source)
    assert len(stage.endpoint.sent) == 100
    assert stage.drops() == []


def test_aHostedPluginMayBeTakenForProved() -> None:
    """A test can serve a protocol as if it was behind DTLS."""

    class Large(Silent):
        def __init__(self) -> None:
            self.answer = 1000

    plugin = ProtocolPlugin("large", "", datagram=Large)
    for provesAddress in (False, True):
        server = hostPlugin(plugin, provesAddress=provesAddress)
        peer = server.datagramPeer()
        peer.sendDatagram(b"")
        server.settle()
        assert len(peer.received) == provesAddress
