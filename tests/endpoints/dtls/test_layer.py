"""Associations with many peers over one port."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IUDPTransport
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer
from zope.interface.verify import verifyObject

from myserv.endpoints.dtls.cookies import ROTATION
from myserv.endpoints.dtls.layer import (
    BROKEN_HELLO,
    EMPTY,
    FULL,
    HOST_FULL,
    LATE_HELLO,
    NO_PEER,
    NOT_DTLS,
    NOT_FROM_PEER,
    STRANGER,
    TOO_LARGE,
    UNNAMED,
)
from myserv.endpoints.dtls.records import MAXIMUM_PLAIN
from myserv.events import AssociationEnded, DatagramsDropped, ProtocolRaised
from myserv.interfaces import IDrainable, IPeerObserver, IReloadable
from tests.endpoints.dtls.stage import Client, Echo, Stage, clientContext, staged

HOST = "192.0.2.7"
ADDRESS = (HOST, 5000)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """An echo over DTLS; when the test is over nothing may be left of it."""
    with staged(tmp_path) as made:
        yield made


def helloOf(client: Client) -> bytes:
    """A client's first datagram, which is not sent."""
    with pytest.raises(SSL.WantReadError):
        client.connection.do_handshake()
    [datagram] = client.datagrams()
    return datagram


class TestHandshake:
    def test_echo(self, stage: Stage) -> None:
        """An unmodified protocol answers a client, under the address that it has."""
        client = stage.connected(ADDRESS)
        client.write(b"hello")
        client.write(b"world")
        stage.settle()
        assert client.received == [b"hello", b"world"]
        assert stage.protocol.received == [(b"hello", ADDRESS), (b"world", ADDRESS)]
        assert stage.started() == [ADDRESS]
        assert stage.layer.associations == 1
        assert stage.layer.handshakes == 0

    def test_nothingInTheOpen(self, stage: Stage) -> None:
        """What is said is not on the wire."""
        client = stage.connected()
        client.write(b"hello, hello")
        stage.settle()
        assert not any(b"hello" in each for each, _ in stage.endpoint.sent)

    def test_many(self, stage: Stage) -> None:
        """Each peer has its own association."""
        clients = [stage.connected() for _ in range(20)]
        for number, client in enumerate(clients):
            client.write(b"%d" % number)
        stage.settle()
        assert [client.received for client in clients] == [[b"%d" % each] for each in range(20)]

    def test_version(self, stage: Stage) -> None:
        """It is DTLS 1.2, with authenticated encryption and forward secrecy."""
        connection = stage.connected().connection
        assert connection.get_protocol_version_name() == "DTLSv1.2"
        cipher = connection.get_cipher_name()
        assert cipher is not None
        assert cipher.startswith("ECDHE-")
        assert "GCM" in cipher or "POLY1305" in cipher

    @pytest.mark.parametrize("ciphers", [b"ECDHE-ECDSA-AES128-SHA256", b"AES128-GCM-SHA256"])
    def test_weakCiphers(self, stage: Stage, ciphers: bytes) -> None:
        """A client that knows nothing better is told so, and is no peer."""
        client = stage.client(context=clientContext(ciphers=ciphers))
        client.begin()
        stage.settle()
        assert client.error is not None
        assert stage.failures() == ["no shared cipher"]
        assert stage.layer.handshakesFailed == 1
        stage.assertNothingHeld()

    def test_weakGroup(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        """A key exchange that is not recommended is refused before it is used."""
        monkeypatch.setattr("myserv.endpoints.dtls.association.GROUPS", frozenset({"x448"}))
        client = stage.client()
        client.begin()
        stage.settle()
        assert client.error is not None
        assert "handshake failure" in str(client.error)
        [failure] = stage.failures()
        assert failure.startswith("the key exchange ")
        stage.assertNothingHeld()

    def test_dataBehindTheHandshake(self, stage: Stage) -> None:
        """What overtakes the end of a handshake is delivered when that is over."""
        client = stage.client(ADDRESS)
        client.peer.sendDatagram(helloOf(client))
        stage.reactor.settle()
        client.take(client.peer.take())
        for each in client.datagrams():
            client.peer.sendDatagram(each)
        stage.reactor.settle()
        client.take(client.peer.take())
        last = client.datagrams()
        client.peer.sendDatagram(b"".join(last))
        stage.reactor.settle()
        # Its answer is lost, so the client asks for it again.
        client.peer.take()
        assert stage.layer.associations == 1
        assert not client.isOpen
        stage.advance(1.2)
        assert client.isOpen
        client.write(b"hello")
        stage.settle()
        assert client.received == [b"hello"]

    def test_resumption(self, stage: Stage) -> None:
        """A client that has a ticket resumes, and it costs no second certificate."""
        context = clientContext()
        client = stage.connected(context=context)
        session = client.connection.get_session()
        assert session is not None
        client.close()
        stage.settle()
        before = sum(len(each) for each, _ in stage.endpoint.sent)
        again = stage.client(context=context)
        again.connection.set_session(session)
        again.begin()
        stage.settle()
        assert again.isOpen
        assert sum(len(each) for each, _ in stage.endpoint.sent) - before < 400
        again.write(b"hello")
        stage.settle()
        assert again.received == [b"hello"]

    def test_tooLong(self, tmp_path: Path) -> None:
        """A handshake has a deadline, whatever is retransmitted meanwhile."""
        with staged(tmp_path, handshakeTimeout="10s") as stage:
            client = stage.client(ADDRESS)
            client.begin()
            stage.reactor.settle()
            client.pump()
            stage.reactor.settle()
            stage.clients.clear()
            assert stage.layer.handshakes == 1
            sent = len(stage.endpoint.sent)
            stage.advance(9.9)
            # After one, two and four seconds.
            flights = (len(stage.endpoint.sent) - sent) / (sent - 1)
            assert flights == 3
            assert stage.failures() == []
            assert len(stage.reactor.getDelayedCalls()) == 2
            stage.advance(0.2)
            assert stage.failures() == ["it took too long"]
            stage.assertNothingHeld()

    def test_smallDatagrams(self, tmp_path: Path) -> None:
        """A handshake fits through a narrow path, both ways."""
        with staged(tmp_path, mtu=256) as stage:
            client = stage.connected(mtu=256)
            assert max(len(each) for each, _ in stage.endpoint.sent) <= 256
            client.write(b"hello")
            stage.settle()
            assert client.received == [b"hello"]

    def test_fragmentedHello(self, stage: Stage) -> None:
        """A ClientHello may come in fragments, as soon as the first has the cookie."""
        context = clientContext()
        context.set_alpn_protos([b"p%d" % each for each in range(100)])
        client = stage.connected(context=context, mtu=256)
        assert len(client.sent) > 4
        client.write(b"hello")
        stage.settle()
        assert client.received == [b"hello"]


class TestCookie:
    def test_noState(self, stage: Stage) -> None:
        """Sources that never show a cookie leave nothing, and get less than they sent."""
        hello = helloOf(stage.client())
        for number in range(1000):
            stage.endpoint.peer((f"198.51.100.{number % 250}", 1024 + number)).sendDatagram(hello)
        stage.reactor.settle(2000)
        assert len(stage.endpoint.sent) == 1000
        assert all(len(each) < len(hello) for each, _ in stage.endpoint.sent)
        assert stage.layer.verifyRequests == 1000
        assert stage.layer.handshakesStarted == 0
        assert stage.drops() == []
        stage.assertNothingHeld()

    def test_anothersCookie(self, stage: Stage) -> None:
        """A cookie is good for the address that it was sent to."""
        client = stage.client(ADDRESS)
        client.begin()
        stage.reactor.settle()
        client.take(client.peer.take())
        [shown] = client.datagrams()
        for other in ((HOST, 5001), ("192.0.2.8", 5000)):
            peer = stage.endpoint.peer(other)
            peer.sendDatagram(shown)
            stage.reactor.settle()
            [answer] = peer.received
            assert len(answer) == 44
        stage.assertNothingHeld()
        client.peer.sendDatagram(shown)
        stage.reactor.settle()
        assert stage.layer.handshakes == 1

    def test_oldCookie(self, stage: Stage) -> None:
        """One that has been kept too long is not good any more."""
        client = stage.client(ADDRESS)
        client.begin()
        stage.reactor.settle()
        client.take(client.peer.take())
        [shown] = client.datagrams()
        stage.clients.clear()
        stage.advance(2 * ROTATION + 1)
        client.peer.sendDatagram(shown)
        stage.reactor.settle()
        stage.assertNothingHeld()
        assert stage.layer.verifyRequests == 2

    def test_brokenHello(self, stage: Stage) -> None:
        """A good cookie does not make a good ClientHello."""
        client = stage.client(ADDRESS)
        client.begin()
        stage.reactor.settle()
        client.take(client.peer.take())
        [shown] = client.datagrams()
        # The record says handshake, its message says that it is the third.
        client.peer.sendDatagram(shown[:18] + b"\7" + shown[19:])
        stage.reactor.settle()
        assert stage.drops() == [(BROKEN_HELLO, 1, ADDRESS)]
        stage.assertNothingHeld()

    def test_unnamed(self, stage: Stage) -> None:
        """Whom nobody can answer is not answered."""
        peer = stage.endpoint.peer("")
        peer.sendDatagram(helloOf(stage.client()))
        stage.reactor.settle()
        assert stage.drops() == [(UNNAMED, 1, "")]
        assert stage.endpoint.sent == []

    def test_pathOfASocket(self, stage: Stage) -> None:
        """UNIX sockets have names instead."""
        client = stage.connected("/run/peer")
        client.write(b"hello")
        stage.settle()
        assert client.received == [b"hello"]


class TestJunk:
    JUNK = (b"", b"hello", bytes(100), b"\x16\xfe\xff" + bytes(10), b"\x17\xfe\xfd" + b"\xff" * 30)

    def test_before(self, stage: Stage) -> None:
        """What is not DTLS is counted and not answered."""
        peer = stage.endpoint.peer(ADDRESS)
        for each in self.JUNK:
            peer.sendDatagram(each)
        stage.reactor.settle()
        assert peer.received == []
        assert stage.layer.drops.total == {NOT_DTLS: len(self.JUNK)}
        assert stage.drops() == [(NOT_DTLS, 1, ADDRESS)]

    def test_stranger(self, stage: Stage) -> None:
        """Records without an association are counted and not answered."""
        client = stage.connected()
        peer = stage.endpoint.peer(ADDRESS)
        peer.sendDatagram(client.encrypt(b"hello"))
        peer.sendDatagram(helloOf(stage.client())[:13] + b"\2" + bytes(180))
        stage.reactor.settle()
        assert peer.received == []
        assert stage.layer.drops.total == {STRANGER: 1, NOT_DTLS: 1}

    def test_during(self, stage: Stage) -> None:
        """It disturbs no handshake."""
        client = stage.client(ADDRESS)
        client.begin()
        while not client.isOpen:
            for each in self.JUNK:
                stage.endpoint.peer(ADDRESS).sendDatagram(each)
            stage.reactor.settle()
            client.pump()
        assert stage.layer.associations == 1

    def test_after(self, stage: Stage) -> None:
        """It disturbs no association, and nor does what somebody else encrypted."""
        client, other = stage.connected(ADDRESS), stage.connected()
        forged = client.encrypt(b"hello")
        for each in (
            *self.JUNK,
            other.encrypt(b"hello"),
            forged[:-1] + bytes((forged[-1] ^ 1,)),
            # An alert from before there were keys: unexpected_message, fatal.
            b"\x15\xfe\xfd" + bytes(9) + b"\2\2\x0a",
        ):
            client.peer.sendDatagram(each)
        stage.reactor.settle()
        assert stage.protocol.received == []
        assert stage.layer.drops.total == {NOT_DTLS: len(self.JUNK), NOT_FROM_PEER: 2}
        client.write(b"still here")
        stage.settle()
        assert client.received == [b"still here"]

    def test_replay(self, stage: Stage) -> None:
        """What comes twice is delivered once, in whatever order it comes."""
        client = stage.connected()
        datagrams = [client.encrypt(b"%d" % each) for each in range(10)]
        for each in (*reversed(datagrams), *datagrams):
            client.peer.sendDatagram(each)
        stage.settle()
        assert client.received == [b"%d" % each for each in reversed(range(10))]
        assert stage.layer.drops.total == {NOT_FROM_PEER: 10}

    def test_severalRecords(self, stage: Stage) -> None:
        """Several records may come in one datagram."""
        client = stage.connected()
        client.peer.sendDatagram(client.encrypt(b"one") + client.encrypt(b"two"))
        stage.settle()
        assert client.received == [b"one", b"two"]

    def test_renegotiation(self, stage: Stage) -> None:
        """A peer cannot make us shake hands again and again."""
        client = stage.connected()
        client.connection.renegotiate()
        with pytest.raises(SSL.Error):
            client.connection.do_handshake()
        for each in client.datagrams():
            client.peer.sendDatagram(each)
        stage.settle()
        assert stage.layer.handshakesStarted == 1


class TestRestart:
    """A peer that begins anew from the port that it had (RFC 6347, 4.2.8)."""

    def test_replaces(self, stage: Stage) -> None:
        """The new association replaces the old one."""
        old = stage.connected(ADDRESS)
        stage.clients.remove(old)
        new = stage.connected(ADDRESS)
        new.write(b"hello")
        stage.settle()
        assert new.received == [b"hello"]
        assert stage.reasons() == ["the peer began anew"]
        assert stage.layer.associations == 1
        assert stage.layer.hosts == {HOST: 1}

    def test_onlyWhenProved(self, stage: Stage) -> None:
        """Until then the old one serves on, and it outlives a handshake that fails."""
        old = stage.connected(ADDRESS)
        new = Client(old.peer)
        new.begin()
        stage.reactor.settle()
        new.take(new.peer.take())
        for each in new.datagrams():
            new.peer.sendDatagram(each)
        stage.reactor.settle()
        assert (stage.layer.associations, stage.layer.handshakes) == (1, 1)
        old.peer.take()
        old.write(b"still here")
        stage.settle()
        assert old.received == [b"still here"]
        stage.clients.clear()
        stage.advance(11)
        assert stage.failures() == ["it took too long"]
        old.write(b"and here")
        stage.clients.append(old)
        stage.settle()
        assert old.received[-1] == b"and here"
        assert stage.layer.hosts == {HOST: 1}

    def test_forgedHello(self, stage: Stage) -> None:
        """A forged ClientHello is asked for a cookie, and changes nothing."""
        client = stage.connected(ADDRESS)
        client.peer.sendDatagram(helloOf(Client(client.peer)))
        stage.reactor.settle()
        assert stage.layer.handshakes == 0
        client.peer.take()
        client.write(b"hello")
        stage.settle()
        assert client.received == [b"hello"]

    def test_dataThatCameEarly(self, stage: Stage) -> None:
        """Of the new one, too, what overtakes its handshake is delivered."""
        stage.clients.remove(stage.connected(ADDRESS))
        new = stage.client(ADDRESS)
        new.begin()
        held: list[bytes] = []
        send = new.peer.sendDatagram
        while not held:
            stage.reactor.settle()
            new.take(new.peer.take())
            for each in new.datagrams():
                # The second flight ends in a Finished, with keys.
                (held.append if b"\x14\xfe\xfd" in each else send)(each)
        whole = b"".join(held)
        finished = whole.index(b"\x16\xfe\xfd\0\1")
        # Finished, then the rest before it.
        send(whole[finished:])
        send(b"\x17\xfe\xfd\0\1" + bytes(5) + b"\2" + b"\0\x20" + bytes(32))
        send(whole[:finished])
        stage.settle()
        assert new.isOpen
        assert stage.reasons() == ["the peer began anew"]

    def test_duringAHandshake(self, stage: Stage) -> None:
        """A peer may give up a handshake and begin another."""
        first = stage.client(ADDRESS)
        first.begin()
        stage.reactor.settle()
        first.pump()
        stage.reactor.settle()
        assert stage.layer.handshakes == 1
        stage.clients.clear()
        first.peer.take()
        second = stage.connected(ADDRESS)
        second.write(b"hello")
        stage.settle()
        assert second.received == [b"hello"]
        assert stage.layer.hosts == {HOST: 1}
        assert stage.layer.handshakesStarted == 2
        assert stage.failures() == []

    def test_lateHello(self, stage: Stage) -> None:
        """A ClientHello that the network delivers once more begins nothing."""
        client = stage.connected(ADDRESS)
        [again] = [each for each in client.sent if each[13] == 1][1:]
        client.peer.sendDatagram(again)
        stage.reactor.settle()
        assert stage.drops() == [(LATE_HELLO, 1, ADDRESS)]
        assert stage.layer.handshakes == 0

    def test_doubledHello(self, stage: Stage) -> None:
        """Nor does one that comes twice in its handshake."""
        client = stage.client(ADDRESS)
        client.begin()
        stage.reactor.settle()
        client.take(client.peer.take())
        [shown] = client.datagrams()
        client.peer.sendDatagram(shown)
        client.peer.sendDatagram(shown)
        stage.settle()
        assert client.isOpen
        assert stage.layer.handshakesStarted == 1

    def test_goodbyeOfTheOldOne(self, stage: Stage) -> None:
        """While the new one shakes hands, the old one can still close."""
        old = stage.connected(ADDRESS)
        new = Client(old.peer)
        new.begin()
        stage.reactor.settle()
        new.take(new.peer.take())
        for each in new.datagrams():
            new.peer.sendDatagram(each)
        stage.reactor.settle()
        flight = new.peer.take()
        old.close()
        stage.reactor.settle()
        assert stage.reasons() == ["the peer closed it"]
        new.take(flight)
        stage.clients[:] = [new]
        stage.settle()
        for each in new.datagrams():
            new.peer.sendDatagram(each)
        stage.settle()
        assert new.isOpen
        assert stage.layer.associations == 1


class TestLimits:
    def test_total(self, tmp_path: Path) -> None:
        """Beyond so many there is no answer, and those who are in stay."""
        with staged(tmp_path, associations=2) as stage:
            one, two = stage.connected(), stage.connected()
            third = stage.client(ADDRESS)
            third.begin()
            stage.settle()
            assert stage.drops() == [(FULL, 1, ADDRESS)]
            assert third.peer.received == []
            one.write(b"hello")
            two.close()
            stage.settle()
            assert one.received == [b"hello"]
            # The client asks again by itself.
            stage.until(lambda: third.isOpen, 2)

    def test_perHost(self, tmp_path: Path) -> None:
        """One host does not take the place of the others."""
        with staged(tmp_path, perHost=2) as stage:
            stage.connected((HOST, 1001))
            stage.connected((HOST, 1002))
            third = stage.client((HOST, 1003))
            third.begin()
            stage.settle()
            assert stage.drops() == [(HOST_FULL, 1, (HOST, 1003))]
            stage.connected(("192.0.2.8", 1003))
            # Who is in may begin anew.
            stage.clients.clear()
            stage.connected((HOST, 1001))

    def test_handshakesCount(self, tmp_path: Path) -> None:
        """A handshake takes a place, until it fails."""
        with staged(tmp_path, associations=1) as stage:
            slow = stage.client()
            slow.begin()
            stage.reactor.settle()
            slow.pump()
            stage.reactor.settle()
            other = stage.client(ADDRESS)
            other.begin()
            stage.reactor.settle()
            assert stage.drops() == [(FULL, 1, ADDRESS)]
            stage.clients[:] = [other]
            stage.until(lambda: other.isOpen, 20)


class TestEnd:
    def test_peerCloses(self, stage: Stage) -> None:
        """A goodbye is answered, and the association is over."""
        client = stage.connected(ADDRESS)
        client.write(b"hello")
        stage.advance(2)
        client.close()
        stage.settle()
        assert client.isClosed
        [ended] = stage.observer.ofType(AssociationEnded)
        assert (ended.peer, ended.reason) == (ADDRESS, "the peer closed it")
        assert ended.duration == pytest.approx(2)
        assert (ended.bytesReceived, ended.bytesSent) == (5, 5)
        stage.assertNothingHeld()

    def test_idle(self, tmp_path: Path) -> None:
        """A silent peer is bid goodbye, and one that speaks is not."""
        with staged(tmp_path, idle="60s") as stage:
            silent, talker = stage.connected(), stage.connected()
            for _ in range(3):
                talker.write(b"hello")
                stage.advance(25)
            assert silent.isClosed
            assert stage.reasons() == ["idle"]
            [ended] = stage.observer.ofType(AssociationEnded)
            assert ended.duration == pytest.approx(60)
            assert len(talker.received) == 3
            assert not talker.isClosed
            stage.advance(60)
            assert talker.isClosed
            stage.assertNothingHeld()

    def test_stop(self, stage: Stage) -> None:
        """Each peer is bid goodbye while there is a socket to do it through."""
        clients = [stage.connected() for _ in range(3)]
        half = stage.client()
        half.begin()
        stage.reactor.settle()
        half.pump()
        stage.reactor.settle()
        stage.clients[:] = clients
        stage.stop()
        stage.settle()
        assert all(client.isClosed for client in clients)
        assert stage.reasons() == ["the listener has closed"] * 3
        assert stage.failures() == ["the listener has closed"]
        assert stage.reactor.getDelayedCalls() == []

    def test_restart(self, stage: Stage) -> None:
        """A listener starts again, and peers begin anew."""
        client = stage.connected(ADDRESS)
        stage.stop()
        stage.clients.remove(client)
        client.peer.take()
        stage.start()
        again = stage.connected(ADDRESS)
        again.write(b"hello")
        stage.settle()
        assert again.received == [b"hello"]

    def test_withoutAListener(self, stage: Stage) -> None:
        """Who only closes the port gets no goodbyes and leaves nothing."""
        client = stage.connected(ADDRESS)
        stage.layer.stopListening()
        stage.reactor.settle()
        client.pump()
        assert not client.isClosed
        assert stage.reactor.getDelayedCalls() == []
        assert stage.reasons() == ["the listener has closed"]

    def test_peersAreLost(self, tmp_path: Path) -> None:
        """A protocol that wants to know hears of each end, and is asked for a goodbye."""

        @implementer(IPeerObserver, IDrainable)
        class Attentive(Echo):
            def peerLost(self, peer: Any) -> None:
                self.lost.append(peer)

            def drainRequested(self, deadline: float) -> None:
                assert deadline == 0
                self.transport.write(b"goodbye", ADDRESS)

        with staged(tmp_path, Attentive()) as stage:
            other = stage.connected(("192.0.2.8", 1))
            other.close()
            client = stage.connected(ADDRESS)
            assert stage.protocol.lost == [("192.0.2.8", 1)]
            stage.stop()
            stage.settle()
            assert stage.protocol.lost == [("192.0.2.8", 1), ADDRESS]
            assert client.received == [b"goodbye"]
            assert client.isClosed

    def test_lostInTheMidstOfADatagram(self, tmp_path: Path) -> None:
        """What it holds beside is not handed on any more."""

        class Impatient(Echo):
            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                super().datagramReceived(datagram, addr)
                self.layer.peerLost(addr)

            layer: Any = None

        with staged(tmp_path, Impatient()) as stage:
            stage.protocol.layer = stage.layer
            client = stage.connected(ADDRESS)
            client.peer.sendDatagram(client.encrypt(b"one") + client.encrypt(b"two"))
            stage.settle()
            assert stage.protocol.received == [(b"one", ADDRESS)]

    def test_aGoodbyeToALostPeer(self, tmp_path: Path) -> None:
        """Is dropped without a word, unlike what is written to others that are not there."""

        @implementer(IPeerObserver)
        class Polite(Echo):
            def peerLost(self, peer: Any) -> None:
                self.transport.write(b"goodbye", peer)
                self.transport.write(b"your friend is gone", self.friend)

            friend: Any = ADDRESS

        with staged(tmp_path, Polite()) as stage:
            friend, other = stage.connected(ADDRESS), stage.connected(("192.0.2.8", 1))
            other.close()
            stage.settle()
            assert friend.received == [b"your friend is gone"]
            assert stage.drops() == []
            friend.close()
            stage.settle()
            assert stage.drops() == []
            stage.protocol.transport.write(b"late", ADDRESS)
            stage.protocol.friend = ("192.0.2.9", 1)
            stage.connected(("192.0.2.8", 2)).close()
            stage.settle()
            assert stage.layer.drops.total == {NO_PEER: 2}

    def test_layerBeneath(self, stage: Stage) -> None:
        """What a layer nearer the wire has lost is lost here."""
        stage.connected(ADDRESS)
        stage.layer.peerLost(ADDRESS)
        stage.layer.peerLost(ADDRESS)
        assert stage.reasons() == ["a layer beneath has lost the peer"]


class TestTransport:
    def test_interfaces(self, stage: Stage) -> None:
        """It is a UDP transport, whole, and a few things more."""
        transport = stage.protocol.transport
        assert verifyObject(IUDPTransport, stage.layer)
        assert verifyObject(IReloadable, stage.layer)
        assert verifyObject(IDrainable, stage.layer)
        assert verifyObject(IPeerObserver, stage.layer)
        assert transport.getHost() == IPv4Address("UDP", "198.51.100.1", 7000)
        assert stage.layer.logPrefix() == "hall"
        with pytest.raises(AttributeError):
            _ = transport.fly

    def test_unconnected(self, stage: Stage) -> None:
        """Before it was made it has nothing of a port."""
        blank = object.__new__(type(stage.layer))
        with pytest.raises(AttributeError):
            _ = blank.getHost

    def test_sizes(self, stage: Stage) -> None:
        """What a record holds is sent as one datagram; of the rest the operator is told."""
        client = stage.connected(ADDRESS)
        write = stage.protocol.transport.write
        for size in (1, 1500, MAXIMUM_PLAIN):
            write(b"x" * size, ADDRESS)
            stage.settle()
            assert client.received.pop() == b"x" * size
        write(b"x" * (MAXIMUM_PLAIN + 1), ADDRESS)
        write(b"", ADDRESS)
        assert [each[0] for each in stage.drops()] == [TOO_LARGE, EMPTY]
        client.write(b"x" * MAXIMUM_PLAIN)
        stage.settle()
        assert client.received == [b"x" * MAXIMUM_PLAIN]

    def test_writeSequence(self, stage: Stage) -> None:
        """Pieces go as one datagram."""
        client = stage.connected(ADDRESS)
        stage.layer.writeSequence(iter([b"a", b"b"]), ADDRESS)
        stage.settle()
        assert client.received == [b"ab"]

    def test_nobody(self, stage: Stage) -> None:
        """Whom there is no association with cannot be written to."""
        stage.protocol.transport.write(b"hello", ADDRESS)
        assert stage.drops() == [(NO_PEER, 1, ADDRESS)]

    def test_connect(self, stage: Stage) -> None:
        """A protocol may talk to one peer only, and then without addresses."""
        client = stage.connected(ADDRESS)
        stage.protocol.transport.connect(*ADDRESS)
        stage.protocol.transport.write(b"hello")
        stage.settle()
        assert client.received == [b"hello"]
        stage.layer.connectionRefused()

    def test_unsendable(self, stage: Stage) -> None:
        """What the system does not take is counted, and nothing raised."""
        stage.connected(ADDRESS)
        stage.endpoint.writeError = OSError(errno.ENETUNREACH, "Network is unreachable")
        stage.protocol.transport.write(b"hello", ADDRESS)
        assert stage.drops() == [("it could not be sent: Network is unreachable", 1, ADDRESS)]
        stage.endpoint.writeError = None

    def test_endedWhileWriting(self, stage: Stage) -> None:
        """One that turns out to be broken when it is written to is over."""
        stage.connected(ADDRESS)
        handle = stage.layer.getHandle(ADDRESS)
        assert handle is not None
        handle.shutdown()
        stage.protocol.transport.write(b"hello", ADDRESS)
        assert stage.reasons() == ["protocol is shutdown"]

    def test_certificates(self, stage: Stage) -> None:
        """Who showed none has none, and nor has a stranger."""
        stage.connected(ADDRESS)
        transport = stage.protocol.transport
        assert transport.getPeerCertificate(ADDRESS) is None
        assert transport.getPeerCertificate((HOST, 1)) is None
        assert isinstance(transport.getHandle(ADDRESS), SSL.Connection)
        assert transport.getHandle((HOST, 1)) is None

    def test_protocolRaises(self, tmp_path: Path) -> None:
        """A protocol's bug costs one datagram, and the association lives on."""

        class Broken(Echo):
            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                if datagram == b"bad":
                    raise KeyError("oops")
                super().datagramReceived(datagram, addr)

        with staged(tmp_path, Broken()) as stage:
            client = stage.connected(ADDRESS)
            client.write(b"bad")
            client.write(b"good")
            stage.settle()
            assert client.received == [b"good"]
            [raised] = stage.observer.ofType(ProtocolRaised)
            assert raised.peer == ADDRESS

    def test_stopsInside(self, tmp_path: Path) -> None:
        """A protocol may stop the port from within."""

        class Quitter(DatagramProtocol):
            transport: Any

            def datagramReceived(self, datagram: bytes, addr: Any) -> None:
                if datagram == b"one":
                    self.transport.stopListening()

        with staged(tmp_path, Quitter()) as stage:
            client = stage.connected(ADDRESS)
            client.peer.sendDatagram(client.encrypt(b"one") + client.encrypt(b"two"))
            stage.reactor.settle()
            assert stage.reactor.getDelayedCalls() == []

    def test_reportAtTheEnd(self, stage: Stage) -> None:
        """What no event has told of by then is told when it stops."""
        peer = stage.endpoint.peer(ADDRESS)
        for _ in range(3):
            peer.sendDatagram(b"junk")
        stage.reactor.settle()
        stage.stop()
        counts = [each.count for each in stage.observer.ofType(DatagramsDropped)]
        assert counts == [1, 2]


class TestBreaking:
    """OpenSSL may fail where nobody expects it: it costs that association only."""

    def test_retransmitting(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        """A handshake that cannot go on fails."""

        def broken(connection: SSL.Connection) -> bool:
            raise SSL.Error([("SSL routines", "", "read timeout expired")])

        client = stage.client(ADDRESS)
        client.begin()
        stage.reactor.settle()
        client.pump()
        stage.reactor.settle()
        monkeypatch.setattr(SSL.Connection, "DTLSv1_handle_timeout", broken)
        stage.clients.clear()
        stage.advance(1.2)
        assert stage.failures() == ["read timeout expired"]
        stage.assertNothingHeld()

    def test_reading(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        """An association that cannot go on ends, whatever it was reading."""

        def broken(connection: SSL.Connection, *arguments: Any) -> bytes:
            raise SSL.Error([("SSL routines", "", "bad record")])

        one, two = stage.connected(ADDRESS), stage.connected()
        datagrams = one.encrypt(b"one"), two.encrypt(b"two") + two.encrypt(b"three")
        stage.clients.clear()
        with monkeypatch.context() as patch:
            patch.setattr(SSL.Connection, "recv", broken)
            one.peer.sendDatagram(datagrams[0])
            two.peer.sendDatagram(datagrams[1])
            stage.reactor.settle()
        assert stage.reasons() == ["bad record", "bad record"]
        stage.assertNothingHeld()

    def test_goodbyeTwice(self, stage: Stage) -> None:
        """One that is over does not end again."""
        stage.connected(ADDRESS)
        association = stage.layer._open[ADDRESS]
        association.close("enough")
        association.close("really")
        assert stage.reasons() == ["enough"]
