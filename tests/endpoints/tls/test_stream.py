"""TLS on one connection, from its first byte to its last."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHandshakeListener,
    INegotiated,
    IProtocolNegotiationFactory,
    IPullProducer,
    IPushProducer,
    ISSLTransport,
)
from twisted.internet.protocol import Factory
from twisted.internet.testing import StringTransport
from zope.interface import implementer, providedBy
from zope.interface.verify import verifyObject

from myserv.endpoints.bare import BareContext
from myserv.endpoints.tls import TLSOptions, TLSWrapper, sealing, stream
from myserv.events import (
    ConnectionStarted,
    HandshakeFailed,
    Offence,
    PeerPenalized,
    ProtocolRaised,
)
from myserv.options.structure import structure
from myserv.testing import SteppedReactor
from tests.endpoints.certificates import authority, issue
from tests.endpoints.tls.stage import (
    Client,
    Echo,
    Logged,
    Stage,
    certificate,
    clientCA,
    clientContext,
    staged,
)

VERSIONS = pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])


@pytest.fixture
def cert(tmp_path: Path) -> Path:
    """What is shown."""
    return certificate(tmp_path)


def optionsOf(cert: Path) -> Any:
    """What an endpoint string says."""
    return structure(TLSOptions, {"cert": str(cert)})


# --- bytes ----------------------------------------------------------------------


@VERSIONS
def test_echo(version: int, cert: Path) -> None:
    """What is sent arrives, and so does the answer; in both versions."""
    with staged(cert=cert) as stage:
        client = stage.client(version=version).go()
        assert client.isOpen
        assert client.send(b"hello").received == b"hello"
        assert client.send(b" again").received == b"hello again"
        assert stage.protocol.received == b"hello again"
        assert len(stage.events(ConnectionStarted)) == 1


@VERSIONS
def test_byWhatIsPublic(version: int, cert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a pyOpenSSL whose insides are not known it is slower, and the same."""
    monkeypatch.setattr(sealing, "_buffer", None)
    much = bytes(range(256)) * 300
    with staged(cert=cert) as stage:
        client = stage.client(version=version).go()
        assert client.send(b"hello").received == b"hello"
        assert client.send(much).received == b"hello" + much
        client.peer.send(client.encrypted(b"!") + client.goodbye())
        assert client.go().received == b"hello" + much + b"!"
        assert client.toldGoodbye


def test_whatItIs(cert: Path) -> None:
    """The protocol's transport says that it is TLS."""
    with staged(cert=cert) as stage:
        stage.client().go()
        transport = stage.protocol.transport
        provided: Any = providedBy(transport)
        assert provided.extends(ISSLTransport)
        assert provided.extends(INegotiated)
        assert verifyObject(ISSLTransport, stage.layer)
        assert transport.TLS
        assert transport.getHandle().get_protocol_version() == SSL.TLS1_3_VERSION
        assert transport.getPeerCertificate() is None
        assert transport.negotiatedProtocol is None


def test_handshakeBehindTheFirstRequest(cert: Path) -> None:
    """The last of the handshake and the first of the data come together."""
    with staged(cert=cert) as stage:
        client = stage.client()
        client.think()
        client.peer.send(client.flight())
        client.hear()
        client.think()
        client.peer.send(client.flight() + client.encrypted(b"early"))
        client.go()
        assert client.received == b"early"


SEGMENTS = given(
    messages=st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=6),
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=20),
    fromTheFirst=st.booleans(),
)
FEW = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FEW
@SEGMENTS
def test_anySegmentation(
    messages: list[bytes], sizes: list[int], fromTheFirst: bool, cert: Path
) -> None:
    """However the stream is cut, the protocol gets all of it, at once, and in order."""
    cutInPieces(SSL.TLS1_3_VERSION, messages, sizes, fromTheFirst, cert)


@FEW
@SEGMENTS
def test_anySegmentationOfTheOlderVersion(
    messages: list[bytes], sizes: list[int], fromTheFirst: bool, cert: Path
) -> None:
    """TLS 1.2 has other records, and the same rules."""
    # Not a parameter: pytest-twisted does not run examples that have any.
    cutInPieces(SSL.TLS1_2_VERSION, messages, sizes, fromTheFirst, cert)


def cutInPieces(
    version: int, messages: list[bytes], sizes: list[int], fromTheFirst: bool, cert: Path
) -> None:
    """Send messages, each segment as long as the next of some sizes."""
    with staged(cert=cert) as stage:
        client = stage.client(version=version)
        count = 0

        def trickle(data: bytes) -> None:
            nonlocal count
            while data:
                size = sizes[count % len(sizes)]
                count += 1
                client.peer.send(data[:size])
                stage.reactor.settle()
                data = data[size:]

        if fromTheFirst:
            for _ in range(4):
                client.think()
                trickle(client.flight())
                client.hear()
        client.go()
        assert client.isOpen
        trickle(b"".join(map(client.encrypted, messages)))
        assert stage.protocol.received == b"".join(messages)
        assert client.go().received == b"".join(messages)
        trickle(client.goodbye())
        assert client.go().toldGoodbye


def test_muchBothWays(cert: Path) -> None:
    """Two megabytes in one write come back in one write."""
    much = bytes(range(256)) * 8192

    class Collect(Logged):
        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            if len(self.received) == len(much):
                self.transport.write(self.received)

    with staged(Collect, cert=cert) as stage:
        assert stage.client().go().send(much).received == much


def test_theSizesAroundARecord(cert: Path) -> None:
    """What fits into one, and what needs more."""
    with staged(cert=cert) as stage:
        client = stage.client().go()
        for size in (1, 16383, 16384, 16385, 32768, 32769):
            client.received = b""
            stage.protocol.transport.write(bytes(size))
            assert client.go().received == bytes(size)
        stage.protocol.transport.write(b"")
        stage.protocol.transport.writeSequence([b"a", b"b"])
        client.received = b""
        assert client.go().received == b"ab"


def test_aSlowReader(cert: Path) -> None:
    """What it does not read waits, and a push producer is paused meanwhile."""
    with staged(Logged, cert=cert) as stage:
        client = stage.client().go()
        producer = Push(stage.protocol.transport)
        stage.protocol.transport.registerProducer(producer, True)
        client.peer.pauseReading()
        for _ in range(20):
            producer.write(bytes(100_000))
            stage.reactor.settle()
        assert producer.paused
        client.peer.resumeReading()
        client.go()
        assert not producer.paused
        assert len(client.received) == producer.written
        stage.protocol.transport.unregisterProducer()


def test_pausing(cert: Path) -> None:
    """A protocol that does not want to read is not given anything."""
    with staged(Logged, cert=cert) as stage:
        client = stage.client().go()
        stage.protocol.transport.pauseProducing()
        client.send(b"later")
        assert stage.protocol.received == b""
        stage.protocol.transport.resumeProducing()
        client.go()
        assert stage.protocol.received == b"later"


class Answers(Logged):
    """Answers in several pieces, and in several ways."""

    def dataReceived(self, data: bytes) -> None:
        """Answer."""
        getattr(self, data.decode())()

    def inOrder(self) -> None:
        """Small, large, small, and the end."""
        self.transport.write(b"1")
        self.transport.write(b"2" * 20000)
        self.transport.write(b"3")
        self.transport.writeSequence([b"4", b"5"])

    def andClose(self) -> None:
        """The same, and no more."""
        self.inOrder()
        self.transport.loseConnection()

    def andEnd(self) -> None:
        """The same, and no more, but listen."""
        self.inOrder()
        self.transport.loseWriteConnection()

    def pull(self) -> None:
        """Have a producer do it."""
        self.transport.write(b"first.")
        self.transport.registerProducer(Pull(self.transport, 3), False)
        self.transport.write(b"last.")

    def andAbort(self) -> None:
        """What is written is lost."""
        self.inOrder()
        self.transport.abortConnection()


ANSWER = b"1" + b"2" * 20000 + b"345"


@pytest.mark.parametrize(
    ("asked", "answer", "ends"),
    [
        (b"inOrder", ANSWER, False),
        (b"andClose", ANSWER, True),
        (b"andEnd", ANSWER, True),
        (b"pull", b"first.piece.last.piece.piece.", False),
    ],
)
def test_answersAtOnce(asked: bytes, answer: bytes, ends: bool, cert: Path) -> None:
    """What is written while the protocol reads arrives whole, and in order."""
    with staged(Answers, cert=cert) as stage:
        client = stage.client().go().send(asked)
        assert client.received == answer
        assert client.toldGoodbye == ends


@pytest.mark.parametrize(("size", "pieces"), [(1, 1), (800, 1), (2000, 2)])
def test_answersInOnePiece(size: int, pieces: int, cert: Path) -> None:
    """However many writes and records it took; unless it would be much to keep."""

    class Chatty(Logged):
        def dataReceived(self, data: bytes) -> None:
            for each in data:
                self.transport.write(bytes([each]) * size)

    with staged(Chatty, cert=cert) as stage:
        client = stage.client().go()
        written: list[bytes] = []
        wire = stage.layer.transport
        write = wire.write

        def watched(data: bytes) -> None:
            written.append(data)
            write(data)

        wire.write = watched
        client.send(b"hello")
        assert len(written) == pieces
        client.peer.send(client.encrypted(b"he") + client.encrypted(b"llo"))
        client.go()
        assert len(written) == 2 * pieces
        answer = b"".join(bytes([each]) * size for each in b"hello")
        assert client.received == answer * 2


def test_anAnswerAndAnAbort(cert: Path) -> None:
    """Cuts it all."""
    with staged(Answers, cert=cert) as stage:
        client = stage.client().go().send(b"andAbort")
        assert client.peer.aborted


def test_anAnswerThatDoesNotFit(cert: Path) -> None:
    """The rest waits until there is room; so does the next answer."""
    with staged(cert=cert) as stage:
        client = stage.client().go()
        client.peer.pauseReading(window=100)
        for _ in range(3):
            client.peer.send(client.encrypted(b"x" * 500))
            stage.reactor.settle()
        client.peer.resumeReading()
        assert client.go().received == b"x" * 1500


def test_anAnswerToNobody(cert: Path) -> None:
    """The transport finds out."""
    with staged(cert=cert) as stage:
        client = stage.client().go()
        client.peer.send(client.encrypted(b"hello"))
        client.peer.abort()
        stage.reactor.settle()
        assert stage.protocol.received == b"hello"
        assert isinstance(stage.protocol.reason, ConnectionLost)


def test_moreThanTheDataToSend(cert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What OpenSSL has said by itself goes out with the data, however much it is."""
    for module in (stream, sealing):
        monkeypatch.setattr(module, "PIECE", 20)
    with staged(cert=cert) as stage:
        assert stage.client().go().send(b"hello").received == b"hello"


# --- the end ---------------------------------------------------------------------


@implementer(IHalfCloseableProtocol)
class HalfClosing(Logged):
    """Goes on when its peer has ended."""

    def readConnectionLost(self) -> None:
        """The peer will send no more."""
        self.log.append("no more in")

    def writeConnectionLost(self) -> None:
        """We will send no more."""
        self.log.append("no more out")


@VERSIONS
def test_dataAndGoodbyeTogether(version: int, cert: Path) -> None:
    """In one segment: the data counts, the answer goes out, and then our goodbye."""
    with staged(cert=cert) as stage:
        client = stage.client(version=version).go()
        client.peer.send(client.encrypted(b"last words") + client.goodbye())
        client.go()
        assert client.received == b"last words"
        assert client.toldGoodbye
        client.peer.closeWrite()
        stage.reactor.settle()
        assert client.peer.closed
        assert isinstance(stage.protocol.reason, ConnectionDone)


def test_answersAfterTheGoodbye(cert: Path) -> None:
    """A protocol that half-closes may still answer; it is told once."""
    with staged(HalfClosing, cert=cert) as stage:
        client = stage.client().go()
        client.peer.send(client.goodbye())
        # What comes after a goodbye goes nowhere.
        client.peer.send(b"\x17\x03\x03\x00\x01x" * 3)
        stage.reactor.settle()
        client.peer.closeWrite()
        stage.reactor.settle()
        assert stage.protocol.log == ["made", "no more in"]
        stage.protocol.transport.write(b"still here")
        client.hear()
        assert client.ssl.recv(100) == b"still here"
        stage.protocol.transport.loseConnection()
        client.hear()
        assert client.peer.closed
        assert stage.protocol.log == ["made", "no more in", "lost"]
        assert isinstance(stage.protocol.reason, ConnectionDone)


@pytest.mark.parametrize("protocol", [Logged, HalfClosing])
def test_truncation(protocol: Any, cert: Path) -> None:
    """An end without a goodbye is no orderly end: anybody on the way can make one."""
    with staged(protocol, cert=cert) as stage:
        client = stage.client().go()
        client.send(b"half a")
        client.peer.closeWrite()
        client.go()
        assert stage.protocol.log == ["made", "lost"]
        assert isinstance(stage.protocol.reason, ConnectionLost)
        assert "goodbye" in str(stage.protocol.reason)
        assert client.toldGoodbye


@pytest.mark.parametrize("streaming", [True, False])
def test_truncationUnderAProducer(streaming: bool, cert: Path) -> None:
    """Nobody waits for a producer that writes to a peer who has left."""

    class Producer:
        def __init__(self) -> None:
            self.log: list[str] = []

        def pauseProducing(self) -> None:
            """Never."""

        def resumeProducing(self) -> None:
            """Nothing to write."""

        def stopProducing(self) -> None:
            """It is over."""
            self.log.append("stopped")

    with staged(Echo, cert=cert) as stage:
        client = stage.client().go()
        producer = Producer()
        stage.protocol.transport.registerProducer(producer, streaming)
        client.send(b"answer me")
        client.peer.closeWrite()
        client.go()
        assert client.received == b"answer me"
        assert client.peer.closed
        assert producer.log == ["stopped"]
        assert stage.protocol.log[-1] == "lost"
        assert isinstance(stage.protocol.reason, ConnectionLost)


def outsideOfAServer(cert: Path) -> tuple[Any, Logged, StringTransport, SSL.Connection]:
    """One connection without a server's around it: layer, protocol, transport, client."""
    built: list[Logged] = []

    def build() -> Logged:
        built.append(Echo())
        return built[-1]

    factory: Any = TLSWrapper().wrapFactory(
        BareContext(SteppedReactor(), "tls"),
        optionsOf(cert),
        Factory.forProtocol(build),
    )
    layer = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
    wire = StringTransport()
    layer.makeConnection(wire)
    client = SSL.Connection(clientContext(), None)
    client.set_connect_state()
    for _ in range(3):
        try:
            client.do_handshake()
        except SSL.WantReadError:
            layer.dataReceived(client.bio_read(65536))
            client.bio_write(wire.value())
            wire.clear()
    layer.dataReceived(client.bio_read(65536))
    wire.clear()
    return layer, built[0], wire, client


def test_truncationOfATransportWithoutHalves(cert: Path) -> None:
    """Some transports tell of the end of both halves only."""
    layer, protocol, wire, client = outsideOfAServer(cert)
    client.send(b"hello")
    layer.dataReceived(client.bio_read(65536))
    assert wire.value()
    layer.connectionLost()
    assert protocol.log == ["made", "lost"]
    assert isinstance(protocol.reason, ConnectionLost)


def test_brokenWithoutAProducer(cert: Path) -> None:
    """The transport is closed, with an alert."""
    layer, protocol, wire, _ = outsideOfAServer(cert)
    layer.dataReceived(b"\x17\x03\x03\x00\x20" + bytes(32))
    assert wire.value()
    assert wire.disconnecting
    layer.connectionLost()
    assert isinstance(protocol.reason, ConnectionLost)


def test_twoProducers(cert: Path) -> None:
    """Are refused as on any transport, and the first is kept."""
    layer, _, wire, _ = outsideOfAServer(cert)
    first = Push(layer)
    layer.registerProducer(first, True)
    with pytest.raises(RuntimeError):
        layer.registerProducer(Push(layer), True)
    assert wire.producer is first
    layer.connectionLost()


def test_weClose(cert: Path) -> None:
    """What was written arrives, then the goodbye; what comes meanwhile goes nowhere."""
    with staged(Logged, cert=cert) as stage:
        client = stage.client().go()
        stage.protocol.transport.write(b"bye")
        stage.protocol.transport.loseConnection()
        stage.protocol.transport.loseConnection()
        stage.protocol.transport.write(b"too late")
        client.peer.send(client.encrypted(b"unheard"))
        client.go()
        assert client.received == b"bye"
        assert client.toldGoodbye
        assert client.peer.closed
        assert stage.protocol.received == b""
        assert isinstance(stage.protocol.reason, ConnectionDone)


def test_weCloseAndThePeerStays(cert: Path) -> None:
    """Two seconds later it is closed all the same."""
    with staged(Logged, cert=cert) as stage:
        client = stage.client().go()
        client.peer.stay()
        stage.protocol.transport.loseConnection()
        stage.reactor.advance(1.9)
        assert stage.protocol.log == ["made"]
        stage.reactor.advance(0.2)
        assert stage.protocol.log == ["made", "lost"]
        assert isinstance(stage.protocol.reason, ConnectionDone)


def test_closingInTheMidstOfASegment(cert: Path) -> None:
    """Of several records at once, those after the end are not delivered."""

    class First(Logged):
        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            self.transport.loseConnection()

    with staged(First, cert=cert) as stage:
        client = stage.client().go()
        client.peer.send(client.encrypted(b"1") + client.encrypted(b"2"))
        client.go()
        assert stage.protocol.received == b"1"


def test_abortingInTheMidstOfASegment(cert: Path) -> None:
    """Nothing is delivered after that either."""

    class First(Logged):
        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            self.transport.abortConnection()
            self.transport.write(b"never")

    with staged(First, cert=cert) as stage:
        client = stage.client().go()
        client.peer.send(client.encrypted(b"1") + client.encrypted(b"2"))
        client.go()
        assert stage.protocol.received == b"1"
        assert client.peer.aborted
        assert isinstance(stage.protocol.reason, ConnectionAborted)


def test_thePeerResets(cert: Path) -> None:
    """That is no orderly end, and no fault of anybody's."""
    with staged(Logged, cert=cert) as stage:
        client = stage.client().go()
        client.peer.abort()
        stage.reactor.settle()
        assert isinstance(stage.protocol.reason, ConnectionLost)
        assert stage.events(PeerPenalized) == []


def test_weEndOurHalf(cert: Path) -> None:
    """A goodbye goes out, and what the peer still says is heard."""
    with staged(HalfClosing, cert=cert) as stage:
        client = stage.client().go()
        client.peer.stay()
        stage.protocol.transport.write(b"that was all")
        stage.protocol.transport.loseWriteConnection()
        stage.protocol.transport.loseWriteConnection()
        stage.protocol.transport.write(b"too late")
        client.go()
        assert client.received == b"that was all"
        assert client.toldGoodbye
        client.peer.send(client.encrypted(b"thanks"))
        stage.reactor.settle()
        assert stage.protocol.received == b"thanks"
        assert stage.protocol.log == ["made", "no more out"]
        client.peer.send(client.goodbye())
        client.peer.closeWrite()
        stage.reactor.settle()
        assert stage.protocol.log == ["made", "no more out", "no more in"]
        stage.protocol.transport.loseConnection()
        stage.reactor.settle()
        assert stage.protocol.log[-1] == "lost"
        assert isinstance(stage.protocol.reason, ConnectionDone)


# --- producers -------------------------------------------------------------------


@implementer(IPushProducer)
class Push:
    """A producer that writes when it is told to."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.paused = False
        self.stopped = False
        self.written = 0

    def write(self, data: bytes) -> None:
        """Unless it is paused."""
        if not self.paused:
            self.written += len(data)
            self.transport.write(data)

    def pauseProducing(self) -> None:
        """Enough for now."""
        self.paused = True

    def resumeProducing(self) -> None:
        """More."""
        self.paused = False

    def stopProducing(self) -> None:
        """No more."""
        self.stopped = True


@implementer(IPullProducer)
class Pull:
    """A producer that has some pieces."""

    def __init__(self, transport: Any, pieces: int) -> None:
        self.transport = transport
        self.pieces = pieces
        self.stopped = False

    def resumeProducing(self) -> None:
        """Write a piece."""
        self.pieces -= 1
        self.transport.write(b"piece.")
        if not self.pieces:
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        """No more."""
        self.stopped = True


@pytest.mark.parametrize("pieces", [1, 5])
def test_closingWithAPullProducer(pieces: int, cert: Path) -> None:
    """It is asked for all it has before the goodbye, at once or over time."""
    with staged(Logged, cert=cert) as stage:
        client = stage.client().go()
        transport = stage.protocol.transport
        transport.registerProducer(Pull(transport, pieces), False)
        transport.loseConnection()
        client.go()
        assert client.received == b"piece." * pieces
        assert client.toldGoodbye
        assert client.peer.closed


def test_closingWithAPushProducer(cert: Path) -> None:
    """It may write on, and what the peer says meanwhile goes nowhere."""
    with staged(HalfClosing, cert=cert) as stage:
        client = stage.client().go()
        transport = stage.protocol.transport
        producer = Push(transport)
        transport.registerProducer(producer, True)
        transport.loseConnection()
        producer.write(b"more")
        client.send(b"unheard")
        assert client.received == b"more"
        assert not client.toldGoodbye
        client.peer.send(client.goodbye())
        stage.reactor.settle()
        assert stage.protocol.log == ["made"]
        transport.unregisterProducer()
        client.hear()
        assert client.peer.writeClosed
        assert stage.protocol.received == b""


def test_endingOurHalfWithAProducer(cert: Path) -> None:
    """It writes on until it is done, and then comes the goodbye."""
    with staged(HalfClosing, cert=cert) as stage:
        client = stage.client().go()
        transport = stage.protocol.transport
        producer = Push(transport)
        transport.registerProducer(producer, True)
        transport.loseWriteConnection()
        producer.write(b"more")
        assert not client.go().toldGoodbye
        transport.unregisterProducer()
        client.go()
        assert client.received == b"more"
        assert client.toldGoodbye


def test_unregisteringChangesNothingElse(cert: Path) -> None:
    """A connection that nobody wants to close stays open."""
    with staged(cert=cert) as stage:
        client = stage.client().go()
        transport = stage.protocol.transport
        transport.registerProducer(Push(transport), True)
        with pytest.raises(RuntimeError):
            transport.registerProducer(Push(transport), True)
        transport.unregisterProducer()
        assert client.send(b"on").received == b"on"


def test_aProducerAfterTheEnd(cert: Path) -> None:
    """Is stopped: nobody will ask it for anything."""
    with staged(Logged, cert=cert) as stage:
        stage.client().go()
        transport = stage.protocol.transport
        transport.loseConnection()
        producer = Push(transport)
        transport.registerProducer(producer, True)
        assert producer.stopped


# --- what goes wrong ---------------------------------------------------------------


def test_aSpoiledRecord(cert: Path) -> None:
    """The peer is told by an alert and penalized; a producer is stopped."""
    with staged(Logged, cert=cert) as stage:
        client = stage.client().go()
        producer = Push(stage.protocol.transport)
        stage.protocol.transport.registerProducer(producer, True)
        client.peer.send(client.encrypted(b"x")[:-1] + b"\0" + client.encrypted(b"y"))
        client.go()
        assert "bad record mac" in str(client.error)
        assert client.peer.closed
        assert producer.stopped
        assert stage.protocol.received == b""
        assert isinstance(stage.protocol.reason, ConnectionLost)
        [reason] = stage.reasons(PeerPenalized)
        assert reason.startswith("broke TLS: decryption failed or bad record mac")
        stage.protocol.transport.unregisterProducer()


def test_anOversizedRecord(cert: Path) -> None:
    """Longer than any may be."""
    with staged(Logged, cert=cert) as stage:
        client = stage.client().go()
        client.peer.send(b"\x17\x03\x03\xff\xff" + bytes(70000))
        client.go()
        assert "record overflow" in str(client.error)
        assert len(stage.reasons(PeerPenalized)) == 1


def test_aSpoiledRecordAndNoProducer(cert: Path) -> None:
    """The alert arrives although the protocol had just written."""
    with staged(cert=cert) as stage:
        client = stage.client().go()
        client.peer.send(client.encrypted(b"x") + b"\x17\x03\x03\x00\x02??")
        client.go()
        assert client.received == b"x"
        assert "bad record mac" in str(client.error)


def test_thePeersAlert(cert: Path) -> None:
    """A client that does not like our certificate after all has done no harm."""
    with staged(Logged, cert=cert) as stage:
        context = clientContext()
        context.set_verify(SSL.VERIFY_PEER, lambda *arguments: False)
        client = stage.client(context=context).go()
        assert client.error is not None
        client.peer.closeWrite()
        stage.reactor.settle()
        # It costs what any handshake does that fails.
        assert [each.offence for each in stage.events(PeerPenalized)] == [Offence.HANDSHAKE]
        assert stage.events(ProtocolRaised) == []
        assert client.peer.closed


def test_thePeersAlertLater(cert: Path) -> None:
    """That it could not read what came to it was perhaps nobody's fault here."""
    with staged(Logged, cert=cert) as stage:
        client = stage.client().go()
        client.ssl.bio_write(b"\x17\x03\x03\x00\x20" + bytes(32))
        client.think()
        assert client.error is not None
        client.peer.send(client.flight())
        stage.reactor.settle()
        assert isinstance(stage.protocol.reason, ConnectionLost)
        assert stage.events(PeerPenalized) == []


@pytest.mark.parametrize("size", [5, 50000])
def test_openSSLCannotWrite(size: int, cert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when it has run out of memory."""
    with staged(Logged, cert=cert) as stage:
        client = stage.client().go()

        def refuse(*arguments: Any) -> int:
            raise SSL.Error([("SSL routines", "", "internal error")])

        with monkeypatch.context() as patch:
            patch.setattr(sealing, "_seal", lambda *arguments: -1)
            patch.setattr(SSL.Connection, "send", refuse)
            stage.protocol.transport.write(bytes(size))
        client.go()
        assert isinstance(stage.protocol.reason, ConnectionLost)
        assert stage.events(ProtocolRaised) == []


def test_aGoodbyeThatCannotBeSaid(cert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is left out."""
    with staged(Logged, cert=cert) as stage:
        client = stage.client().go()

        def refuse(*arguments: Any) -> bool:
            raise SSL.WantReadError

        with monkeypatch.context() as patch:
            patch.setattr(SSL.Connection, "shutdown", refuse)
            stage.protocol.transport.loseConnection()
        client.go()
        assert client.peer.closed
        assert not client.toldGoodbye


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", "http request"),
        (b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(37), ""),
        (b"\x16\x03\x01\xff\xff" + bytes(20), ""),
        (bytes(range(1, 100)), ""),
        (b"\x15\x03\x03\x00\x02\x02\x28", ""),
    ],
)
def test_whatIsNoHandshake(sent: bytes, reason: str, cert: Path) -> None:
    """Is told of once, however much more of it comes, and costs the connection."""
    with staged(cert=cert) as stage:
        client = stage.client()
        for _ in range(3):
            client.peer.send(sent)
            stage.reactor.settle()
        [event] = stage.events(HandshakeFailed)
        assert event.layer == "tls"
        assert reason in event.reason
        assert event.peer == client.peer.address
        assert client.peer.closed
        assert stage.protocols == []


def test_aVersionThatIsTooOld(cert: Path) -> None:
    """TLS 1.1 is no more."""
    with staged(cert=cert) as stage:
        context = clientContext(version=SSL.TLS1_1_VERSION)
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
        assert stage.client(context=context).go().error is not None
        assert len(stage.events(HandshakeFailed)) == 1


@VERSIONS
def test_aKeyExchangeThatIsNotAccepted(
    version: int, cert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is told before anything else, and what it sends then is not looked at."""
    monkeypatch.setattr(stream, "GROUPS", frozenset({"x448"}))
    with staged(cert=cert) as stage:
        client = stage.client(version=version)
        client.peer.stay()
        client.go()
        assert "handshake failure" in str(client.error)
        client.peer.send(b"more")
        stage.reactor.settle()
        [reason] = stage.reasons(HandshakeFailed)
        assert reason.startswith("the key exchange ")
        assert stage.protocols == []


def test_theDeadline(cert: Path) -> None:
    """A client that does not get on with it is cut off."""
    with staged(cert=cert, handshakeTimeout="3s") as stage:
        client = stage.client()
        client.think()
        client.peer.send(client.flight()[:100])
        stage.reactor.advance(2.9)
        assert not client.peer.aborted
        stage.reactor.advance(0.2)
        assert client.peer.aborted
        assert stage.reasons(HandshakeFailed) == ["it took too long"]


def test_leavingDuringTheHandshake(cert: Path) -> None:
    """In an orderly way, or not."""
    with staged(cert=cert) as stage:
        one, two = stage.client(), stage.client()
        for client in (one, two):
            client.think()
            client.peer.send(client.flight())
        stage.reactor.settle()
        one.peer.closeWrite()
        two.peer.abort()
        stage.reactor.settle()
        assert stage.reasons(HandshakeFailed) == ["the peer left"] * 2
        assert stage.protocols == []


@pytest.mark.parametrize("failed", [False, True])
def test_stoppingDuringHandshakes(failed: bool, cert: Path) -> None:
    """A listener that stops at once spares none, not even one that has just failed."""
    with staged(cert=cert) as stage:
        client = stage.client()
        client.peer.stay()
        client.peer.send(b"GET / HTTP/1.1\r\n\r\n" if failed else b"\x16")
        stage.reactor.settle()
        stage.listener.stopNow()
        stage.reactor.settle()
        assert client.peer.aborted
        assert len(stage.events(HandshakeFailed)) == 1
        assert failed or stage.reasons(HandshakeFailed) == ["the server closed"]


def test_theProtocolRaises(cert: Path) -> None:
    """That costs this connection, and nobody else's."""

    class Raises(Logged):
        def dataReceived(self, data: bytes) -> None:
            raise ValueError(data)

    with staged(Raises, cert=cert) as stage:
        one, two = stage.client().go(), stage.client().go()
        one.send(b"x")
        assert one.peer.aborted
        assert len(stage.events(ProtocolRaised)) == 1
        assert not two.peer.aborted


def test_aFactoryThatDeclines(cert: Path) -> None:
    """One that is not the server's own may."""

    class Declines(Factory):
        def buildProtocol(self, addr: Any) -> Any:
            return None

    factory: Any = TLSWrapper().wrapFactory(
        BareContext(SteppedReactor(), "tls"), optionsOf(cert), Declines()
    )
    layer = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
    layer.makeConnection(StringTransport())
    layer._handshakeCompleted()
    assert layer.transport.disconnecting or layer.transport.disconnected
    layer.connectionLost()


# --- what the protocol wants to know -------------------------------------------------


def test_whoeverListensForTheHandshake(cert: Path) -> None:
    """Is told when it is over, which is from the beginning."""

    @implementer(IHandshakeListener)
    class Listens(Logged):
        def handshakeCompleted(self) -> None:
            self.log.append("shaken")

    with staged(Listens, cert=cert) as stage:
        stage.client().go()
        assert stage.protocol.log == ["made", "shaken"]


def nameOf(shown: Any) -> str | None:
    """Whose certificate it is."""
    if shown is None:
        return None
    subject: str = shown.to_cryptography().subject.rfc4514_string()
    return subject.removeprefix("CN=")


@pytest.mark.parametrize("clientAuth", ["required", "optional"])
@pytest.mark.parametrize("name", ["a.example", "b.example", None])
@VERSIONS
def test_clientCertificates(
    version: int, name: str | None, clientAuth: str, tmp_path: Path
) -> None:
    """For every name; the protocol knows them from the first."""
    certificate(tmp_path / "certs", "a.example")
    certificate(tmp_path / "certs", "b.example")
    seen: list[Any] = []

    class Asks(Logged):
        def connectionMade(self) -> None:
            seen.append(nameOf(self.transport.getPeerCertificate()))

    with staged(
        Asks, certs=tmp_path / "certs", clientCA=clientCA(tmp_path), clientAuth=clientAuth
    ) as stage:
        good = issue("a client", by=authority())
        stage.client(name, context=clientContext(good, version=version)).go()
        assert seen == ["a client"]
        stranger = issue("a stranger")
        stage.client(name, context=clientContext(stranger, version=version)).go()
        assert seen == ["a client"]
        stage.client(name, context=clientContext(version=version)).go()
        assert seen == (["a client"] if clientAuth == "required" else ["a client", None])
        expected = ["self-signed certificate", "peer did not return a certificate"]
        assert len(stage.events(HandshakeFailed)) == 2 - (clientAuth == "optional")
        for reason, told in zip(expected, stage.reasons(HandshakeFailed), strict=False):
            assert told == reason or "certificate verify failed" in told


@VERSIONS
def test_resumption(version: int, tmp_path: Path) -> None:
    """By tickets, for clients with certificates too, which are known again."""
    seen: list[Any] = []

    class Asks(Echo):
        def connectionMade(self) -> None:
            seen.append(nameOf(self.transport.getPeerCertificate()))

    with staged(Asks, cert=certificate(tmp_path), clientCA=clientCA(tmp_path)) as stage:
        context = clientContext(issue("a client", by=authority()), version=version)
        first = stage.client("a.example", context=context).go().send(b"x")
        session = first.ssl.get_session()
        assert session is not None
        again = Client(stage, context, "a.example")
        again.ssl.set_session(session)
        again.go().send(b"y")
        assert again.received == b"y"
        assert seen == ["a client"] * 2
        # A resumed handshake shows no certificate again.
        assert len(stage.layers) == 2


def test_aSessionOpensNoOtherDoor(tmp_path: Path) -> None:
    """
    A name that is not here is refused although a session needs no certificate.

    In TLS 1.2 OpenSSL goes by the name that the session was made for.
    """
    with staged(cert=certificate(tmp_path), unknownName="refuse") as stage:
        context = clientContext(version=SSL.TLS1_3_VERSION)
        first = stage.client("a.example", context=context).go().send(b"x")
        session = first.ssl.get_session()
        assert session is not None
        again = Client(stage, context, "unknown.example")
        again.ssl.set_session(session)
        again.go()
        assert len(stage.protocols) == 1
        reasons = stage.reasons(HandshakeFailed)
        assert reasons == ["it asked for a name that is not here"]


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [([b"one", b"two"], b"two"), ([b"two", b"three"], b"two"), (None, None)],
)
def test_applicationProtocols(
    offered: list[bytes] | None, agreed: bytes | None, cert: Path
) -> None:
    """The first that the service's factory names; a client that offers none has none."""
    seen: list[Any] = []

    class Asks(Logged):
        def connectionMade(self) -> None:
            seen.append(self.transport.negotiatedProtocol)

    @implementer(IProtocolNegotiationFactory)
    class Speaks(Factory):
        protocol = Asks

        def acceptableProtocols(self) -> list[bytes]:
            return [b"two", b"three"]

    with staged(Speaks(), cert=cert) as stage:
        context = clientContext()
        if offered is not None:
            context.set_alpn_protos(offered)
        stage.client(context=context).go()
        assert seen == [agreed]
        context = clientContext()
        context.set_alpn_protos([b"other"])
        refused = stage.client(context=context).go()
        assert "no application protocol" in str(refused.error)
        assert stage.reasons(HandshakeFailed) == ["no application protocol in common"]
        assert len(seen) == 1


# --- what is left ----------------------------------------------------------------


def test_nothingIsLeft(cert: Path) -> None:
    """A connection that is gone needs no garbage collector."""
    stage = Stage(Echo, {"cert": str(cert)})
    gone: list[weakref.ref[Any]] = []
    gc.collect()
    gc.disable()
    try:
        for ending in ("goodbye", "abort", "ours", "broken", "unfinished"):
            client = stage.client()
            if ending == "unfinished":
                client.peer.send(b"\x16")
                stage.reactor.settle()
                client.peer.abort()
            else:
                client.go()
                if ending == "goodbye":
                    client.peer.send(client.goodbye())
                    client.peer.closeWrite()
                elif ending == "abort":
                    client.peer.abort()
                elif ending == "broken":
                    client.peer.send(b"\x17\x03\x03\x00\x01x")
                else:
                    stage.protocol.transport.loseConnection()
            stage.reactor.advance(3)
            gone += [weakref.ref(stage.layer), weakref.ref(stage.layer.getHandle())]
            stage.layers.clear()
            stage.protocols.clear()
            del client
            assert [each() for each in gone] == [None] * len(gone), ending
    finally:
        gc.enable()
    stage.stop()


def test_renewalInTheMidstOfAHandshake(tmp_path: Path) -> None:
    """What OpenSSL may still call stays, as long as it may."""
    certificate(tmp_path, "a.example")
    certificate(tmp_path, "b.example")
    with staged(certs=tmp_path) as stage:
        client = stage.client("b.example")
        client.think()
        client.peer.send(client.flight())
        client.hear()
        old = weakref.ref(stage.wrapped._store.current)
        stage.wrapped.reload()
        gc.collect()
        assert old() is not None
        assert client.go().isOpen
        gc.collect()
        assert old() is None
        assert client.send(b"hello").received == b"hello"
