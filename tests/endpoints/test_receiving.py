"""Ports that receive; see tests/wire/test_ports.py for real sockets."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest
from twisted.internet import udp
from twisted.internet.error import ConnectionDone, InvalidAddressError, MessageLengthError
from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure

from myserv.endpoints import receiving
from myserv.endpoints.receiving import (
    BEHIND,
    DATAGRAMS_PER_TURN,
    READ_PAUSE,
    RECEIVE_BUFFER,
    SEND_RETRY,
    UNSENT_BYTES,
    UNSENT_DATAGRAMS,
    UNSENT_PATIENCE,
    UDPPort,
    UNIXDatagramPort,
)
from myserv.reactor.batches import Taken
from myserv.testing.logged import LoggedFailures
from tests.endpoints.ports import FULL, ScriptedSocket, WatchingReactor, failing

PEER = ("10.0.0.2", 1234)
FULL_WORD = "too many waited to be sent"


class Counting(DatagramProtocol):
    """Remembers all that it is told."""

    noisy = False

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer
        self.received: list[Any] = []
        self.dropped: list[Any] = []
        self.behind = 0
        self.refused = 0
        self.running = 0

    @property
    def texts(self) -> list[bytes]:
        """What it received, without the sources."""
        return [datagram for datagram, _ in self.received]

    def startProtocol(self) -> None:
        self.running += 1

    def stopProtocol(self) -> None:
        self.running -= 1

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.received.append((datagram, addr))
        if self.answer is not None:
            self.answer(self.transport, datagram, addr)

    def connectionRefused(self) -> None:
        self.refused += 1

    def countDropped(self, reason: str, peer: Any) -> None:
        """A datagram was thrown away."""
        self.dropped.append((reason, peer))

    def readingFellBehind(self) -> None:
        """Datagrams come faster than they are read."""
        self.behind += 1


class Stage:
    """A port and its ends."""

    def __init__(
        self,
        answer: Any = None,
        *,
        name: Any = ("10.0.0.1", 7),
        kind: Any = UDPPort,
        protocol: Any = None,
    ) -> None:
        self.reactor = WatchingReactor()
        self.socket = ScriptedSocket(name=name)
        self.protocol: Any = protocol or Counting(answer)
        self.closed: list[str] = []
        self.port: Any = kind(
            self.socket, self.protocol, self.reactor, 65536, lambda: self.closed.append("closed")
        )
        self.port.startListening()

    @property
    def reading(self) -> bool:
        """Whether the reactor watches it."""
        return self.port in self.reactor.reading

    @property
    def writing(self) -> bool:
        """Whether the reactor is asked when there is room."""
        return self.port in self.reactor.writing

    def receive(self, *incoming: Any) -> None:
        """Let something arrive."""
        self.socket.incoming.extend(incoming)
        self.port.doRead()


class Batched:
    """
    Receives what it was told to, so many at a time.

    @ivar incoming: Datagrams with their sources, in batches, and errors.
    @ivar asked: How often there was more to be had.
    """

    most = 4

    def __init__(self, *incoming: Any) -> None:
        self.incoming = list(incoming)
        self.asked = 0

    def receive(self, size: int, taken: Taken) -> int:
        """As C{Batches.receive}."""
        self.asked += 1
        outcome = self.incoming.pop(0) if self.incoming else FULL
        if isinstance(outcome, BaseException):
            raise outcome
        taken.extend((data, PEER) for data in outcome)
        return len(outcome)


def batched(answer: Any, *incoming: Any) -> Stage:
    """A port that receives several at a time."""
    stage = Stage(answer)
    stage.port._receiver = Batched(*incoming)
    return stage


def local() -> Stage:
    """A UNIX socket."""
    return Stage(name="/run/x", kind=UNIXDatagramPort)


def test_whatIsNotPublic() -> None:
    """Twisted's port still has what is used of it."""
    port = udp.Port(0, DatagramProtocol(), reactor=WatchingReactor())
    for name in receiving.PRIVATE:
        assert hasattr(port, name)


def test_fromStartToEnd() -> None:
    """It is watched, and closes once."""
    stage = Stage()
    assert stage.reading
    assert repr(stage.port) == "<UDPPort of Counting on 7>"
    assert str(stage.port.getHost()) == "IPv4Address(type='UDP', host='10.0.0.1', port=7)"
    assert (socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER) in stage.socket.options
    done: list[Any] = []
    stage.port.stopListening().addCallback(done.append)
    stage.port.stopListening().addCallback(done.append)
    assert not stage.reading
    stage.reactor.advance(0)
    assert done == [None, None]
    assert stage.socket.closed
    assert stage.closed == ["closed"]
    assert stage.protocol.running == 0
    assert stage.port.stopListening() is None
    stage.port.connectionLost()
    assert repr(stage.port) == "<UDPPort of Counting (not listening)>"
    assert stage.port.fileno() == -1
    assert not stage.port.shutOut(["10.0.0.2"], 5)


def test_aLargeBufferStays() -> None:
    """What the operator gave it is not made less."""
    reactor = WatchingReactor()
    sock: Any = ScriptedSocket()
    sock.buffer = 4 * RECEIVE_BUFFER
    port = UDPPort(sock, Counting(), reactor, 65536)
    port.startListening()
    assert all(option != socket.SO_RCVBUF for _, option, _ in sock.options)
    port.connectionLost()


def test_namesInLogLines() -> None:
    """A protocol may have its own."""

    class Named(Counting):
        def logPrefix(self) -> str:
            return "dns"

    assert Stage(protocol=Named()).port._protocolName() == "dns"

    class Nameless:
        """No DatagramProtocol, but as good as one."""

        def makeConnection(self, transport: Any) -> None:
            pass

    assert Stage(protocol=Nameless()).port._protocolName() == "Nameless"


def test_aProtocolThatDoesNotStart() -> None:
    """Leaves no socket."""

    class Broken(Counting):
        def startProtocol(self) -> None:
            raise ZeroDivisionError

    sock: Any = ScriptedSocket()
    port = UDPPort(sock, Broken(), WatchingReactor(), 65536)
    with pytest.raises(ZeroDivisionError):
        port.startListening()
    assert sock.closed


def test_aProtocolThatDoesNotStop() -> None:
    """Does not keep whoever waits for the end."""

    class Broken(Counting):
        def stopProtocol(self) -> None:
            raise ZeroDivisionError

    stage = Stage(protocol=Broken())
    done: list[Any] = []
    stage.port.stopListening().addCallback(done.append)
    with pytest.raises(ZeroDivisionError):
        stage.reactor.advance(0)
    assert done == [None]
    assert stage.socket.closed


def test_soManyATurn() -> None:
    """However small they are."""
    stage = Stage()
    stage.receive(*[(b"", PEER)] * (DATAGRAMS_PER_TURN + 5))
    assert len(stage.protocol.received) == DATAGRAMS_PER_TURN
    stage.port.doRead()
    assert len(stage.protocol.received) == DATAGRAMS_PER_TURN + 5


def test_addressesOfIPv6() -> None:
    """Host and port, as ever."""
    stage = Stage(name=("::1", 7, 0, 0))
    stage.receive((b"x", ("::2", 9, 0, 0)))
    assert stage.protocol.received == [(b"x", ("::2", 9))]


def test_stoppingInTheMiddle() -> None:
    """The rest waits in the kernel, where it was received one by one."""
    stage = Stage(lambda transport, datagram, addr: transport.stopReading())
    stage.receive((b"1", PEER), (b"2", PEER))
    assert stage.protocol.received == [(b"1", PEER)]
    assert not stage.reading
    stage.port.startReading()
    assert stage.reading


def stopAt(which: bytes) -> Any:
    """Stop reading at this datagram."""

    def answer(transport: Any, datagram: bytes, addr: Any) -> None:
        assert transport._source == addr
        if datagram == which:
            transport.stopReading()

    return answer


def test_noMoreThanThere() -> None:
    """A batch that is not full is the last, as long as nobody says that more has come."""
    stage = batched(None, [b"1", b"2", b"3", b"4"], [b"5"], [b"6"])
    stage.port._fullSince = 1.0
    stage.port.doRead()
    assert stage.protocol.texts == [b"1", b"2", b"3", b"4", b"5"]
    assert stage.port._receiver.asked == 2
    assert stage.port._fullSince is None


def test_fullBatches() -> None:
    """So many of them that others get their turn."""
    batch = [b"x"] * Batched.most
    rounds = DATAGRAMS_PER_TURN // Batched.most
    stage = batched(None, failing(errno.EHOSTUNREACH), *[batch] * (rounds + 1))
    stage.port.doRead()
    assert len(stage.protocol.received) == DATAGRAMS_PER_TURN
    assert stage.port._fullSince is not None


@pytest.mark.parametrize("byItself", [True, False])
def test_whatIsLeftOfABatch(byItself: bool) -> None:
    """Comes first when reading goes on, whether or not something new has come."""
    stage = batched(stopAt(b"2"), [b"1", b"2", b"3", b"4"], [b"5"])
    stage.port.doRead()
    # A reactor may have known before the protocol stopped that more has come.
    stage.port.doRead()
    assert stage.protocol.texts == [b"1", b"2"]
    assert stage.reactor.getDelayedCalls() == []
    stage.port.startReading()
    stage.port.startReading()
    assert stage.protocol.texts == [b"1", b"2"]
    assert stage.reading
    if byItself:
        stage.reactor.advance(0)
        assert stage.protocol.texts == [b"1", b"2", b"3", b"4"]
    stage.port.doRead()
    stage.reactor.advance(0)
    assert stage.protocol.texts == [b"1", b"2", b"3", b"4", b"5"]
    assert stage.reactor.getDelayedCalls() == []


def test_stoppingAgain() -> None:
    """What is left is kept for the next time."""
    stage = batched(stopAt(b"1"), [b"1", b"2", b"3", b"4"])
    stage.port.doRead()
    stage.port.startReading()
    stage.port.stopReading()
    assert stage.reactor.getDelayedCalls() == []
    stage.protocol.answer = stopAt(b"3")
    stage.port.startReading()
    stage.reactor.advance(0)
    assert stage.protocol.texts == [b"1", b"2", b"3"]
    stage.port.startReading()
    stage.reactor.advance(0)
    assert stage.protocol.texts == [b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize("inTheMiddle", [True, False])
def test_closingWithABatchAtHand(inTheMiddle: bool) -> None:
    """The rest is dropped, as what is in the kernel is."""
    answer = stopAt(b"2")
    if inTheMiddle:
        answer = lambda transport, datagram, addr: transport.connectionLost()  # noqa: E731
    stage = batched(answer, [b"1", b"2", b"3", b"4"], [b"5"])
    stage.port.doRead()
    stage.port.startReading()
    stage.port.connectionLost()
    stage.reactor.advance(0)
    assert stage.protocol.texts == ([b"1"] if inTheMiddle else [b"1", b"2"])
    assert stage.reactor.getDelayedCalls() == []


def test_readingWhileItReads() -> None:
    """A protocol that has the port read gets all in order, and each of them once."""

    def answer(transport: Any, datagram: bytes, addr: Any) -> None:
        if datagram in {b"2", b"5"}:
            transport.stopReading()
            transport.startReading()
            transport.doRead()

    stage = batched(answer, [b"1", b"2", b"3", b"4"], [b"5", b"6", b"7", b"8"], [b"9"])
    stage.port.doRead()
    stage.reactor.advance(0)
    assert stage.protocol.texts == [b"%d" % n for n in range(1, 10)]


def test_aBug(loggedErrors: LoggedFailures) -> None:
    """Costs one datagram."""
    stage = Stage(lambda transport, datagram, addr: 1 // len(datagram))
    stage.receive((b"", PEER), (b"x", PEER))
    assert len(stage.protocol.received) == 2
    assert len(loggedErrors.take(ZeroDivisionError)) == 1


def test_newsOfEarlierDatagrams() -> None:
    """Are no news of the port, though a connected one tells its protocol."""
    stage = Stage()
    stage.receive(failing(errno.ECONNREFUSED), failing(errno.EHOSTUNREACH), (b"x", PEER))
    assert stage.protocol.received == [(b"x", PEER)]
    assert stage.protocol.refused == 0
    stage.port.connect(*PEER)
    assert stage.socket.connected == PEER
    stage.receive(failing(errno.ECONNREFUSED), failing(errno.EHOSTUNREACH), (b"y", PEER))
    assert stage.protocol.refused == 1
    assert len(stage.protocol.received) == 2


@pytest.mark.parametrize("suspended", [False, True])
def test_whatTheReactorTakesForTheEnd(suspended: bool) -> None:
    """The port goes on as before."""
    stage = Stage()
    stage.port.connect(*PEER)
    if suspended:
        stage.port.stopReading()
    stage.socket.pending = errno.ECONNREFUSED
    stage.reactor.removeReader(stage.port)
    stage.port.readConnectionLost(Failure(ConnectionDone()))
    assert stage.reading is not suspended
    assert stage.protocol.refused == 1
    assert not stage.socket.closed


def test_whatCannotBeRead() -> None:
    """The port pauses, and goes on by itself."""
    stage = Stage()
    stage.receive(failing(errno.ENOMEM), (b"x", PEER))
    assert not stage.reading
    assert stage.protocol.received == []
    stage.reactor.advance(READ_PAUSE)
    assert stage.reading
    stage.receive(failing(errno.ENOMEM))
    stage.port.connectionLost()
    assert stage.reactor.getDelayedCalls() == []


def test_fallingBehind() -> None:
    """Is told when it has lasted, as long as it lasts, and no more often."""
    stage = Stage()
    full = [(b"", PEER)] * DATAGRAMS_PER_TURN

    def flood(seconds: float) -> None:
        stage.receive(*full)
        stage.reactor.advance(seconds)

    flood(BEHIND / 2)
    flood(BEHIND / 2)
    assert stage.protocol.behind == 0
    flood(0)
    flood(0)
    assert stage.protocol.behind == 1
    flood(BEHIND)
    flood(BEHIND)
    assert stage.protocol.behind == 2
    # Once the queue was empty it is a new flood.
    stage.port.doRead()
    flood(BEHIND)
    assert stage.protocol.behind == 2
    flood(0)
    assert stage.protocol.behind == 3


def test_whoIsTold(loggedErrors: LoggedFailures) -> None:
    """The outermost who wants to know, if anybody does; a bug of theirs is logged."""
    full = [(b"", PEER)] * DATAGRAMS_PER_TURN

    class Deaf(DatagramProtocol):
        noisy = False

    class Layer(Deaf):
        def __init__(self, inner: Any) -> None:
            self.wrappedProtocol = inner

    class Broken(Deaf):
        def readingFellBehind(self) -> None:
            """Falls."""
            raise ZeroDivisionError

    inner = Counting()
    for protocol in (Deaf(), Layer(Deaf()), Layer(inner), Broken()):
        stage = Stage(protocol=protocol)
        stage.receive(*full)
        stage.reactor.advance(BEHIND)
        stage.receive(*full)
        stage.socket.outcomes.append(failing(errno.EPERM))
        stage.port.write(b"x", PEER)
    assert inner.behind == 1
    assert inner.dropped == [("it could not be sent: Operation not permitted", PEER)]
    assert len(loggedErrors.take(ZeroDivisionError)) == 1


def test_answering() -> None:
    """Goes out at once, whole or in pieces."""

    def answer(transport: Any, datagram: bytes, addr: Any) -> None:
        transport.write(datagram, addr)
        transport.writeSequence([b"a", b"b"], addr)

    stage = Stage(answer)
    stage.receive((b"x", PEER))
    assert stage.socket.sent == [(b"x", PEER), (b"ab", PEER)]


@pytest.mark.parametrize(
    ("name", "host"),
    [
        (("10.0.0.1", 7), "example.org"),
        (("10.0.0.1", 7), "::1"),
        (("::1", 7, 0, 0), "10.0.0.2"),
        (("::1", 7, 0, 0), "<broadcast>"),
    ],
)
def test_addressesThatAreNone(name: Any, host: str) -> None:
    """No name is looked up, and no other family's address goes out."""
    with pytest.raises(InvalidAddressError):
        Stage(name=name).port.write(b"x", (host, 9))


def test_addressesThatAre(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever they belong to; those seen before are not looked at again."""
    monkeypatch.setattr(receiving, "_KNOWN_HOSTS", 2)
    stage = Stage()
    hosts = ["10.0.0.3", "<broadcast>", "10.0.0.4", "10.0.0.4"]
    for host in hosts:
        stage.port.write(b"x", (host, 9))
    assert stage.socket.sent == [(b"x", (host, 9)) for host in hosts]
    Stage(name=("::1", 7, 0, 0)).port.write(b"x", ("::2", 9))


def test_aConnectedPort() -> None:
    """Sends to its peer, and what an earlier datagram met costs none."""
    stage = Stage()
    stage.port.connect(*PEER)
    stage.port.write(b"x")
    stage.port.write(b"y", PEER)
    stage.socket.outcomes.append(failing(errno.ECONNREFUSED))
    stage.port.write(b"z")
    assert stage.socket.sent == [b"x", b"y", b"z"]
    assert stage.protocol.refused == 1
    assert stage.protocol.dropped == []
    stage.socket.outcomes.extend([failing(errno.ECONNREFUSED)] * 2)
    stage.port.write(b"again")
    assert stage.protocol.dropped == [("it could not be sent: Connection refused", None)]


def test_tooLong() -> None:
    """Is the protocol's mistake; not so when nobody is there to be told."""
    stage = Stage()
    stage.socket.outcomes.append(failing(errno.EMSGSIZE))
    with pytest.raises(MessageLengthError):
        stage.port.write(b"x", PEER)
    stage.socket.outcomes.extend([FULL, failing(errno.EMSGSIZE)])
    stage.port.write(b"x", PEER)
    stage.port.doWrite()
    assert stage.socket.sent == []
    assert not stage.writing


def test_afterTheEnd() -> None:
    """A write is dropped, and so is what waited."""
    stage = Stage()
    stage.socket.outcomes.append(FULL)
    stage.port.write(b"waits", PEER)
    stage.port.connectionLost()
    stage.port.write(b"late", PEER)
    assert [reason for reason, _ in stage.protocol.dropped] == [
        "the port closed before it could be sent",
        "the port has closed",
    ]


def test_noRoom() -> None:
    """What does not go waits, in order, until the kernel says that it goes."""
    stage = Stage()
    stage.socket.outcomes.extend([FULL, 1, FULL])
    for each in (b"1", b"2", b"3"):
        stage.port.write(each, PEER)
    assert stage.socket.sent == []
    assert stage.writing
    stage.port.doWrite()
    assert stage.socket.sent == [(b"1", PEER)]
    assert stage.writing
    stage.port.doWrite()
    assert [datagram for datagram, _ in stage.socket.sent] == [b"1", b"2", b"3"]
    assert not stage.writing
    stage.port.write(b"4", PEER)
    assert len(stage.socket.sent) == 4
    assert stage.protocol.dropped == []


def test_noMemory() -> None:
    """The kernel does not tell when there is some: it is tried again soon."""
    stage = Stage()
    stage.socket.outcomes.extend([failing(errno.ENOBUFS), failing(errno.ENOBUFS)])
    stage.port.write(b"1", PEER)
    stage.port.write(b"2", PEER)
    assert not stage.writing
    assert len(stage.reactor.getDelayedCalls()) == 1
    stage.reactor.advance(SEND_RETRY)
    stage.reactor.advance(SEND_RETRY)
    assert len(stage.socket.sent) == 2
    assert stage.reactor.getDelayedCalls() == []
    stage.socket.outcomes.append(failing(errno.ENOBUFS))
    stage.port.write(b"3", PEER)
    stage.port.connectionLost()
    assert stage.reactor.getDelayedCalls() == []


def test_noMoreThanSoManyWait() -> None:
    """Nor so many bytes: the rest is dropped and counted."""
    stage = Stage()
    stage.socket.outcomes.append(FULL)
    for _ in range(UNSENT_DATAGRAMS + 1):
        stage.port.write(b"x", PEER)
    assert stage.protocol.dropped == [(FULL_WORD, PEER)]
    stage = Stage()
    stage.socket.outcomes.append(FULL)
    stage.port.write(bytes(UNSENT_BYTES), PEER)
    stage.port.write(b"x", PEER)
    assert stage.protocol.dropped == [(FULL_WORD, PEER)]


def test_tooOld() -> None:
    """What nobody waits for any more is not sent."""
    stage = Stage()
    stage.socket.outcomes.append(FULL)
    stage.port.write(b"x", PEER)
    stage.reactor.advance(UNSENT_PATIENCE + 1)
    stage.port.doWrite()
    assert stage.socket.sent == []
    assert stage.protocol.dropped == [("it waited too long to be sent", PEER)]


def test_unixPeersDoNotWaitForEachOther() -> None:
    """One that does not read keeps nothing from another, nor the server busy."""
    stage = local()
    stage.socket.outcomes.extend([FULL, FULL])
    stage.port.write(b"1", "/slow")
    stage.port.write(b"0", "/slower")
    stage.port.write(b"2", "/slow")
    stage.port.write(b"3", "/quick")
    assert stage.socket.sent == [(b"3", "/quick")]
    assert not stage.writing
    stage.reactor.advance(SEND_RETRY)
    assert stage.socket.sent[1:] == [(b"1", "/slow"), (b"0", "/slower"), (b"2", "/slow")]
    stage.port.connectionLost()


def test_unixSockets() -> None:
    """Have paths, peers without a name, and no hosts."""
    stage = local()
    assert repr(stage.port) == "<UNIXDatagramPort of Counting on '/run/x'>"
    assert stage.socket.options == []
    stage.port.write(b"x", None)
    assert stage.protocol.dropped == [("the sender left no address to answer to", None)]
    stage.socket.outcomes.append(failing(errno.ECONNREFUSED))
    stage.port.write(b"x", "/gone")
    assert stage.protocol.dropped[1:] == [("it could not be sent: Connection refused", "/gone")]
    assert not stage.port.shutOut(["10.0.0.2"], 5)
    stage.port.connectionLost()


def test_shuttingOut() -> None:
    """Is the kernel's business, until the port closes."""
    stage = Stage()
    assert stage.port.shutOut(["10.0.0.2"], 5)
    assert stage.socket.options[-1][1] == 26
    stage.port.connectionLost()
    assert stage.socket.options[-1][1] == 27
    assert stage.reactor.getDelayedCalls() == []
