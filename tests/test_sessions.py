"""One object for each peer of a protocol over datagrams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import frozen
from zope.interface.verify import verifyObject

from myserv import sessions
from myserv.events import DatagramsDropped, Peer, ProtocolRaised, SessionEnd
from myserv.interfaces import IDatagramSession, IPeerObserver, ISessionTransport
from myserv.plugin import (
    DatagramSession,
    DatagramSessions,
    ProtocolPlugin,
    SessionLimits,
    SessionStatistics,
)
from myserv.testing import MemoryDatagramPeer, MemoryServer, hostPlugin

LIMITS = SessionLimits(idle=100, unproved=10, total=5, perSource=3)

FULL = "there are too many sessions"
SOURCE_FULL = "its host has too many sessions"
UNNAMED = "the sender left no address to answer to"
OCCUPIED = "its session would move to where another one is"
DISAGREED = "its session did not agree to move"


class Player(DatagramSession):
    """Does what its peer says, and writes down its life."""

    def __init__(self) -> None:
        self.log: list[Any] = []

    def sessionStarted(self) -> None:
        self.log.append(("started", self.peer))

    def datagramReceived(self, datagram: bytes) -> None:
        self.log.append(datagram)
        word, _, rest = datagram.partition(b" ")
        if word == b"say":
            self.transport.write(rest)
        elif word == b"prove":
            self.transport.addressProved()
        elif word == b"key":
            self.transport.setKey(rest)
        elif word == b"leave":
            self.transport.loseSession()
        elif word == b"raise":
            raise KeyError("oops")

    def moveRequested(self, datagram: bytes, address: Peer) -> bool:
        self.log.append(("asked", address))
        return b"forged" not in datagram

    def sessionLost(self, reason: SessionEnd) -> None:
        self.log.append(reason)
        self.transport.write(b"bye")


def keyOf(datagram: bytes, address: Peer) -> bytes | None:
    """Say what follows an "as"."""
    word, _, key = datagram.partition(b" ")
    return key.split()[0] if word == b"as" else None


class Stage:
    """A plugin of sessions, hosted, and every session it has made."""

    def __init__(
        self,
        made: Callable[[], Any] = Player,
        limits: SessionLimits = LIMITS,
        **arguments: Any,
    ) -> None:
        self.made: list[Any] = []

        def build() -> Any:
            session = made()
            self.made.append(session)
            return session

        plugin = ProtocolPlugin("game", "", session=build, sessionLimits=limits, sessionKey=keyOf)
        self.server: MemoryServer = hostPlugin(plugin, **arguments)
        listener = self.server.datagramListener
        assert listener is not None
        self.channel = listener.channel
        self.sessions: Any = listener.channel.protocol
        assert isinstance(self.sessions, DatagramSessions)

    def send(self, data: bytes, *address: Any) -> MemoryDatagramPeer:
        """Send a datagram, from a new port or from an address."""
        peer = self.server.datagramPeer(*address)
        peer.sendDatagram(data)
        self.server.settle()
        return peer

    def statistics(self) -> SessionStatistics:
        """Count the sessions."""
        statistics: SessionStatistics = self.sessions.statistics()
        return statistics

    def drops(self) -> list[tuple[str, Any]]:
        """Tell what was dropped, once for each reason."""
        return [(each.reason, each.peer) for each in self.server.observer.ofType(DatagramsDropped)]

    def raised(self) -> list[tuple[str, Any]]:
        """Tell what raised."""
        return [(each.during, each.peer) for each in self.server.observer.ofType(ProtocolRaised)]

    def ends(self) -> list[list[SessionEnd]]:
        """Tell how each session heard of its end, and how often."""
        return [[each for each in made.log if isinstance(each, SessionEnd)] for made in self.made]


@pytest.fixture
def stage() -> Stage:
    """A hosted plugin of sessions."""
    return Stage()


def host(number: int, port: int = 50000) -> tuple[str, int]:
    """One of many hosts."""
    return (f"203.0.113.{number}", port)


class TestLife:
    def test_onePerPeer(self, stage: Stage) -> None:
        """Each peer has its own, from the first datagram on."""
        first = stage.send(b"one")
        second = stage.send(b"two")
        stage.send(b"three", first.address)
        one, two = stage.made
        assert one.log == [("started", first.address), b"one", b"three"]
        assert two.log == [("started", second.address), b"two"]
        assert list(stage.sessions) == [one, two]
        assert len(stage.sessions) == 2
        assert stage.statistics() == SessionStatistics(2, 0, 2, 0, 0, {})

    def test_contracts(self, stage: Stage) -> None:
        """Everybody keeps what is promised of it."""
        stage.send(b"hello")
        [player] = stage.made
        assert verifyObject(IDatagramSession, player)
        assert verifyObject(IDatagramSession, _started(DatagramSession()))
        assert verifyObject(ISessionTransport, player.transport)
        assert verifyObject(IPeerObserver, stage.sessions)

    def test_write(self, stage: Stage) -> None:
        """What a session writes goes to its peer."""
        peer = stage.send(b"say hello")
        assert peer.received == [b"hello"]

    def test_leave(self, stage: Stage) -> None:
        """A session may end; its peer's next datagram begins another."""
        peer = stage.send(b"leave")
        assert stage.ends() == [[SessionEnd.CLOSED]]
        stage.send(b"again", peer.address)
        assert stage.made[1].log == [("started", peer.address), b"again"]
        assert stage.statistics().ended == {SessionEnd.CLOSED: 1}

    def test_lastWord(self, stage: Stage) -> None:
        """It may say goodbye when it hears of its end; later it has nothing to say."""
        peer = stage.send(b"leave")
        [player] = stage.made
        assert peer.received == [b"bye"]
        player.transport.write(b"late")
        player.transport.addressProved()
        player.transport.setKey(b"k")
        player.transport.loseSession()
        assert peer.received == [b"bye"]
        assert stage.ends() == [[SessionEnd.CLOSED]]
        stage.send(b"as k", peer.address)
        assert len(stage.made) == 2

    def test_endsAtOnce(self) -> None:
        """One that ends when it starts is not given the datagram."""

        class Shy(Player):
            def sessionStarted(self) -> None:
                self.transport.loseSession()

        stage = Stage(Shy)
        stage.send(b"hello")
        assert stage.made[0].log == [SessionEnd.CLOSED]
        assert len(stage.sessions) == 0

    def test_stop(self, stage: Stage) -> None:
        """When the listener stops they are told while they can still write."""
        peers = [stage.send(b"hello"), stage.send(b"prove")]
        stage.server.stop()
        assert stage.ends() == [[SessionEnd.STOPPED]] * 2
        assert [peer.received for peer in peers] == [[b"bye"]] * 2
        assert stage.server.reactor.getDelayedCalls() == []
        stage.server.start()
        stage.send(b"hello", peers[0].address)
        assert stage.made[2].log == [("started", peers[0].address), b"hello"]

    def test_nothingBeginsAtTheEnd(self, stage: Stage) -> None:
        """A listener that is about to close begins no session."""
        stage.sessions.drainRequested(0.0)
        stage.send(b"hello")
        assert stage.made == []
        assert stage.statistics().refused == 1

    def test_portFails(self, stage: Stage) -> None:
        """A socket that is lost ends them, too; nobody can write any more."""
        peer = stage.send(b"prove")
        stage.channel.doStop()
        assert stage.ends() == [[SessionEnd.STOPPED]]
        assert peer.received == []

    def test_peerLost(self, stage: Stage) -> None:
        """When a layer loses a peer, its session is over; others do not notice."""
        peer = stage.send(b"hello")
        stage.send(b"hello")
        stage.channel.peerLost(peer.address)
        stage.channel.peerLost(peer.address)
        stage.channel.peerLost(("192.0.2.99", 1))
        assert stage.ends() == [[SessionEnd.PEER_LOST], []]

    def test_unnamed(self, stage: Stage) -> None:
        """A UNIX socket without a name is nobody."""
        for name in (None, "", b""):
            stage.send(b"hello", name)
        assert stage.made == []
        assert [reason for reason, _ in stage.drops()] == [UNNAMED]

    def test_unix(self, stage: Stage) -> None:
        """A UNIX socket is its own proof, and not one of many on a host."""
        for i in range(4):
            stage.send(b"hello", f"/run/client-{i}")
        assert stage.statistics().proved == 4
        stage.send(b"prove", "/run/client-0")
        assert stage.statistics().proved == 4

    def test_behindAProvingLayer(self) -> None:
        """Through such as DTLS every session is proved from the start."""
        stage = Stage(provesAddress=True)
        peer = stage.send(b"say " + b"x" * 1000)
        stage.made[0].transport.write(b"y" * 10000)
        assert [len(each) for each in peer.received] == [1000, 10000]
        assert stage.statistics().proved == 1


def _started(session: DatagramSession) -> DatagramSession:
    session.transport = sessions.SessionTransport(Stage().sessions, host(1), sessions.Source(None))
    return session


class TestRaising:
    """A session that raises ends itself and nobody else."""

    def test_datagramReceived(self, stage: Stage) -> None:
        """Its peer's next datagram begins another one."""
        other = stage.send(b"hello")
        peer = stage.send(b"raise")
        assert stage.raised() == [("datagramReceived", peer.address)]
        assert stage.ends() == [[], [SessionEnd.RAISED]]
        stage.send(b"more", other.address)
        stage.send(b"more", peer.address)
        assert stage.made[0].log[-1] == b"more"
        assert stage.made[2].log == [("started", peer.address), b"more"]

    @pytest.mark.parametrize("error", [KeyError, SystemExit, KeyboardInterrupt])
    @pytest.mark.parametrize("method", ["sessionStarted", "moveRequested"])
    def test_otherMethods(self, method: str, error: type[BaseException]) -> None:
        """Wherever it is, and were it an exit: no peer may end the server."""

        class Broken(Player):
            pass

        def broken(self: Any, *arguments: Any) -> None:
            raise error("oops")

        setattr(Broken, method, broken)
        stage = Stage(Broken)
        stage.send(b"key k", host(1))
        stage.send(b"as k", host(2))
        assert stage.raised()[0] == (method, host(1))
        assert stage.ends()[0] == [SessionEnd.RAISED]

    def test_sessionLost(self) -> None:
        """It is not told again."""
        calls = []

        class Broken(Player):
            def sessionLost(self, reason: SessionEnd) -> None:
                calls.append(reason)
                raise KeyError("oops")

        stage = Stage(Broken)
        peer = stage.send(b"leave")
        assert calls == [SessionEnd.CLOSED]
        assert stage.raised() == [("sessionLost", peer.address)]
        assert stage.statistics() == SessionStatistics(0, 0, 1, 0, 0, {SessionEnd.CLOSED: 1})

    @pytest.mark.parametrize("error", [KeyError, SystemExit])
    def test_theClass(self, error: type[BaseException]) -> None:
        """One that cannot be made costs its datagram."""

        def broken() -> None:
            raise error("oops")

        stage = Stage(broken)
        peer = stage.send(b"hello")
        assert stage.raised() == [("session", peer.address)]
        assert stage.statistics() == SessionStatistics(0, 0, 0, 0, 0, {})

    def test_sessionKey(self, stage: Stage) -> None:
        """One that chokes on what anybody sent costs that datagram."""
        peer = stage.send(b"as ")
        assert stage.raised() == [("datagramReceived", peer.address)]
        assert stage.made == []


class TestTime:
    def test_idle(self, stage: Stage) -> None:
        """A silent peer's session ends, a proved one's later."""
        stage.send(b"hello")
        stage.send(b"prove")
        stage.server.advance(9.9)
        assert stage.ends() == [[], []]
        stage.server.advance(0.1)
        assert stage.ends() == [[SessionEnd.IDLE], []]
        stage.server.advance(89.9)
        assert stage.ends() == [[SessionEnd.IDLE], []]
        stage.server.advance(0.1)
        assert stage.ends() == [[SessionEnd.IDLE], [SessionEnd.IDLE]]
        assert stage.server.reactor.getDelayedCalls() == []

    @pytest.mark.parametrize("first", [b"hello", b"prove"])
    def test_heard(self, stage: Stage, first: bytes) -> None:
        """Whoever is heard stays, and exactly as long as from then on."""
        limit = LIMITS.idle if first == b"prove" else LIMITS.unproved
        peer = stage.send(first)
        other = stage.send(first)
        for _ in range(5):
            stage.server.advance(limit - 1)
            stage.send(b"still here", peer.address)
        assert stage.ends() == [[], [SessionEnd.IDLE]]
        stage.server.advance(limit - 0.1)
        assert stage.ends()[0] == []
        stage.server.advance(0.1)
        assert stage.ends()[0] == [SessionEnd.IDLE]
        assert other.received == [b"bye"]

    def test_oneTimer(self, stage: Stage) -> None:
        """There is one for all of them, and none per datagram."""
        peers = [stage.send(word) for word in (b"prove", b"hello", b"hello")]
        [timer] = stage.server.reactor.getDelayedCalls()
        due = timer.getTime()
        assert due == LIMITS.unproved
        stage.server.advance(1)
        for peer in peers:
            stage.send(b"more", peer.address)
        assert stage.server.reactor.getDelayedCalls() == [timer]
        assert timer.getTime() == due

    def test_provedForLess(self) -> None:
        """An author may want proved sessions to end sooner."""
        stage = Stage(limits=SessionLimits(idle=1, unproved=10))
        stage.send(b"prove")
        stage.server.advance(1)
        assert stage.ends() == [[SessionEnd.IDLE]]

    def test_endingOthers(self) -> None:
        """A session may end others when it hears of its end."""

        class Leader(Player):
            def sessionLost(self, reason: SessionEnd) -> None:
                super().sessionLost(reason)
                for each in hall.sessions:
                    each.transport.loseSession()

        hall = Stage(Leader)
        for _ in range(3):
            hall.send(b"hello")
        hall.server.advance(10)
        assert hall.ends() == [[SessionEnd.IDLE], [SessionEnd.CLOSED], [SessionEnd.CLOSED]]
        assert hall.server.reactor.getDelayedCalls() == []


class TestRoom:
    def test_total(self, stage: Stage) -> None:
        """Where there is no room, the unproved go first: the longest silent of them."""
        for i in range(5):
            stage.send(b"prove" if i == 0 else b"hello", host(i))
        stage.send(b"more", host(1))
        stage.send(b"hello", host(5))
        stage.send(b"hello", host(6))
        assert stage.ends() == [[], [], [SessionEnd.DISPLACED], [SessionEnd.DISPLACED], [], [], []]
        assert len(stage.sessions) == 5
        assert stage.drops() == []

    def test_allProved(self, stage: Stage) -> None:
        """Where all are proved, nobody else is let in."""
        for i in range(5):
            stage.send(b"prove", host(i))
        stage.send(b"hello", host(5))
        assert stage.drops() == [(FULL, host(5))]
        assert stage.statistics() == SessionStatistics(5, 5, 5, 0, 1, {})

    def test_perSource(self, stage: Stage) -> None:
        """One host has so many; its own unproved go, nobody else's."""
        stage.send(b"hello", host(1))
        for port in range(50000, 50003):
            stage.send(b"hello", host(2, port))
        stage.send(b"more", host(2, 50000))
        stage.send(b"hello", host(2, 50003))
        assert stage.ends() == [[], [], [SessionEnd.DISPLACED], [], []]
        for port in (50000, 50002, 50003):
            stage.send(b"prove", host(2, port))
        stage.send(b"hello", host(2, 50004))
        assert stage.drops() == [(SOURCE_FULL, host(2, 50004))]
        stage.send(b"leave", host(2, 50000))
        stage.send(b"hello", host(2, 50004))
        assert len(stage.made) == 6

    def test_oneOnly(self) -> None:
        """A limit of one is one that a newcomer takes over."""
        stage = Stage(limits=SessionLimits(perSource=1))
        for port in range(50000, 50003):
            stage.send(b"hello", host(1, port))
        assert stage.ends() == [[SessionEnd.DISPLACED], [SessionEnd.DISPLACED], []]
        assert len(stage.sessions._sources) == 1

    @pytest.mark.parametrize(
        ("hosts", "count"),
        [
            (["192.0.2.1", "192.0.2.2"], 2),
            (["192.0.2.1", "::ffff:192.0.2.1"], 1),
            (["::ffff:192.0.2.1", "::ffff:192.0.2.2"], 2),
            (["2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff"], 1),
            (["2001:db8::1", "2001:db8:0:1::1"], 2),
            (["fe80::1%eth0", "fe80::2"], 1),
        ],
    )
    def test_sources(self, hosts: list[str], count: int) -> None:
        """An IPv6 /64 is one network, an IPv4 address is itself in either notation."""
        assert len({sessions._sourceName((each, 1)) for each in hosts}) == count

    def test_flood(self) -> None:
        """Forged sources cost bounded memory, no proved session, and each is told of its end."""
        stage = Stage(limits=SessionLimits(total=100))
        proved = [stage.send(b"prove", host(i)) for i in range(50)]
        peer = self.flood(stage)
        assert len(stage.sessions) == 100
        assert len(stage.sessions._sources) == 100
        assert stage.statistics().proved == 50
        assert stage.statistics().ended == {SessionEnd.DISPLACED: 5000 - 50}
        stage.send(b"say hello", proved[0].address)
        assert proved[0].take() == [b"hello"]
        stage.server.stop()
        assert [len(each) for each in stage.ends()] == [1] * 5050
        assert stage.sessions._sources == {}
        assert peer.received == [b"bye"]

    def flood(self, stage: Stage) -> MemoryDatagramPeer:
        for i in range(5000):
            address = (f"198.18.{i // 250}.{i % 250}", 50000)
            peer = stage.server.datagramPeer(address)
            peer.sendDatagram(b"x")
            if i % 100 == 0:
                stage.server.settle()
        stage.server.settle()
        return peer

    def test_newcomersInAFlood(self) -> None:
        """An honest peer that proves itself in time stays."""
        stage = Stage(limits=SessionLimits(total=100))
        self.flood(stage)
        honest = stage.send(b"hello", host(1))
        stage.send(b"prove", honest.address)
        self.flood(stage)
        stage.send(b"say hello", honest.address)
        assert honest.received == [b"hello"]

    @pytest.mark.parametrize("limit", ["idle", "unproved", "total", "perSource"])
    def test_limitsThatAreNone(self, limit: str) -> None:
        """No limit can be nothing."""
        arguments: dict[str, Any] = {limit: 0}
        with pytest.raises(ValueError, match=f"{limit} has to be more than 0, and is 0"):
            SessionLimits(**arguments)


class TestProof:
    def test_unproved(self, stage: Stage) -> None:
        """Three times what it sent is all that is sent to an unproved peer."""
        peer = stage.send(b"say " + b"x" * 96)
        stage.made[0].transport.write(b"x" * 1000)
        assert len(peer.received) == 1
        assert stage.drops()[0][1] == peer.address

    def test_proved(self, stage: Stage) -> None:
        """A proved one may be sent anything, until its session ends."""
        peer = stage.send(b"prove")
        [player] = stage.made
        assert player.transport.isProved
        player.transport.addressProved()
        player.transport.write(b"x" * 10000)
        assert len(peer.take()) == 1
        assert stage.channel.isAddressProved(peer.address)
        stage.send(b"leave", peer.address)
        assert not stage.channel.isAddressProved(peer.address)
        stage.send(b"hello", peer.address)
        stage.made[1].transport.write(b"x" * 10000)
        assert peer.take() == [b"bye"]


class TestMoving:
    def test_aNewAddress(self, stage: Stage) -> None:
        """A datagram with its key from elsewhere moves a session there."""
        stage.send(b"key k", host(1))
        stage.send(b"prove", host(1))
        peer = stage.send(b"as k", host(2))
        [player] = stage.made
        assert player.log[3:] == [("asked", host(2)), b"as k"]
        assert player.peer == host(2)
        player.transport.write(b"here")
        assert peer.received == [b"here"]
        assert stage.statistics() == SessionStatistics(1, 1, 1, 1, 0, {})
        # The new address has to prove itself, the old one is anybody's.
        player.transport.write(b"x" * 10000)
        assert peer.received == [b"here"]
        assert not stage.channel.isAddressProved(host(1))
        stage.send(b"hello", host(1))
        assert len(stage.made) == 2

    def test_backAgain(self, stage: Stage) -> None:
        """It may move as often as it is asked to; its sources are counted right."""
        stage.send(b"key k", host(1))
        for i in (2, 1, 1, 3):
            stage.send(b"as k", host(i))
        assert len(stage.made) == 1
        assert stage.statistics().moved == 3
        stage.send(b"as k", host(3, 50001))
        assert {name: each.count for name, each in stage.sessions._sources.items()} == {
            "203.0.113.3": 1
        }
        stage.server.advance(10)
        assert stage.ends() == [[SessionEnd.IDLE]]
        assert stage.sessions._sources == {}

    def test_disagrees(self, stage: Stage) -> None:
        """A session that does not take the datagram for its peer's stays where it is."""
        stage.send(b"key k", host(1))
        stage.send(b"as k forged", host(2))
        assert stage.made[0].peer == host(1)
        assert stage.drops() == [(DISAGREED, host(2))]
        assert len(stage.made) == 1

    def test_byDefault(self) -> None:
        """A session that does not say how it knows its peer stays where it is."""
        assert not DatagramSession().moveRequested(b"", host(1))

    def test_occupied(self, stage: Stage) -> None:
        """Nobody takes the address of another's session by forging it."""
        stage.send(b"key k", host(1))
        stage.send(b"hello", host(2))
        stage.send(b"as k", host(2))
        assert stage.drops() == [(OCCUPIED, host(2))]
        assert stage.made[1].log == [("started", host(2)), b"hello"]
        assert stage.ends() == [[], []]

    def test_unnamed(self, stage: Stage) -> None:
        """Nor does one move to no address."""
        stage.send(b"key k", "/run/client")
        stage.send(b"as k", None)
        assert stage.drops() == [(UNNAMED, None)]
        stage.send(b"as k", "/run/other")
        assert stage.made[0].peer == "/run/other"

    def test_fullHost(self, stage: Stage) -> None:
        """Nor to a host that has as many as it may."""
        stage.send(b"key k", host(1))
        for port in range(50000, 50003):
            stage.send(b"prove", host(2, port))
        stage.send(b"as k", host(2, 50003))
        assert stage.drops() == [(SOURCE_FULL, host(2, 50003))]
        stage.send(b"leave", host(2))
        stage.send(b"as k", host(2, 50003))
        assert stage.made[0].peer == host(2, 50003)

    def test_endsWhenAsked(self) -> None:
        """A session may end rather than answer."""

        class Fickle(Player):
            def moveRequested(self, datagram: bytes, address: Peer) -> bool:
                self.transport.loseSession()
                return True

        stage = Stage(Fickle)
        stage.send(b"key k", host(1))
        stage.send(b"as k", host(2))
        assert stage.ends() == [[SessionEnd.CLOSED]]

    def test_keys(self, stage: Stage) -> None:
        """A session has one key, and a key one session."""
        stage.send(b"key k", host(1))
        [player] = stage.made
        player.transport.setKey(b"k")
        player.transport.setKey(b"m")
        stage.send(b"key k", host(2))
        with pytest.raises(ValueError, match="another session has this key"):
            player.transport.setKey(b"k")
        stage.send(b"as m", host(3))
        assert player.peer == host(3)
        player.transport.setKey(None)
        stage.send(b"as m", host(1))
        assert len(stage.made) == 3

    def test_unknownKey(self, stage: Stage) -> None:
        """A key of nobody's is a beginning like any other."""
        stage.send(b"as k", host(1))
        assert stage.made[0].log == [("started", host(1)), b"as k"]


def test_sharing() -> None:
    """Sessions that share something are built by a function, once for each endpoint."""

    class Talker(DatagramSession):
        def __init__(self, room: list[bytes]) -> None:
            self.room = room

        def datagramReceived(self, datagram: bytes) -> None:
            self.room.append(datagram)
            self.transport.write(b" ".join(self.room))

    def buildRoom(context: Any, options: Any) -> DatagramSessions:
        room: list[bytes] = []
        return DatagramSessions(context, lambda: Talker(room))

    @frozen
    class NoOptions:
        pass

    server = hostPlugin(ProtocolPlugin("room", "", datagram=buildRoom, optionsType=NoOptions))
    peers = [server.datagramPeer(), server.datagramPeer()]
    for word, peer in zip((b"a", b"b"), peers, strict=True):
        peer.sendDatagram(word)
        server.settle()
    assert [peer.received for peer in peers] == [[b"a"], [b"a b"]]
