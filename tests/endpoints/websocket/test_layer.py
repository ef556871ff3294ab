"""What a WebSocket connection does with frames, pressure, silence and its end."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IPullProducer,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from zope.interface import implementer, providedBy

from myserv.endpoints.bare import BareContext
from myserv.endpoints.farewell import LINGER
from myserv.endpoints.parse import parseEndpoint
from myserv.endpoints.websocket.layer import CLOSE_TIMEOUT, WebSocketFactory
from myserv.events import ConnectionRefused, ProtocolRaised
from myserv.interfaces import IDrainable, IMessageProtocol, IMessageTransport, IWebSocketTransport
from myserv.plugin import ProtocolPlugin
from myserv.testing import chunkings, hostPlugin
from tests.endpoints.websocket.kit import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Client,
    Echo,
    Half,
    Messages,
    Recorder,
    Said,
    Stage,
    closing,
    frame,
    request,
)

OPTIONS = parseEndpoint("websocket:tcp:80").layers[0].options


def closed(code: int, reason: str = "") -> Said:
    """A close frame of the server's."""
    return Said(CLOSE, (code, reason))


def codeOf(said: list[Said]) -> int:
    """The code of the close frame that the server ended with."""
    assert said[-1].opcode == CLOSE
    code: int = said[-1].payload[0]
    return code


class TestStream:
    def test_messagesAreBytes(self) -> None:
        """Text or binary, they are bytes to the protocol, and come back as binary."""
        stage = Stage()
        client = stage.open()
        assert client.send(frame(BINARY, b"\0\xff")) == [Said(BINARY, b"\0\xff")]
        assert client.send(frame(TEXT, "grün")) == [Said(BINARY, "grün".encode())]
        assert stage.protocol.received == [b"\0\xff", "grün".encode()]

    def test_fragments(self) -> None:
        """Are delivered as they come, control frames between them."""
        stage = Stage(Recorder)
        client = stage.open()
        client.peer.send(frame(TEXT, "grün".encode()[:3], fin=False))
        stage.settle()
        assert stage.protocol.received == [b"gr"]
        assert client.send(frame(PING, b"?")) == [Said(PONG, b"?")]
        client.send(frame(CONTINUATION, b"", fin=False), frame(CONTINUATION, "grün".encode()[3:]))
        assert b"".join(stage.protocol.received) == "grün".encode()

    def test_whateverWayTheyArrive(self) -> None:
        """Frames whole, byte by byte, in two at every place."""
        stream = frame(BINARY, b"one") + frame(PING, b"x") + frame(TEXT, "zwölf", fin=False)
        stream += frame(PONG) + frame(CONTINUATION, b"!") + frame(BINARY, b"a" * 130) + closing()
        for pieces in chunkings(stream):
            stage = Stage(Recorder)
            client = stage.open()
            assert client.send(*pieces) == [Said(PONG, b"x"), closed(1000)]
            assert b"".join(stage.protocol.received) == b"one" + "zwölf!".encode() + b"a" * 130
            assert stage.isClean()

    @pytest.mark.parametrize("size", [1, 125, 126, 65535, 65536, 100_000])
    def test_lengths(self, size: int) -> None:
        """Each way of writing a length, both ways."""
        stage = Stage()
        client = stage.open()
        stage.settle()
        client.peer.send(frame(BINARY, b"x" * size))
        stage.settle()
        assert client.bytes() == b"x" * size

    def test_largeWritesAreSeveralMessages(self) -> None:
        """None larger than what we would take ourselves."""
        stage = Stage(Recorder, maxMessage=125)
        client = stage.open()
        stage.protocol.transport.writeSequence([b"x" * 200, b"y" * 100])
        assert [len(each.payload) for each in client.said()] == [125, 125, 50]
        stage.protocol.transport.write(b"")
        assert client.said() == []

    def test_text(self) -> None:
        """The stream as text; characters wait until they are whole."""
        stage = Stage(Recorder, frames="text", maxMessage=125)
        client = stage.open()
        data = "aß水𝄞".encode()
        for each in data:
            stage.protocol.transport.write(bytes([each]))
        assert [each.payload for each in client.said()] == list("aß水𝄞")
        stage.protocol.transport.write("水".encode() * 100)
        said = client.said()
        assert "".join(each.payload for each in said) == "水" * 100
        assert {each.opcode for each in said} == {TEXT}
        assert max(len(each.payload.encode()) for each in said) == 123

    def test_whatIsNotText(self) -> None:
        """Is our fault when the service wrote it, and the client's when it sent it."""
        stage = Stage(Recorder, frames="text")
        client = stage.open()
        stage.protocol.transport.write(b"\xff")
        stage.protocol.transport.write(b"more")
        stage.reactor.advance(LINGER)
        stage.protocol.transport.write(b"\xff")
        assert client.said() == [closed(1011, "the service wrote what is not UTF-8")]
        assert stage.ended().reason == "the service wrote what is not UTF-8"
        stage = Stage(Recorder, frames="text")
        assert codeOf(stage.open().send(frame(BINARY, b"x"))) == 1003
        assert stage.protocol.received == []
        assert stage.isClean()

    def test_halfACharacter(self) -> None:
        """Cannot be sent when the end comes."""
        stage = Stage(Recorder, frames="text")
        client = stage.open()
        stage.protocol.transport.write("ß".encode()[:1])
        stage.protocol.transport.loseConnection()
        assert client.said() == [closed(1011, "the service wrote half a character")]
        assert stage.isClean()

    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(st.tuples(st.binary(max_size=300), st.booleans()), max_size=6),
        st.lists(st.integers(1, 50), min_size=1, max_size=20),
        st.booleans(),
    )
    def test_anyStream(
        self, messages: list[tuple[bytes, bool]], sizes: list[int], compress: bool
    ) -> None:
        """Whatever is sent, fragmented and broken up in whatever way, comes back."""
        stage = Stage(compress=compress)
        client = stage.open(sec_websocket_extensions="permessage-deflate" if compress else None)
        stream = b""
        for data, whole in messages:
            half = len(data) // 2
            stream += (
                frame(BINARY, data)
                if whole
                else frame(BINARY, data[:half], fin=False)
                + frame(PING)
                + frame(CONTINUATION, data[half:])
            )
        rest, answered = stream, b""
        for size in itertools.cycle(sizes):
            if not rest:
                break
            client.peer.send(rest[:size])
            rest = rest[size:]
            answered += client.bytes()
        assert answered == b"".join(data for data, _ in messages)


class TestHostileFrames:
    @pytest.mark.parametrize(
        ("code", "frames"),
        [
            (1002, frame(BINARY, b"x", masked=False)),
            (1002, frame(3, b"x")),
            (1002, frame(0xB, b"x")),
            (1002, frame(BINARY, b"x", rsv=4)),
            (1002, frame(BINARY, b"x", rsv=2)),
            (1002, frame(BINARY, b"x", rsv=1)),
            (1002, frame(CONTINUATION, b"x")),
            (1002, frame(BINARY, b"x", fin=False) + frame(BINARY, b"x")),
            (1002, frame(PING, b"x", fin=False)),
            (1002, frame(PING, b"x" * 126)),
            (1002, frame(CLOSE, b"x")),
            (1002, frame(CLOSE, b"x" * 126)),
            (1002, closing(999)),
            (1002, closing(1004)),
            (1002, closing(1005)),
            (1002, closing(1006)),
            (1002, closing(1016)),
            (1002, closing(2999)),
            (1002, closing(5000)),
            (1002, b"\x82\xfe\x00\x05"),
            (1002, b"\x82\xff" + struct.pack("!Q", 5)),
            (1002, b"\x82\xff" + struct.pack("!Q", 1 << 63)),
            (1007, frame(TEXT, b"\xff")),
            (1007, frame(TEXT, b"\xed\xa0\x80")),
            (1007, frame(TEXT, b"\xc3")),
            (1007, frame(TEXT, b"\xc3", fin=False) + frame(CONTINUATION, b"x")),
            (1007, frame(CLOSE, b"\x03\xe8\xff")),
        ],
    )
    def test_areRefused(self, code: int, frames: bytes) -> None:
        """With the code that says why, at once; what comes behind is thrown away."""
        stage = Stage(Recorder)
        client = stage.open()
        client.peer.stay()
        said = client.send(frames + frame(BINARY, b"behind"))
        assert codeOf(said) == code
        assert client.peer.writeClosed
        assert b"behind" not in stage.protocol.received
        client.peer.send(frame(PING))
        stage.reactor.advance(LINGER)
        assert client.peer.closed
        assert stage.ended().reason.startswith("the peer broke the protocol: ")
        assert not stage.protocol.reason.check(ConnectionDone, ConnectionLost)
        assert stage.isClean()

    def test_tooLarge(self) -> None:
        """A message of one frame, of many, and of nothing but promises."""
        size = 1000
        many = frame(BINARY, b"x", fin=False) + frame(CONTINUATION, b"x", fin=False) * size
        for stream in (
            frame(BINARY, b"x" * (size + 1)),
            many,
            b"\x82\xff" + struct.pack("!Q", 1 << 62) + b"\0" * (size + 5),
        ):
            for protocol in (Recorder, Messages):
                stage = Stage(protocol, maxMessage=size)
                client = stage.open()
                assert client.send(stream) == [closed(1009, "a message has more than 1kB")]
                assert stage.ended().bytesReceived <= size
                assert stage.isClean()

    def test_theLargest(self) -> None:
        """Is taken, again and again."""
        stage = Stage(Messages, maxMessage=1000)
        client = stage.open()
        for _ in range(3):
            client.send(frame(BINARY, b"x" * 1000))
            client.send(frame(TEXT, b"x" * 500, fin=False) + frame(CONTINUATION, b"x" * 500))
        assert stage.protocol.received == [b"x" * 1000, "x" * 1000] * 3

    def test_emptyFragments(self) -> None:
        """Cost nothing but the time to read them."""
        stage = Stage(Messages)
        client = stage.open()
        client.peer.send(frame(BINARY, fin=False) + frame(CONTINUATION, fin=False) * 10_000)
        stage.settle()
        assert len(stage.layer._assembly._kept) == 0
        client.send(frame(CONTINUATION, b"x"))
        assert stage.protocol.received == [b"x"]

    def test_pingsWithoutReading(self) -> None:
        """A peer that asks and does not read is owed one answer, the last."""
        stage = Stage(Recorder)
        client = stage.open()
        client.peer.pauseReading(window=1)
        stage.protocol.transport.write(b"x" * 100_000)
        stage.settle()
        for number in range(1000):
            client.peer.send(frame(PING, str(number)))
        stage.settle()
        client.peer.resumeReading()
        said = client.said()
        assert said[-1] == Said(PONG, b"999")
        assert [each.opcode for each in said].count(PONG) == 1


class TestMessages:
    def test_whole(self) -> None:
        """Text is str and all else bytes, both ways."""
        stage = Stage(Messages)
        client = stage.open()
        assert client.send(frame(TEXT, "grün"), frame(BINARY, b"\xff"), frame(TEXT)) == [
            Said(TEXT, "grün"),
            Said(BINARY, b"\xff"),
            Said(TEXT, ""),
        ]
        assert stage.protocol.received == ["grün", b"\xff", ""]

    def test_fragmented(self) -> None:
        """Are put together, wherever they were broken."""
        data = "aß水𝄞".encode()
        stream = frame(TEXT, data[:2], fin=False) + frame(PING) + frame(CONTINUATION, data[2:])
        for pieces in chunkings(stream):
            stage = Stage(Messages)
            client = stage.open()
            client.send(*pieces)
            assert stage.protocol.received == ["aß水𝄞"]

    def test_areCounted(self) -> None:
        """As the bytes that they are."""
        stage = Stage(Messages)
        client = stage.open()
        client.send(frame(TEXT, "ü"), frame(TEXT, "u"), frame(BINARY, b"\xff"), closing())
        assert (stage.ended().bytesReceived, stage.ended().bytesSent) == (4, 4)

    def test_theTransport(self) -> None:
        """Says what it can do."""
        stage = Stage(Messages)
        stage.open()
        transport = stage.protocol.transport
        for interface in (IMessageTransport, IWebSocketTransport, ITCPTransport, IConsumer):
            assert interface.providedBy(transport)
        assert IMessageProtocol in providedBy(transport)
        transport.write(b"as bytes")
        stage = Stage(Recorder)
        stage.open()
        assert not IMessageProtocol.providedBy(stage.protocol.transport)

    def test_aBugOfTheProtocol(self) -> None:
        """Costs this connection, at once, and is known; what was to come is not delivered."""

        class Broken(Messages):
            def messageReceived(self, message: bytes | str) -> None:
                self.received.append(message)
                raise ZeroDivisionError

        stage = Stage(Broken)
        client, other = stage.open(), stage.open()
        broken = stage.built[0]
        client.peer.send(frame(TEXT, "x") * 3)
        stage.settle()
        assert client.peer.aborted
        assert broken.received == ["x"]
        [raised] = stage.observer.ofType(ProtocolRaised)
        assert raised.during == "messageReceived"
        assert other.send(frame(PING)) == [Said(PONG, b"")]

    def test_whatCannotBeSent(self) -> None:
        """Is the author's mistake, where it was made."""
        stage = Stage(Recorder)
        stage.open()
        with pytest.raises(RuntimeError, match="only an IMessageProtocol"):
            stage.protocol.transport.sendMessage("x")
        stage = Stage(Messages)
        stage.open()
        with pytest.raises(TypeError):
            stage.protocol.transport.sendMessage(7)
        with pytest.raises(UnicodeEncodeError):
            stage.protocol.transport.sendMessage("\ud800")

    def test_withoutALayerOfMessages(self) -> None:
        """A protocol that takes nothing else refuses, in words; one that does is served."""
        server = hostPlugin(ProtocolPlugin("chat", "", stream=Protocol))
        server.stop()

        class Both(Messages, Echo):
            pass

        @implementer(IMessageProtocol)
        class Only(Protocol):
            def messageReceived(self, message: bytes | str) -> None:
                """Never called."""

            def connectionMade(self) -> None:
                raise AssertionError

            connectionLost = connectionMade  # type: ignore[assignment]  # never called either

        server = hostPlugin(ProtocolPlugin("chat", "", stream=Only))
        peer = server.connect()
        server.settle()
        assert peer.aborted
        [refused] = server.observer.ofType(ConnectionRefused)
        assert (
            refused.reason == "the protocol takes messages, and this endpoint has no layer of them"
        )
        assert server.observer.ofType(ProtocolRaised) == []
        server = hostPlugin(ProtocolPlugin("chat", "", stream=Both))
        peer = server.connect()
        peer.send(b"hello")
        server.settle()
        assert peer.received == b"hello"
        peer.close()
        server.settle()

    def test_anotherProtocolTakesOver(self) -> None:
        """Messages are for the one that is there."""
        stage = Stage(Recorder)
        client = stage.open()
        client.send(frame(TEXT, "one"))
        other = Messages()
        stage.protocol.transport.protocol = other
        other.makeConnection(stage.protocol.transport)
        client.send(frame(TEXT, "two"))
        assert (stage.protocol.received, other.received) == ([b"one"], ["two"])


class TestReading:
    def test_pausedTransportDeliversNothing(self) -> None:
        """Not even what was read before; it comes when reading goes on, in order."""

        class OneByOne(Recorder):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                self.transport.pauseProducing()

        stage = Stage(OneByOne)
        client = stage.open()
        client.send(b"".join(frame(BINARY, str(i)) for i in range(5)))
        for count in range(1, 6):
            assert stage.protocol.received == [b"0", b"1", b"2", b"3", b"4"][:count]
            stage.protocol.transport.resumeProducing()
            # Nothing happens inside of the call.
            assert len(stage.protocol.received) == count
            stage.protocol.transport.resumeProducing()
            stage.settle()
        client.send(frame(BINARY, b"5"))
        assert stage.protocol.received[-1] == b"5"

    def test_pauseAndResumeWithinOneCall(self) -> None:
        """Is no pause."""

        class Hesitant(Recorder):
            def dataReceived(self, data: bytes) -> None:
                self.transport.pauseProducing()
                super().dataReceived(data)
                self.transport.resumeProducing()

        stage = Stage(Hesitant)
        stage.open().send(frame(BINARY, b"a") + frame(BINARY, b"b"))
        assert stage.protocol.received == [b"a", b"b"]

    def test_pausedFromTheStart(self) -> None:
        """A protocol may pause before anything came."""

        class Shy(Recorder):
            def connectionMade(self) -> None:
                self.transport.pauseProducing()

        stage = Stage(Shy)
        client = stage.connect()
        client.ask(request() + frame(BINARY, b"early"))
        assert stage.protocol.received == []
        stage.protocol.transport.resumeProducing()
        stage.protocol.transport.pauseProducing()
        stage.settle()
        assert stage.protocol.received == []
        stage.protocol.transport.resumeProducing()
        stage.settle()
        assert stage.protocol.received == [b"early"]

    def test_pressureReachesThePeer(self) -> None:
        """What is not read stays where it is."""
        stage = Stage(Recorder)
        client = stage.open()
        stage.protocol.transport.pauseProducing()
        client.peer.send(frame(BINARY, b"x" * 1000))
        stage.settle()
        assert client.peer.unread > 1000

    def test_thePeerLeavesWhileNothingIsDelivered(self) -> None:
        """What was not delivered is gone with it."""

        class OneByOne(Recorder):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                self.transport.pauseProducing()
                self.transport.abortConnection()

        stage = Stage(OneByOne)
        client = stage.open()
        client.peer.send(frame(BINARY, b"a") + frame(BINARY, b"b"))
        stage.settle()
        assert stage.protocol.received == [b"a"]
        assert stage.isClean()

    def test_goneBeforeItGoesOn(self) -> None:
        """Whoever resumed does not hear from it again."""

        class OneByOne(Recorder):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                self.transport.pauseProducing()

        stage = Stage(OneByOne)
        client = stage.open()
        client.peer.send(frame(BINARY, b"a") + frame(BINARY, b"b"))
        stage.settle()
        stage.protocol.transport.resumeProducing()
        stage.protocol.transport.abortConnection()
        stage.settle()
        assert stage.protocol.received == [b"a"]
        assert stage.isClean()


@implementer(IPushProducer, IPullProducer)
class Producer:
    """Writes blocks while it may, or when it is asked."""

    def __init__(self, transport: Any, blocks: int, streaming: bool) -> None:
        self.transport = transport
        self.blocks = blocks
        self.streaming = streaming
        self.running = True
        self.stopped = False
        transport.registerProducer(self, streaming)
        if streaming:
            self.resumeProducing()

    def resumeProducing(self) -> None:
        self.running = True
        while self.blocks and self.running:
            self.blocks -= 1
            self.transport.write(b"x" * 10_000)
            self.running = self.streaming and self.running
        if not self.blocks and not self.stopped:
            self.stopped = True
            self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        self.running = False

    def stopProducing(self) -> None:
        self.stopped = True
        self.running = False


STREAMING = pytest.mark.parametrize("streaming", [True, False])


class TestProducers:
    @STREAMING
    def test_slowReader(self, streaming: bool) -> None:
        """A producer waits for the peer, and then goes on to the end."""
        stage = Stage(Recorder)
        client = stage.open()
        client.peer.pauseReading(window=1000)
        producer = Producer(stage.protocol.transport, 100, streaming)
        stage.settle()
        assert producer.blocks > 80
        stage.protocol.transport.loseConnection()
        stage.reactor.advance(20)
        assert stage.listener.connections
        client.peer.resumeReading()
        said = [*client.said(), *client.said()]
        while said[-1].opcode != CLOSE:
            said += client.said()
        assert sum(len(each.payload) for each in said[:-1]) == 1_000_000
        assert codeOf(said) == 1000
        client.send(closing())
        assert stage.isClean()

    @STREAMING
    def test_thePeerGoes(self, streaming: bool) -> None:
        """The producer is told to stop."""
        stage = Stage(Recorder)
        client = stage.open()
        client.peer.pauseReading(window=1000)
        producer = Producer(stage.protocol.transport, 100, streaming)
        stage.settle()
        client.peer.abort()
        stage.settle()
        assert producer.stopped
        assert stage.isClean()

    @STREAMING
    def test_thePeerCloses(self, streaming: bool) -> None:
        """Nobody waits for a producer when the peer has said that it is over."""
        stage = Stage(Recorder)
        client = stage.open()
        client.peer.pauseReading(window=1000)
        producer = Producer(stage.protocol.transport, 100, streaming)
        client.peer.send(closing(4000))
        stage.settle()
        client.peer.resumeReading()
        said = client.said()
        assert codeOf(said) == 4000
        assert 0 < len(said) < 20
        assert producer.stopped
        assert producer.blocks > 80
        assert stage.isClean()

    def test_oneAtATime(self) -> None:
        """A second is refused, as a transport does; and after the end it is told to stop."""
        stage = Stage(Recorder)
        client = stage.open()
        transport = stage.protocol.transport
        transport.registerProducer(Producer(Stage0(), 0, True), True)
        with pytest.raises(RuntimeError, match="was never unregistered"):
            transport.registerProducer(object(), True)
        transport.unregisterProducer()
        transport.registerProducer(Producer(Stage0(), 0, False), False)
        transport.unregisterProducer()
        client.send(frame(BINARY, b"x", masked=False))
        layer = stage.protocol.transport._transport
        late = Producer(layer, 1, False)
        assert late.stopped
        layer.unregisterProducer()

    def test_duringTheFarewell(self) -> None:
        """Nothing is produced any more, and the producer may say that it is done."""
        stage = Stage(Recorder)
        client = stage.open()
        client.peer.stay()
        producer = Producer(stage.protocol.transport, 10**6, False)
        client.peer.send(frame(BINARY, b"x", masked=False))
        stage.reactor.settle()
        client.peer.take()
        stage.protocol.transport.unregisterProducer()
        late = Producer(stage.protocol.transport, 1, True)
        assert late.stopped
        stage.protocol.transport.unregisterProducer()
        stage.reactor.advance(LINGER)
        assert producer.blocks > 1
        assert stage.isClean()


class Stage0:
    """A transport that nothing happens on."""

    def registerProducer(self, producer: object, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...


class TestClosing:
    def test_weClose(self) -> None:
        """What was written comes first; then both say goodbye, and the peer's closes it."""
        stage = Stage(Recorder)
        client = stage.open()
        stage.protocol.transport.write(b"bye")
        stage.protocol.transport.loseConnection()
        stage.protocol.transport.loseConnection()
        assert client.said() == [Said(BINARY, b"bye"), closed(1000)]
        assert not client.peer.writeClosed
        client.peer.send(frame(BINARY, b"late") + frame(PING) + closing())
        assert client.said() == []
        assert client.peer.closed
        assert stage.protocol.received == []
        assert stage.protocol.reason.check(ConnectionDone)
        assert stage.ended().reason == "closed"
        assert stage.isClean()

    def test_nothingIsSentAfterTheEnd(self) -> None:
        """A message behind the close frame would break the protocol."""
        stage = Stage(Messages)
        client = stage.open()
        transport = stage.protocol.transport
        transport.loseConnection()
        transport.write(b"late")
        transport.sendMessage("late")
        assert client.said() == [closed(1000)]
        client.send(closing())
        transport.write(b"later")
        transport.sendMessage("later")
        transport.loseConnection()
        transport.abortConnection()
        assert stage.isClean()

    def test_thePeerDoesNotAnswer(self) -> None:
        """It has a little time, and then the rest of the farewell."""
        stage = Stage(Recorder)
        client = stage.open()
        client.peer.stay()
        stage.protocol.transport.loseConnection()
        stage.reactor.advance(CLOSE_TIMEOUT - 0.1)
        assert not client.peer.writeClosed
        stage.reactor.advance(0.1)
        assert client.peer.writeClosed
        assert not client.peer.closed
        stage.reactor.advance(LINGER)
        assert client.peer.closed
        assert stage.isClean()

    def test_thePeerClosesTheStreamInstead(self) -> None:
        """Which says the same."""
        stage = Stage(Recorder)
        client = stage.open()
        stage.protocol.transport.loseConnection()
        client.said()
        client.peer.closeWrite()
        stage.settle()
        assert client.peer.closed
        assert stage.isClean()

    def test_aSlowReaderGetsAll(self) -> None:
        """However long it takes."""
        stage = Stage(Recorder)
        client = stage.open()
        client.peer.pauseReading(window=10)
        stage.protocol.transport.write(b"x" * 200_000)
        stage.protocol.transport.loseConnection()
        stage.reactor.advance(60)
        client.peer.resumeReading()
        stage.settle()
        said = client.said()
        assert len(said[0].payload) == 200_000
        assert codeOf(said) == 1000
        stage.reactor.advance(LINGER)
        assert stage.isClean()

    def test_whilePaused(self) -> None:
        """A protocol may close while it does not read: the peer's close frame is heard."""
        stage = Stage(Recorder)
        client = stage.open()
        stage.protocol.transport.pauseProducing()
        stage.protocol.transport.stopProducing()
        stage.protocol.transport.pauseProducing()
        assert client.said() == [closed(1000)]
        client.send(closing())
        assert stage.isClean()

    def test_whilePausedWithSomethingLeft(self) -> None:
        """What was not delivered is thrown away."""

        class Last(Recorder):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                self.transport.pauseProducing()

        stage = Stage(Last)
        client = stage.open()
        client.send(frame(BINARY, b"a") + frame(BINARY, b"b") + closing(1001))
        stage.protocol.transport.loseConnection()
        assert client.said() == [closed(1000)]
        assert stage.protocol.received == [b"a"]
        assert stage.isClean()

    @pytest.mark.parametrize("code", [1000, 1001, 3000, 4999, None])
    def test_thePeerCloses(self, code: int | None) -> None:
        """Its code comes back, behind what was written; what comes after is thrown away."""
        stage = Stage(Echo)
        client = stage.open()
        said = client.send(frame(BINARY, b"x") + closing(code, "") + frame(BINARY, b"y"))
        assert said == [Said(BINARY, b"x"), closed(1005 if code is None else code)]
        assert client.peer.closed
        assert stage.protocol.reason.check(ConnectionDone)
        assert stage.isClean()

    def test_aProtocolThatHalfCloses(self) -> None:
        """Hears that the peer is done, and may have a last word."""
        stage = Stage(Half)
        client = stage.open()
        client.peer.send(closing())
        stage.settle()
        client.peer.send(b"\xff" * 1000)
        stage.settle()
        assert stage.protocol.log == ["made", "half"]
        stage.reactor.advance(1)
        stage.protocol.transport.write(b"last")
        stage.protocol.transport.loseConnection()
        assert client.said() == [Said(BINARY, b"last"), closed(1000)]
        assert stage.isClean()

    @pytest.mark.parametrize("goodbye", [closing(), b""])
    def test_isToldOnce(self, goodbye: bytes) -> None:
        """Though the end of the stream follows the close frame."""
        stage = Stage(Half)
        client = stage.open()
        client.peer.send(goodbye)
        client.peer.closeWrite()
        stage.reactor.advance(CLOSE_TIMEOUT + LINGER)
        assert stage.protocol.log[:2] == ["made", "half"]
        assert stage.protocol.log.count("half") == 1
        stage.protocol.transport.loseConnection()
        stage.settle()
        assert stage.isClean()

    def test_itsTimeIsShort(self) -> None:
        """A close frame has to be answered soon (section 5.5.1)."""
        stage = Stage(Half)
        client = stage.open()
        client.peer.send(closing(1001))
        stage.settle()
        stage.reactor.advance(CLOSE_TIMEOUT)
        assert client.said() == [closed(1001)]
        stage.protocol.transport.write(b"late")
        stage.protocol.transport.loseConnection()
        assert stage.isClean()

    def test_theStreamEndsWithoutACloseFrame(self) -> None:
        """The protocol is told as over any stream, and answers."""
        stage = Stage(Echo)
        client = stage.open()
        client.peer.send(frame(BINARY, b"x"))
        client.peer.closeWrite()
        assert client.said() == [Said(BINARY, b"x"), closed(1000)]
        assert stage.isClean()
        stage = Stage(Half)
        client = stage.open()
        client.peer.closeWrite()
        stage.reactor.advance(300)
        assert stage.protocol.log == ["made", "half"]
        stage.protocol.transport.write(b"late")
        stage.protocol.transport.pauseProducing()
        stage.protocol.transport.loseConnection()
        assert client.said() == [Said(BINARY, b"late"), closed(1000)]
        assert stage.isClean()

    def test_theStreamEndsWhileAProducerIsWaitedFor(self) -> None:
        """There is nobody left to wait for."""
        stage = Stage(Recorder)
        client = stage.open()
        producer = Producer(stage.protocol.transport, 1, False)
        producer.stopped = False
        stage.protocol.transport.registerProducer(producer, True)
        stage.protocol.transport.loseConnection()
        client.said()
        client.peer.closeWrite()
        assert codeOf(client.said()) == 1000
        assert producer.stopped
        assert stage.isClean()

    def test_thePeerClosesWhileAProducerIsWaitedFor(self) -> None:
        """The same with a close frame."""
        stage = Stage(Recorder)
        client = stage.open()
        producer = Producer(Stage0(), 0, True)
        stage.protocol.transport.registerProducer(producer, True)
        stage.protocol.transport.loseConnection()
        assert client.said() == []
        assert client.send(frame(BINARY, b"x") + closing(1001)) == [closed(1001)]
        assert stage.protocol.received == []
        assert stage.isClean()

    @pytest.mark.parametrize("leave", ["close", "abort"])
    def test_thePeerJustGoes(self, leave: str) -> None:
        """Nothing is left."""
        stage = Stage(Recorder)
        client = stage.open()
        getattr(client.peer, leave)()
        stage.settle()
        assert stage.isClean()
        assert stage.protocol.log == ["made", "lost"]

    def test_theServerGoesAway(self) -> None:
        """1001, and the peer's code if it closes first."""
        stage = Stage(Recorder)
        client, other = stage.open(), stage.open()
        stopped = stage.listener.stop(5)
        # As soon as neither could have a request under way.
        stage.reactor.advance(2)
        assert client.said() == [closed(1001)]
        client.send(closing(1001))
        other.said()
        stage.reactor.advance(5)
        assert stopped.called
        assert not stage.listener.connections

    def test_aProtocolThatDrains(self) -> None:
        """Ends by itself, with the same code."""

        @implementer(IDrainable)
        class Polite(Recorder):
            def drainRequested(self, deadline: float) -> None:
                self.transport.write(b"bye")
                self.transport.loseConnection()

        stage = Stage(Polite)
        client = stage.open()
        stage.listener.stop(5)
        stage.reactor.advance(2)
        assert client.said() == [Said(BINARY, b"bye"), closed(1001)]
        client.send(closing(1001))
        assert not stage.listener.connections

    def test_abort(self) -> None:
        """No close frame."""
        stage = Stage(Recorder)
        client = stage.open()
        stage.protocol.transport.abortConnection()
        stage.settle()
        assert client.peer.aborted
        assert client.peer.received == b""
        assert stage.ended().reason == "aborted"
        assert stage.protocol.reason.check(ConnectionAborted)
        assert stage.isClean()

    @pytest.mark.parametrize("how", ["loseConnection", "abortConnection"])
    def test_inConnectionMade(self, how: str) -> None:
        """A protocol may decide at once; what the client had said already goes nowhere."""

        class Brief(Recorder):
            def connectionMade(self) -> None:
                super().connectionMade()
                getattr(self.transport, how)()

        stage = Stage(Brief)
        client = stage.connect()
        client.ask(request() + frame(BINARY, b"x") + closing())
        stage.settle()
        assert stage.protocol.received == []
        assert stage.isClean()

    def test_aRefusedPeer(self) -> None:
        """Who is turned away behind the request is cut."""
        stage = Stage()
        stage.listener.stop()
        stage.settle()
        stage = Stage(lambda: 1 / 0)
        client = stage.connect()
        client.peer.send(request() + frame(BINARY, b"x"))
        stage.settle()
        assert client.peer.aborted
        assert not stage.reactor.getDelayedCalls()

    def test_everyOrder(self) -> None:
        """However both sides come to the end, nothing is left and nobody is told twice."""
        steps: dict[str, Callable[[Stage, Client], object]] = {
            "we close": lambda s, c: s.protocol.transport.loseConnection(),
            "we write": lambda s, c: s.protocol.transport.write(b"x"),
            "we pause": lambda s, c: s.protocol.transport.pauseProducing(),
            "we resume": lambda s, c: s.protocol.transport.resumeProducing(),
            "peer closes": lambda s, c: c.peer.send(closing()),
            "peer talks": lambda s, c: c.peer.send(frame(BINARY, b"x")),
            "peer errs": lambda s, c: c.peer.send(frame(7)),
            "peer ends": lambda s, c: c.peer.closeWrite(),
            "peer resets": lambda s, c: c.peer.abort(),
            "we abort": lambda s, c: s.protocol.transport.abortConnection(),
            "time": lambda s, c: s.reactor.advance(1.9),
        }
        for protocol in (Recorder, Half):
            for order in itertools.permutations(steps, 3):
                stage = Stage(protocol)
                client = stage.open()
                for step in order:
                    if step.startswith("peer") and not client.peer._writing:
                        continue
                    steps[step](stage, client)
                    stage.settle()
                if stage.listener.connections:
                    stage.protocol.transport.resumeProducing()
                    stage.protocol.transport.loseConnection()
                stage.reactor.advance(CLOSE_TIMEOUT + LINGER)
                assert stage.isClean(), order
                assert stage.protocol.log.count("lost") == 1, order


class TestKeepAlive:
    def test_silenceIsAskedAbout(self) -> None:
        """Once, after the interval; an answer is enough for the next two."""
        stage = Stage(Recorder, ping="10s")
        client = stage.open()
        stage.reactor.advance(9.9)
        assert client.said() == []
        stage.reactor.advance(0.1)
        assert client.said() == [Said(PING, b"")]
        client.send(frame(PONG))
        stage.reactor.advance(10)
        assert client.said() == []
        stage.reactor.advance(10)
        assert client.said() == [Said(PING, b"")]

    def test_whoDoesNotAnswerIsCut(self) -> None:
        """At the next look."""
        stage = Stage(Recorder, ping="10s")
        client = stage.open()
        stage.reactor.advance(19.9)
        assert stage.listener.connections
        stage.reactor.advance(0.1)
        assert client.peer.aborted
        assert stage.ended().reason == "the peer did not answer a ping"
        assert stage.isClean()

    def test_whoTalksIsNotAsked(self) -> None:
        """Whatever it says."""
        stage = Stage(Recorder, ping="10s")
        client = stage.open()
        for _ in range(10):
            stage.reactor.advance(9)
            assert client.send(frame(BINARY, b"x")) == []

    def test_whoIsNotReadIsExcused(self) -> None:
        """Its answer may be there."""
        stage = Stage(Recorder, ping="10s")
        client = stage.open()
        stage.protocol.transport.pauseProducing()
        stage.reactor.advance(100)
        assert stage.listener.connections
        stage.protocol.transport.resumeProducing()
        stage.reactor.advance(20)
        assert client.peer.aborted

    def test_aSlowReaderIsExcused(self) -> None:
        """It may not have been given the question."""
        stage = Stage(Recorder, ping="10s")
        client = stage.open()
        client.peer.pauseReading(window=10)
        stage.protocol.transport.write(b"x" * 100_000)
        stage.reactor.advance(100)
        assert stage.listener.connections
        client.peer.resumeReading()
        stage.settle()
        stage.reactor.advance(20)
        assert client.peer.aborted

    def test_never(self) -> None:
        """0s asks nobody."""
        stage = Stage(Recorder, ping="0s")
        client = stage.open()
        assert stage.reactor.getDelayedCalls() == []
        assert client.send(frame(PING, b"x")) == [Said(PONG, b"x")]
        client.send(closing())
        assert stage.isClean()

    def test_notWhileClosing(self) -> None:
        """The close frame has a deadline of its own."""
        stage = Stage(Recorder, ping="1s")
        client = stage.open()
        stage.protocol.transport.loseConnection()
        stage.reactor.advance(1.5)
        assert client.said() == [closed(1000)]


class TestWithoutAServer:
    """An endpoint that another program listens on: a protocol and no connection around it."""

    def open(self, protocol: Any) -> tuple[Any, StringTransport, MemoryReactorClock]:
        reactor = MemoryReactorClock()
        built: list[Any] = []

        class Building(Factory):
            def buildProtocol(self, addr: Any) -> Any:
                built.append(protocol())
                return built[-1]

        factory = WebSocketFactory(BareContext(reactor, "websocket"), OPTIONS, Building())
        factory.doStart()
        layer = factory.buildProtocol(None)
        wire = StringTransport()
        layer.makeConnection(wire)
        layer.dataReceived(request())
        wire.clear()
        return built[0], wire, reactor

    def test_aProtocol(self) -> None:
        """Is served, and closed when the peer is done."""
        protocol, wire, _ = self.open(Echo)
        layer = protocol.transport
        layer.dataReceived(frame(BINARY, b"x"))
        assert wire.value() == b"\x82\x01x"
        layer.dataReceived(closing())
        assert wire.value() == b"\x82\x01x\x88\x02\x03\xe8"
        assert wire.disconnecting
        # A layer below may go on to deliver, and be closed from its end.
        layer.dataReceived(frame(BINARY, b"y"))
        layer.readConnectionLost()
        layer.connectionLost()
        assert protocol.received == [b"x"]
        assert protocol.log == ["made", "lost"]

    def test_halves(self) -> None:
        """Are told of."""
        protocol, wire, reactor = self.open(Half)
        protocol.transport.dataReceived(closing())
        assert protocol.log == ["made", "half"]
        reactor.advance(CLOSE_TIMEOUT)
        assert wire.disconnecting
        protocol.transport.connectionLost()

    def test_aLayerThatDeliversAtOnce(self) -> None:
        """Does not confuse the order."""

        class Hesitant(Recorder):
            def dataReceived(self, data: bytes) -> None:
                self.transport.pauseProducing()
                super().dataReceived(data)
                self.transport.resumeProducing()

        protocol, wire, _ = self.open(Hesitant)
        layer = protocol.transport
        rest = [frame(BINARY, b"3"), frame(BINARY, b"4")]
        wire.resumeProducing = lambda: rest and layer.dataReceived(rest.pop(0))  # type: ignore[method-assign]  # for this one
        layer.dataReceived(frame(BINARY, b"1") + frame(BINARY, b"2"))
        assert protocol.received == [b"1", b"2", b"3", b"4"]
        layer.loseConnection()
        layer.loseConnection()
        layer.connectionLost()

    def test_producers(self) -> None:
        """There may be one at a time."""
        protocol, wire, _ = self.open(Echo)
        layer = protocol.transport
        Producer(layer, 5, False)
        outflow: Any = wire.producer
        with pytest.raises(RuntimeError):
            Producer(layer, 5, False)
        layer.unregisterProducer()
        # It may have been on its way when the last one finished.
        outflow.pauseProducing()
        outflow.resumeProducing()
        assert Producer(layer, 1, True).stopped
        layer.connectionLost()

    def test_stopProducing(self) -> None:
        """Whoever consumes what the peer sends has had enough."""
        protocol, wire, _ = self.open(Echo)
        layer = protocol.transport
        layer.stopProducing()
        assert wire.value() == b"\x88\x02\x03\xe8"
        layer.connectionLost()

    def test_closedBeforeTheRequest(self) -> None:
        """By whoever holds it."""
        reactor = MemoryReactorClock()
        factory = WebSocketFactory(
            BareContext(reactor, "websocket"), OPTIONS, Factory.forProtocol(Protocol)
        )
        layer = factory.buildProtocol(None)
        wire = StringTransport()
        layer.makeConnection(wire)
        layer.loseConnection()
        assert wire.disconnecting
        layer.dataReceived(request())
        assert wire.value() == b""
        late = Producer(layer, 1, True)
        assert late.stopped
        layer.write(b"x")
        layer.connectionLost()
        assert reactor.getDelayedCalls() == []
