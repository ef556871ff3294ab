"""Every check of a protocol over connections finds a protocol that is wrong."""

from __future__ import annotations

import re
from typing import Any

import pytest
from twisted.internet.defer import fail
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IPullProducer,
    IPushProducer,
)
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from myserv.interfaces import IDrainable
from myserv.plugin import ProtocolPlugin, ServiceFactory
from myserv.testing import Exchange, LoggedFailures, checkStreamPlugin

CONVERSATION = [
    Exchange(expects=b"ready\r\n"),
    Exchange(b"first\r\n", b"tsrif\r\n"),
    Exchange(b"second\r\n", b"dnoces\r\n"),
    Exchange(b"quit\r\n", b"bye\r\n", closes=True),
]


class Reverser(LineReceiver):
    """Does everything right."""

    MAX_LENGTH = 200_000
    transport: Any

    def __init__(self, context: Any = None, options: object = None) -> None:
        self.context = context

    def connectionMade(self) -> None:
        self.sendLine(b"ready")

    def lineReceived(self, line: bytes) -> None:
        if line == b"quit":
            self.sendLine(b"bye")
            self.transport.loseConnection()
        else:
            self.sendLine(line[::-1])


def check(stream: Any, conversation: Any = CONVERSATION, **arguments: Any) -> None:
    """Check a protocol class."""
    plugin = ProtocolPlugin(
        "broken",
        "",
        factory=lambda context, options: ServiceFactory(
            context, options, lambda: stream(context, options)
        ),
    )
    checkStreamPlugin(plugin, conversation, **arguments)


def test_right() -> None:
    """A protocol that does everything right passes."""
    check(Reverser)


def test_answerByTheClock() -> None:
    """An answer may take its time."""

    class Slow(Reverser):
        def connectionMade(self) -> None:
            self.timers = [self.context.reactor.callLater(5, self.sendLine, b"ready")]

        def lineReceived(self, line: bytes) -> None:
            later = super().lineReceived
            self.timers.append(self.context.reactor.callLater(len(self.timers), later, line))

        def connectionLost(self, reason: Failure = connectionDone) -> None:
            for timer in self.timers:
                if timer.active():
                    timer.cancel()

    check(Slow, pipelines=False)


class WrongAnswer(Reverser):
    def lineReceived(self, line: bytes) -> None:
        self.sendLine(line)


class NoAnswer(Reverser):
    def lineReceived(self, line: bytes) -> None:
        pass


class TooMuch(Reverser):
    def lineReceived(self, line: bytes) -> None:
        super().lineReceived(line)
        self.sendLine(b"and more")


class StaysOpen(Reverser):
    def lineReceived(self, line: bytes) -> None:
        self.sendLine(b"bye" if line == b"quit" else line[::-1])


class ClosesEarly(Reverser):
    def lineReceived(self, line: bytes) -> None:
        super().lineReceived(line)
        self.transport.loseConnection()


class TakesPacketsForRequests(Reverser):
    def dataReceived(self, data: bytes) -> None:
        self.lineReceived(data.rstrip(b"\r\n"))


class ForgetsPart(Reverser):
    """Right for whole requests and for somebody who types."""

    typed = b""

    def dataReceived(self, data: bytes) -> None:
        if len(data) == 1:
            self.typed += data
            if data == b"\n":
                self.lineReceived(self.typed.rstrip(b"\r\n"))
                self.typed = b""
        elif data.endswith(b"\r\n"):
            self.lineReceived(data.rstrip(b"\r\n"))


class HearsOneRequest(Reverser):
    buffered = b""

    def dataReceived(self, data: bytes) -> None:
        self.buffered += data
        line, end, _ = self.buffered.partition(b"\r\n")
        if end:
            self.buffered = b""
            self.lineReceived(line)


@implementer(IHalfCloseableProtocol)
class NeverLeaves(Reverser):
    def readConnectionLost(self) -> None:
        pass

    def writeConnectionLost(self) -> None:
        pass


@implementer(IHalfCloseableProtocol)
class DropsAnswer(NeverLeaves):
    def readConnectionLost(self) -> None:
        self.transport.abortConnection()


class ForgetsTimer(Reverser):
    def connectionMade(self) -> None:
        super().connectionMade()
        self.context.reactor.callLater(60, self.transport.loseConnection)


class RaisesAtTheEnd(Reverser):
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        raise KeyError("not there")


class SharesBuffer(Reverser):
    """Keeps half a request where every connection finds it."""

    factory: Any

    def dataReceived(self, data: bytes) -> None:
        *lines, rest = (vars(self.factory).get("rest", b"") + data).split(b"\r\n")
        self.factory.rest = rest
        for line in lines:
            self.lineReceived(line)


class TrustsPeer(Reverser):
    def lineReceived(self, line: bytes) -> None:
        super().lineReceived(line.decode().encode())


class LosesFailure(Reverser):
    def lineReceived(self, line: bytes) -> None:
        fail(KeyError("nobody listens"))
        super().lineReceived(line)


@implementer(IDrainable)
class RaisesOnDrain(Reverser):
    def drainRequested(self, deadline: float) -> None:
        raise KeyError("not there")


@pytest.mark.parametrize(
    ("stream", "complaint"),
    [
        (WrongAnswer, "each request whole: sent b'first.*expected b'tsrif.*received b'first"),
        (NoAnswer, "each request whole: sent b'first.*received b''"),
        (TooMuch, "each request whole: sent b'first.*and more"),
        (StaysOpen, "each request whole: after b'quit.*should be closed"),
        (ClosesEarly, "each request whole: after b'first.*should be open"),
        (TakesPacketsForRequests, "one byte at a time: sent b'first"),
        (ForgetsPart, "each request in two parts: sent b'first"),
        (HearsOneRequest, "several requests at once: sent b'first.*received b'tsrif"),
        (NeverLeaves, "ends its half.*still open 3600 seconds after"),
        (DropsAnswer, "ends its half after a request: sent b'first.*received b''"),
        (ForgetsTimer, "the stopped server has timers.*loseConnection"),
        (RaisesAtTheEnd, "connectionLost raised.*not there"),
        (SharesBuffer, "two peers at once"),
        (TrustsPeer, "sends junk: dataReceived raised.*UnicodeDecodeError"),
        (LosesFailure, "it was logged that .*nobody listens"),
        (RaisesOnDrain, "drainRequested raised.*not there"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_wrong(stream: Any, complaint: str, loggedErrors: LoggedFailures) -> None:
    """A protocol that does something wrong does not, and the error tells what."""
    with pytest.raises(AssertionError, match=re.compile(f"^broken, .*{complaint}", re.DOTALL)):
        check(stream)
    loggedErrors.take(KeyError)


def test_timerAfterAbort() -> None:
    """A timer that outlives only an aborted connection is found as well."""

    class MindsGoodbyes(Reverser):
        def connectionMade(self) -> None:
            super().connectionMade()
            self.timer = self.context.reactor.callLater(60, self.transport.loseConnection)

        def connectionLost(self, reason: Failure = connectionDone) -> None:
            if reason.check(type(connectionDone.value)):
                self.timer.cancel()

    with pytest.raises(AssertionError, match=r"aborts in the middle.*left timers"):
        check(MindsGoodbyes)


def test_anotherKind() -> None:
    """A plugin for datagrams only has nothing to check."""
    plugin = ProtocolPlugin("broken", "", datagram=DatagramProtocol)
    with pytest.raises(AssertionError, match="no protocol over connections"):
        checkStreamPlugin(plugin, CONVERSATION)


def test_patience() -> None:
    """An answer that a client would not wait for is none."""

    class Late(Reverser):
        def connectionMade(self) -> None:
            self.timer = self.context.reactor.callLater(61, super().connectionMade)

    with pytest.raises(AssertionError, match=r"each request whole: sent b''.*received b''"):
        check(Late)


def test_isolated() -> None:
    """Who says that connections know of each other is not checked for it."""
    with pytest.raises(AssertionError, match="two peers"):
        check(SharesBuffer, CONVERSATION[:2])
    check(SharesBuffer, CONVERSATION[:2], isolated=False)


def test_pipelines() -> None:
    """Who says that requests wait for answers is not checked for it."""
    with pytest.raises(AssertionError, match="at once"):
        check(HearsOneRequest)
    check(HearsOneRequest, pipelines=False)


def test_factoryThatDoesNotRestart() -> None:
    """A factory has to serve again after it was stopped."""

    class Once(Factory):
        noisy = False
        done = False

        def stopFactory(self) -> None:
            self.done = True

        def buildProtocol(self, addr: Any) -> Any:
            return None if self.done else Reverser()

    plugin = ProtocolPlugin("broken", "", factory=lambda context, options: Once())
    with pytest.raises(AssertionError, match="stops and starts again: sent b''"):
        checkStreamPlugin(plugin, CONVERSATION)


def test_factoryThatLeavesTimer() -> None:
    """A factory has to clear up when it is stopped."""

    class Ticks(ServiceFactory):
        def startFactory(self) -> None:
            self.ticks = LoopingCall(int)
            self.ticks.clock = self.context.reactor
            self.ticks.start(1)

    plugin = ProtocolPlugin(
        "broken", "", factory=lambda context, options: Ticks(context, options, Reverser)
    )
    with pytest.raises(AssertionError, match="the stopped server has timers"):
        checkStreamPlugin(plugin, CONVERSATION)


@implementer(IPushProducer)
class Pushes(Protocol):
    """Sends without end as long as it is not paused."""

    transport: Any
    running = True

    def __init__(self, context: Any, options: object) -> None:
        self.clock = context.reactor

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)
        self.push()

    def push(self) -> None:
        if self.running:
            self.transport.write(b"x" * 10_000)
            self.next = self.clock.callLater(0.01, self.push)

    def pauseProducing(self) -> None:
        self.stopProducing()

    def resumeProducing(self) -> None:
        self.running = True
        self.push()

    def stopProducing(self) -> None:
        self.running = False
        if self.next.active():
            self.next.cancel()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.stopProducing()


def test_endless() -> None:
    """An endless answer is looked at from its beginning."""
    endless = [Exchange(expects=b"x" * 1000, endless=True)]
    check(Pushes, endless)
    with pytest.raises(AssertionError, match="each request whole: sent b'', expected b'y'"):
        check(Pushes, [Exchange(expects=b"y", endless=True)])


def test_endlessWithoutMercy() -> None:
    """Who does not mind whether the peer reads fills the memory."""

    class Floods(Pushes):
        def pauseProducing(self) -> None:
            pass

    with pytest.raises(AssertionError, match=r"reads slowly: .* bytes wait for a peer"):
        check(Floods, [Exchange(expects=b"x" * 1000, endless=True)])


def test_producerThatDoesNotGoOn() -> None:
    """A slow reader has to get everything in the end."""

    @implementer(IPullProducer)
    class Stalls(Protocol):
        transport: Any
        sent = 0

        def __init__(self, context: Any, options: object) -> None:
            self.context = context

        def connectionMade(self) -> None:
            self.transport.registerProducer(self, False)
            self.deadline = self.context.reactor.callLater(0, self.stopProducing)

        def resumeProducing(self) -> None:
            self.transport.write(b"x" * 100)
            self.sent += 1
            if self.sent == 10:
                self.transport.unregisterProducer()
                self.transport.loseConnection()

        def stopProducing(self) -> None:
            pass

    def stall(protocol: Any) -> None:
        if protocol.sent < 10:
            protocol.transport.unregisterProducer()

    check(Stalls, [Exchange(expects=b"x" * 1000, closes=True)])
    Stalls.stopProducing = stall  # type: ignore[method-assign, assignment]
    with pytest.raises(AssertionError, match="each request whole"):
        check(Stalls, [Exchange(expects=b"x" * 1000, closes=True)])
