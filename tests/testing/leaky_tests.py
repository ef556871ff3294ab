"""
Tests that leave something behind, and tests that only seem to.

They are not run with the others: C{test_fixtures} runs them in a process of
their own.  The docstring of a C{test_leaves...} is what its error has to say.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet import defer
from twisted.internet import reactor as _reactor
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.trial.unittest import TestCase

from myserv.testing import LoggedFailures

reactor: Any = _reactor


def test_leavesDelayedCall() -> None:
    """the delayed call"""  # noqa: D403
    reactor.callLater(60, print)


def test_cancelsDelayedCall() -> None:
    """A cancelled call is no leak."""
    reactor.callLater(60, print).cancel()


def test_hasDelayedCallThatIsDue() -> None:
    """Neither is one that is about to run."""
    reactor.callLater(0, int)


def test_leavesPort() -> None:
    """in the reactor"""  # noqa: D403
    reactor.listenTCP(0, Factory(), interface="127.0.0.1")


def test_closesPort() -> None:
    """A port may still be closing."""
    reactor.listenTCP(0, Factory(), interface="127.0.0.1").stopListening()


def test_leavesThread() -> None:
    """the thread lazy"""  # noqa: D403
    threading.Thread(target=time.sleep, args=(3,), name="lazy").start()


def test_endsThread() -> None:
    """A thread may still be ending."""
    threading.Thread(target=time.sleep, args=(0.05,)).start()


def test_leavesDeferred() -> None:
    """a logged failure: Traceback"""  # noqa: D403
    defer.fail(ZeroDivisionError("oops"))


def test_leavesDeferredInCycle() -> None:
    """a logged failure: Traceback"""  # noqa: D403
    cycle: list[object] = [defer.fail(ZeroDivisionError("oops"))]
    cycle.append(cycle)


def test_handlesDeferred() -> None:
    """A failure that somebody heard of is no leak."""
    defer.fail(ValueError()).addErrback(lambda failure: None)


def test_leavesLoggedFailure() -> None:
    """a logged failure: Traceback"""  # noqa: D403
    try:
        1 // 0  # noqa: B018
    except ZeroDivisionError:
        Logger().failure("oops")


def test_takesLoggedFailure(loggedErrors: LoggedFailures) -> None:
    """Neither is one that the test takes."""
    defer.fail(ZeroDivisionError("oops"))
    assert len(loggedErrors.take(ZeroDivisionError)) == 1


def test_leavesLoggedFailureOfAnotherKind(loggedErrors: LoggedFailures) -> None:
    """a logged failure: Traceback"""  # noqa: D403
    defer.fail(ZeroDivisionError("oops"))
    assert loggedErrors.take(KeyError) == []


@pytest.fixture
def leaky() -> Iterator[None]:
    """Leaves something when it is torn down."""
    yield
    reactor.callLater(60, print)


def test_leavesWhatItsFixtureLeaves(leaky: None) -> None:
    """the delayed call"""  # noqa: D403


class TestTrial(TestCase):
    """Trial looks by itself."""

    def test_flushes(self) -> None:
        """What was logged and flushed trial's way is no leak."""
        defer.fail(ZeroDivisionError("oops"))
        gc.collect()
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1


try:
    import pytest_twisted
except ImportError:  # pragma: no cover - it is always installed here
    pass
else:

    @pytest_twisted.ensureDeferred
    async def test_asynchronousUsesPool() -> None:
        """The reactor's own threads are no leak."""
        await deferToThread(int)

    @pytest_twisted.inlineCallbacks
    def test_asynchronousWaits() -> Any:
        """Waiting is no leak."""
        yield deferLater(reactor, 0.01)

    @pytest_twisted.ensureDeferred
    async def test_leavesAsynchronousCall() -> None:
        """the delayed call"""  # noqa: D403
        reactor.callLater(60, print)
        await deferLater(reactor, 0.01)


def test_innocent() -> None:
    """Nobody is blamed for another's leak."""
