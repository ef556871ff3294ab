"""Transports that write at once; see tests/wire/test_ports.py for real sockets."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from twisted.internet import tcp, unix
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from myserv.endpoints import prompt
from myserv.endpoints.prompt import TCPTransport, UNIXTransport
from tests.endpoints.ports import FULL, ScriptedSocket, WatchingReactor, failing

PEER = IPv4Address("TCP", "10.0.0.2", 1234)


class Port:
    """What accepted a connection."""

    def __init__(self) -> None:
        self.reactor = WatchingReactor()


class Answering(Protocol):
    """Does in dataReceived what a test wants."""

    def __init__(self, answer: Any = None, greet: Any = None) -> None:
        self.answer = answer
        self.greet = greet
        self.lost: list[Any] = []

    def connectionMade(self) -> None:
        if self.greet is not None:
            self.greet(self.transport)

    def dataReceived(self, data: bytes) -> None:
        if self.answer is not None:
            self.answer(self.transport)

    def connectionLost(self, reason: Failure | None = None) -> None:
        assert reason is not None
        self.lost.append(reason.value)


class Stage:
    """A connection and its two ends."""

    def __init__(
        self, answer: Any = None, greet: Any = None, kind: Any = TCPTransport, protocol: Any = None
    ) -> None:
        self.socket = ScriptedSocket()
        self.port = Port()
        self.reactor = self.port.reactor
        self.protocol: Any = protocol or Answering(answer, greet)
        address = "/peer" if kind is UNIXTransport else ("10.0.0.2", 1234)
        peer = UNIXAddress("/peer") if kind is UNIXTransport else PEER
        self.transport = kind(self.socket, self.protocol, address, peer, self.port, 3)
        self.transport.start()

    def receive(self, data: Any = b"?") -> Any:
        """Let something arrive."""
        self.socket.incoming.append(data)
        return self.transport.doRead()

    @property
    def writing(self) -> bool:
        """Whether the reactor is asked when the socket takes more."""
        return self.transport in self.reactor.writing


def test_whatIsNotPublic() -> None:
    """Twisted still has what the module uses of it, and means the same by it."""
    sock: Any = ScriptedSocket()
    transport = unix.Server(sock, Protocol(), b"", None, 0, WatchingReactor())
    for name in prompt.PRIVATE:
        assert hasattr(transport, name)
    transport.write(b"abc")
    transport.write(b"de")
    assert (transport._tempDataBuffer, transport._tempDataLen) == ([b"abc", b"de"], 5)
    sock.outcomes.append(2)
    # Files go first, and with bytes of their own.
    assert transport._sendmsgQueue == []
    transport.doWrite()
    assert (transport.dataBuffer, transport.offset) == (b"abcde", 2)
    assert (transport._tempDataBuffer, transport._tempDataLen) == ([], 0)
    assert not transport._writeDisconnecting
    transport.loseWriteConnection()
    assert transport._writeDisconnecting
    transport.abortConnection = tcp.Connection.abortConnection
    assert transport._aborting is False


def test_aTransport() -> None:
    """Knows its peer, and is watched."""
    stage = Stage()
    assert stage.transport.getPeer() is PEER
    assert stage.transport.hostname == "10.0.0.2"
    assert stage.transport.logPrefix() == "Answering,3,10.0.0.2"
    assert repr(stage.transport) == "<TCPTransport #3 from 10.0.0.2>"
    assert stage.transport in stage.reactor.reading
    assert not stage.socket.blocking
    assert str(stage.transport.getHost()).startswith("IPv4Address(type='TCP', host='10.0.0.1'")


def test_anAnswerGoesInOnePiece() -> None:
    """When the protocol returns, and no reactor is asked."""

    def answer(transport: Any) -> None:
        transport.write(b"one")
        transport.write(b"")
        transport.writeSequence([b" and", b" two"])
        assert stage.socket.sent == []
        assert transport.getWriteBufferSize() == 11

    stage = Stage(answer)
    assert stage.receive() is None
    assert stage.socket.sent == [b"one and two"]
    assert not stage.writing
    assert stage.transport.getWriteBufferSize() == 0


def test_aGreetingGoesInOnePiece() -> None:
    """So it does from connectionMade."""
    stage = Stage(greet=lambda transport: [transport.write(each) for each in (b"a", b"b")])
    assert stage.socket.sent == [b"ab"]


def test_atOtherTimes() -> None:
    """Each piece goes at once."""
    stage = Stage()
    stage.transport.write(b"a")
    stage.transport.write(b"b")
    stage.transport.write(b"")
    assert stage.socket.sent == [b"a", b"b"]
    assert not stage.writing


def test_aSocketThatTakesAPart() -> None:
    """The rest goes in order, when the reactor says so."""
    stage = Stage()
    stage.socket.outcomes.append(2)
    stage.transport.write(b"abcd")
    assert stage.transport.getWriteBufferSize() == 2
    stage.transport.write(b"ef")
    assert stage.socket.sent == [b"ab"]
    assert stage.transport.getWriteBufferSize() == 4
    assert stage.writing
    assert stage.transport.doWrite() is None
    assert stage.socket.sent == [b"ab", b"cdef"]
    assert not stage.writing
    assert stage.transport.getWriteBufferSize() == 0


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOBUFS])
def test_aFullSocket(number: int) -> None:
    """Takes it later."""
    stage = Stage()
    stage.socket.outcomes.append(failing(number))
    stage.transport.write(b"abcd")
    assert stage.transport.doWrite() is None
    assert stage.socket.sent == [b"abcd"]


def test_muchAtOnce() -> None:
    """No more is sent at a time than from the queue."""
    stage = Stage()
    limit = stage.transport.SEND_LIMIT
    stage.transport.write(bytes(limit + 1))
    assert [len(each) for each in stage.socket.sent] == [limit]
    assert stage.transport.getWriteBufferSize() == 1
    assert stage.writing


def test_muchInOneAnswer() -> None:
    """Does not wait for the protocol to return, and asks for no turn in vain."""

    def answer(transport: Any) -> None:
        for _ in range(5):
            transport.write(bytes(40_000))
        assert len(stage.socket.sent) == 2

    stage = Stage(answer)
    stage.receive()
    assert sum(map(len, stage.socket.sent)) == 200_000
    assert not stage.writing

    def even(transport: Any) -> None:
        transport.write(bytes(40_000))
        transport.write(bytes(40_000))

    stage = Stage(even)
    stage.receive()
    assert [len(each) for each in stage.socket.sent] == [80_000]
    assert not stage.writing


def test_notBytes() -> None:
    """Are refused as ever, and a subclass of bytes is not."""
    told: list[BaseException] = []

    def answer(transport: Any) -> None:
        for wrong in ("text", bytearray(b"x"), None):
            try:
                transport.write(wrong)
            except TypeError as error:
                told.append(error)

        class Mine(bytes):
            pass

        transport.write(Mine(b"mine"))

    stage = Stage(answer)
    stage.receive()
    assert len(told) == 3
    assert stage.socket.sent == [b"mine"]


def test_closing() -> None:
    """What was written goes first, and nothing ends inside loseConnection."""

    def answer(transport: Any) -> None:
        transport.write(b"bye")
        transport.loseConnection()
        transport.write(b"!")

    stage = Stage(answer)
    assert stage.receive() is None
    assert stage.writing
    assert stage.protocol.lost == []
    assert stage.transport.doWrite() is CONNECTION_DONE
    assert stage.socket.sent == [b"bye!"]
    stage = Stage()
    stage.transport.loseConnection()
    assert stage.writing
    assert stage.transport.doWrite() is CONNECTION_DONE


def test_closingInTheMiddleOfAWrite() -> None:
    """A piece that is left is sent before the end."""
    stage = Stage()
    stage.socket.outcomes.append(1)
    stage.transport.write(b"ab")
    stage.transport.loseConnection()
    assert stage.transport.doWrite() is CONNECTION_DONE
    assert stage.socket.sent == [b"a", b"b"]


def test_aborting() -> None:
    """What was written in the same breath is lost."""

    def answer(transport: Any) -> None:
        transport.write(b"lost")
        transport.abortConnection()
        transport.write(b"lost, too")

    stage = Stage(answer)
    stage.receive()
    stage.transport.write(b"and this")
    stage.reactor.advance(0)
    assert stage.socket.sent == []
    assert stage.socket.closed
    assert len(stage.protocol.lost) == 1
    stage.transport.write(b"nobody is there")
    stage.transport.loseWriteConnection()
    assert not stage.writing


@implementer(IHalfCloseableProtocol)
class HalfClosing(Answering):
    """Hears of both halves."""

    halves = ""

    def readConnectionLost(self) -> None:
        self.halves += "r"

    def writeConnectionLost(self) -> None:
        self.halves += "w"
        assert self.transport is not None
        self.transport.loseConnection()


def test_halfClosing() -> None:
    """When all is written; what is written then goes nowhere."""

    def answer(transport: Any) -> None:
        transport.write(b"last")
        transport.loseWriteConnection()
        transport.write(b" words")

    stage = Stage(protocol=HalfClosing(answer))
    stage.receive()
    assert stage.socket.sent == []
    stage.transport.doWrite()
    assert stage.socket.sent == [b"last words"]
    assert stage.protocol.halves == "w"
    # It closed from there, and a turn that was asked for is none of the dead.
    assert len(stage.protocol.lost) == 1
    assert not stage.writing


def test_theEndInsideAnAnswer() -> None:
    """A transport that closes both halves at once has nothing left to send."""

    def answer(transport: Any) -> None:
        transport.write(b"too late")
        transport.loseConnection()

    class Patient(HalfClosing):
        def writeConnectionLost(self) -> None:
            self.halves += "w"

    stage = Stage(protocol=Patient(answer))
    stage.transport.loseWriteConnection()
    stage.transport.doWrite()
    stage.receive()
    assert b"".join(stage.socket.sent) == b""
    assert len(stage.protocol.lost) == 1
    assert not stage.writing


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ECONNRESET])
def test_anErrorIsKept(number: int) -> None:
    """Until the reactor's turn: it is the end, and not a clean one."""
    stage = Stage()
    stage.socket.outcomes.append(failing(number))
    stage.transport.write(b"abc")
    assert stage.protocol.lost == []
    assert stage.writing
    assert stage.receive(b"still came") is None
    assert stage.receive(b"") is CONNECTION_LOST
    assert stage.transport.doWrite() is CONNECTION_LOST
    assert stage.transport.getWriteBufferSize() == 3


def test_aPeerThatEnds() -> None:
    """Is no error."""
    assert Stage().receive(b"") is CONNECTION_DONE


def test_aProtocolThatRaises() -> None:
    """Is Twisted's business; nothing stays held."""

    def answer(transport: Any) -> None:
        transport.write(b"before")
        raise ZeroDivisionError

    stage = Stage(answer)
    with pytest.raises(ZeroDivisionError):
        stage.receive()
    stage.transport.write(b"after")
    assert stage.socket.sent == [b"before", b"after"]


class Producer:
    """Remembers what it was told."""

    def __init__(self, resumed: Any = lambda: None) -> None:
        self.told: list[str] = []
        self.resumed = resumed

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")
        self.resumed()

    def stopProducing(self) -> None:
        self.told.append("stop")


def test_aPushProducer() -> None:
    """Is paused where the queue is long, and resumed when it is empty."""
    stage = Stage()
    producer = Producer()
    stage.transport.registerProducer(producer, True)
    stage.transport.write(b"short")
    assert stage.socket.sent == [b"short"]
    assert producer.told == []
    stage.transport.write(bytes(70_000))
    assert producer.told == ["pause"]
    assert stage.writing
    stage.transport.doWrite()
    assert producer.told == ["pause", "resume"]
    stage.transport.unregisterProducer()
    assert not stage.writing


def test_aProducerInTheReactorsTurn() -> None:
    """What it writes when it is resumed goes in one piece, in the next turn."""
    stage = Stage()

    def resumed() -> None:
        if len(producer.told) == 1:
            stage.transport.write(b"a")
            stage.transport.write(b"b")

    producer = Producer(resumed)
    stage.transport.registerProducer(producer, False)
    assert stage.socket.sent == []
    stage.transport.doWrite()
    assert stage.socket.sent == [b"ab"]
    assert stage.writing is False
    stage.transport.loseConnection()
    stage.transport.unregisterProducer()
    assert stage.transport.doWrite() is CONNECTION_DONE


def test_aPullProducerGoesOn() -> None:
    """It is asked for each piece when the last one is gone."""
    stage = Stage()
    pieces = iter([b"1", b"2", b"3"])

    def resumed() -> None:
        piece = next(pieces, None)
        if piece is None:
            stage.transport.unregisterProducer()
        else:
            stage.transport.write(piece)

    stage.transport.registerProducer(Producer(resumed), False)
    while stage.writing:
        stage.transport.doWrite()
    assert stage.socket.sent == [b"1", b"2", b"3"]


def test_descriptorsGoWithTheirBytes() -> None:
    """A descriptor waits for the reactor, and what is written does with it."""
    stage = Stage(kind=UNIXTransport)
    stage.transport.write(b"at once")
    stage.transport.sendFileDescriptor(7)
    stage.transport.write(b"with it")
    assert stage.socket.sent == [b"at once"]
    assert stage.writing
    assert stage.transport.getWriteBufferSize() == 7
    assert stage.transport.getPeer() == UNIXAddress("/peer")
    stage.socket.name = "/here"
    assert stage.transport.getHost() == UNIXAddress("/here")
    assert (stage.transport.client, stage.transport.hostname) == (("/peer", None), "/peer")


def test_startTLS() -> None:
    """What is written goes through it, and what it writes goes out."""
    from twisted.internet.ssl import CertificateOptions

    stage = Stage()
    stage.transport.startTLS(CertificateOptions(), normal=False)
    # As a client: it says hello.
    hello = b"".join(stage.socket.sent)
    assert hello.startswith(b"\x16\x03")
    stage.transport.write(b"a secret")
    assert b"a secret" not in b"".join(stage.socket.sent)


def test_fullIsNoError() -> None:
    """Of a whole series of attempts."""
    stage = Stage()
    stage.socket.outcomes.extend([FULL, FULL, 1])
    stage.transport.write(b"ab")
    stage.transport.doWrite()
    stage.transport.doWrite()
    assert stage.socket.sent == [b"a"]
    assert stage.transport.getWriteBufferSize() == 1
