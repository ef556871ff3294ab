"""The stepped reactor: time, and what happens in an instant."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.interfaces import IReactorFDSet, IReactorTime
from twisted.internet.task import LoopingCall
from zope.interface.verify import verifyObject

from myserv.testing import LoggedFailures, SteppedReactor


class FakeSocket:
    readable = False
    writable = False


class Descriptor:
    """A selectable that writes down what it is told."""

    def __init__(self, reactor: SteppedReactor, outcome: object = None) -> None:
        self.socket = FakeSocket()
        self.reactor = reactor
        self.outcome = outcome
        self.log: list[str] = []

    def doRead(self) -> object:
        self.log.append("read")
        self.socket.readable = False
        if isinstance(self.outcome, ZeroDivisionError):
            raise self.outcome
        return self.outcome

    def doWrite(self) -> object:
        self.log.append("write")
        self.socket.writable = False
        return self.outcome

    def connectionLost(self, reason: Any) -> None:
        self.log.append(f"lost {reason.type.__name__}")


def test_interfaces() -> None:
    """It is a clock and serves descriptors."""
    reactor = SteppedReactor()
    assert verifyObject(IReactorTime, reactor)
    assert verifyObject(IReactorFDSet, reactor)


def test_callsSeeTheTimeTheyAreDueAt() -> None:
    """Moving far runs every call in between at its own time."""
    reactor = SteppedReactor()
    seen: list[float] = []
    loop = LoopingCall(lambda: seen.append(reactor.seconds()))
    loop.clock = reactor
    loop.start(1.0)
    reactor.advance(3.5)
    assert seen == [0.0, 1.0, 2.0, 3.0]
    assert reactor.seconds() == 3.5
    loop.stop()


def test_callsMayCancelAndPostponeEachOther() -> None:
    """A call that an earlier one cancelled or postponed does not run."""
    reactor = SteppedReactor()
    seen: list[str] = []

    def disturb() -> None:
        cancelled.cancel()
        postponed.delay(1)

    reactor.callLater(0, disturb)
    cancelled = reactor.callLater(0, seen.append, "cancelled")
    postponed = reactor.callLater(0, seen.append, "postponed")
    reactor.settle()
    assert seen == []
    reactor.advance(1)
    assert seen == ["postponed"]


def test_settleGivesUpOnWhatNeverRests() -> None:
    """A call that always makes another one is cut short, and time moves on."""
    reactor = SteppedReactor()

    def again() -> None:
        reactor.callLater(0, again)

    again()
    assert not reactor.settle(5)
    reactor.advance(1)
    assert reactor.seconds() == 1


def test_callThatRaises() -> None:
    """A delayed call's exception reaches whoever moved the clock."""
    reactor = SteppedReactor()
    reactor.callLater(1, lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        reactor.advance(1)


def test_descriptors() -> None:
    """A descriptor is told only of what it wants to know."""
    reactor = SteppedReactor()
    descriptor = Descriptor(reactor)
    descriptor.socket.readable = descriptor.socket.writable = True
    reactor.addReader(descriptor)
    assert reactor.settle()
    assert descriptor.log == ["read"]
    reactor.addWriter(descriptor)
    descriptor.socket.readable = True
    assert reactor.settle()
    assert descriptor.log == ["read", "read", "write"]
    assert reactor.getReaders() == reactor.getWriters() == [descriptor]
    assert reactor.removeAll() == [descriptor]
    assert reactor.getReaders() == reactor.getWriters() == []
    reactor.removeReader(descriptor)
    reactor.removeWriter(descriptor)


def test_descriptorThatRaises(loggedErrors: LoggedFailures) -> None:
    """It is logged, and costs that descriptor only."""
    reactor = SteppedReactor()
    descriptor = Descriptor(reactor, ZeroDivisionError())
    descriptor.socket.readable = True
    reactor.addReader(descriptor)
    reactor.settle()
    assert len(loggedErrors.take(ZeroDivisionError)) == 1
    assert descriptor.log == ["read", "lost ZeroDivisionError"]
    assert reactor.getReaders() == []
