"""
A pytest plugin: a test that leaves something behind fails.

In the C{conftest.py} at the top of the tests::

    pytest_plugins = ["myserv.testing.fixtures"]

From then on every test is followed by a look at what it left: delayed calls,
readers and writers in the reactor of the process, threads, and failures that
were logged, among them those of Deferreds that nobody listened to.  Whatever is
found fails the test and is cleared away, so that it does not fail the next.

A test that means to log failures takes them::

    def test_brokenFile(loggedErrors):
        readThePageOfAnotherServer()
        [failure] = loggedErrors.take(FileNotFoundError)

It works with tests that pytest-twisted runs and without it.  Tests of trial's
C{TestCase} are left to trial, which looks by itself.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from typing import Any, Final

import pytest

from myserv.testing.logged import LoggedFailures

REACTOR_TURNS: Final = 3
"""Iterations that the reactor has to finish what a test began to close: an
aborted transport needs one, a closing port two."""

THREAD_PATIENCE: Final = 1.0
"""Seconds that a thread has to end after its test."""


@pytest.fixture(scope="session", autouse=True)
def _frozenImports() -> None:
    # Every test is followed by a collection: what was imported by now will not
    # become garbage and need not be looked at each time.
    gc.collect()
    gc.freeze()


@pytest.fixture
def loggedErrors(_nothingLeft: LoggedFailures) -> LoggedFailures:
    """
    The failures logged so far; what the test takes does not fail it.
    """
    return _nothingLeft


@pytest.fixture(autouse=True)
def _nothingLeft(request: pytest.FixtureRequest) -> Iterator[LoggedFailures]:
    # Set up before all other fixtures of the test, so it looks after they are
    # torn down.
    if _isTrial(request.instance):
        yield LoggedFailures()
        return
    calls = set(_delayedCalls())
    selectables = set(_selectables())
    threads = set(threading.enumerate())
    with LoggedFailures() as logged:
        yield logged
        _runReactor(request.config)
        left = [f"the delayed call {call}" for call in _cancelCalls(calls)]
        left += [f"{each!r} in the reactor" for each in _removeSelectables(selectables)]
        left += [f"the thread {thread.name}" for thread in _remainingThreads(threads)]
        left += [f"a logged failure: {failure.getTraceback()}" for failure in logged.take()]
    if left:
        pytest.fail("the test left behind " + "\nand ".join(left), pytrace=False)


def _isTrial(instance: object) -> bool:
    trial = sys.modules.get("twisted.trial.unittest")
    return trial is not None and isinstance(instance, trial.SynchronousTestCase)


def _reactor() -> Any:
    # Looking must not install one.
    return sys.modules.get("twisted.internet.reactor")


def _runReactor(config: pytest.Config) -> None:
    reactor = _reactor()
    if reactor is None:
        return
    if config.pluginmanager.hasplugin("twisted"):
        # It runs the reactor; iterate() would run it inside itself.
        import pytest_twisted
        from twisted.internet.task import deferLater

        for _ in range(REACTOR_TURNS):
            pytest_twisted.blockon(deferLater(reactor, 0))
    elif not reactor.running:
        for _ in range(REACTOR_TURNS):
            reactor.iterate(0)


def _delayedCalls() -> list[Any]:
    reactor = _reactor()
    return [] if reactor is None else list(reactor.getDelayedCalls())


def _cancelCalls(known: set[Any]) -> list[Any]:
    left = [call for call in _delayedCalls() if call not in known and call.active()]
    # Written down first: a cancelled call no longer knows what it would call.
    described = [str(call) for call in left]
    for call in left:
        call.cancel()
    return described


def _selectables() -> list[Any]:
    reactor = _reactor()
    if reactor is None:
        return []
    # The waker and the like.
    own: set[Any] = getattr(reactor, "_internalReaders", set())
    return [each for each in (*reactor.getReaders(), *reactor.getWriters()) if each not in own]


def _removeSelectables(known: set[Any]) -> list[Any]:
    left = list(dict.fromkeys(each for each in _selectables() if each not in known))
    reactor = _reactor()
    for each in left:
        reactor.removeReader(each)
        reactor.removeWriter(each)
        # Close what it holds, or a later collection would warn of it.
        close = getattr(getattr(each, "socket", None), "close", None)
        if close is not None:
            close()
    return left


def _remainingThreads(known: set[threading.Thread]) -> list[threading.Thread]:
    pool = getattr(_reactor(), "threadpool", None)
    # The reactor's pool keeps its threads, and they are the reactor's.
    kept = set() if pool is None else set(pool.threads)
    left = [each for each in threading.enumerate() if each not in known and each not in kept]
    for thread in left:
        thread.join(THREAD_PATIENCE)
    return [thread for thread in left if thread.is_alive()]
