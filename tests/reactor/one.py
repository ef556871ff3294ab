"""
Runs Twisted's reactor tests with one reactor: C{python -m tests.reactor.one REACTOR MODULE...}.

A module may be followed by a colon and a part of the names of its tests that are wanted; a test named after a hyphen is not.

Prints a line for each test, as soon as it is over: its outcome, its name, and why.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import sys
from collections.abc import Iterator
from typing import Any

import uvloop
from twisted.internet import epollreactor
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.test import reactormixins
from twisted.logger import globalLogBeginner
from twisted.python.reflect import namedModule
from twisted.trial.reporter import TestResult
from twisted.trial.runner import TestLoader
from twisted.trial.unittest import SynchronousTestCase

from myserv.reactor.core import UVLoopReactor, install
from tests.reactor.__main__ import shorten

TIMEOUT = 20.0
"""Seconds after which a test's reactor is stopped; Twisted's own are 120."""

HANG = 60.0
"""Seconds after which a test that does not even return is given up, and the rest with it."""


def epoll(case: Any) -> Any:
    """
    Make Twisted's own reactor.
    """
    return EPollReactor()


def ours(case: SynchronousTestCase) -> Any:
    """
    Make this one, on a loop of its own.
    """
    loop = uvloop.new_event_loop()
    case.addCleanup(loop.close)
    return UVLoopReactor(loop)


class Lines(TestResult):
    """
    Prints outcomes.
    """

    def startTest(self, test: Any) -> None:
        super().startTest(test)
        self._said: tuple[str, str] = ("passed", "")
        faulthandler.dump_traceback_later(HANG, exit=True)

    def addError(self, test: Any, error: Any) -> None:
        self._said = ("failed", _describe(error))

    def addFailure(self, test: Any, fail: Any) -> None:
        self._said = ("failed", _describe(fail))

    def addSkip(self, test: Any, reason: Any) -> None:
        self._said = ("skipped", str(reason))

    def addExpectedFailure(self, test: Any, failure: Any, todo: Any = None) -> None:
        self._said = ("skipped", "todo")

    def stopTest(self, test: Any) -> None:
        faulthandler.cancel_dump_traceback_later()
        outcome, why = self._said
        sys.stdout.write(json.dumps([outcome, test.id(), why]) + "\n")
        sys.stdout.flush()
        super().stopTest(test)

    def cleanupErrors(self, errors: Any) -> None:
        sys.stderr.write(f"{errors}\n")


def _describe(failure: Any) -> str:
    if isinstance(failure, tuple):
        return f"{failure[0].__name__}: {failure[1]}"
    return str(failure.getTraceback(detail="brief"))


def main(reactor: str, wanted: list[str]) -> None:
    """
    Run modules of C{twisted.internet.test} with a reactor of this module.
    """
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    if any(each.startswith("twisted.") for each in wanted):
        # These use the process's own reactor.
        (install if reactor == "ours" else epollreactor.install)()
    builder: Any = reactormixins.ReactorBuilder
    # Its classes are made when a module is imported.
    builder._reactors = [f"tests.reactor.one.{reactor}"]
    builder.timeout = TIMEOUT
    unwanted = {each[1:] for each in wanted if each.startswith("-")}
    for each in wanted:
        if not each.startswith("-"):
            name, _, part = each.partition(":")
            module = namedModule(name if "." in name else f"twisted.internet.test.{name}")
            for test in _tests(TestLoader().loadModule(module)):
                if part in test.id() and shorten(test.id()) not in unwanted:
                    test.run(Lines())
                    # What a test left behind is not the next one's.
                    gc.collect()


def _tests(suite: Any) -> Iterator[Any]:
    for each in suite:
        if hasattr(each, "id"):
            yield each
        else:
            yield from _tests(each)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
