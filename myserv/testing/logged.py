"""
Failures that were logged, which is where those go that nobody handled.
"""

from __future__ import annotations

import gc
from types import TracebackType
from typing import Self

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer


@implementer(ILogObserver)
class LoggedFailures:
    """
    Collects the failures that Twisted logs while it is entered as a context,
    those of Deferreds that nobody listened to among them.

    @ivar failures: Those that nobody has taken, oldest first.
    """

    def __init__(self) -> None:
        self.failures: list[Failure] = []

    def __enter__(self) -> Self:
        globalLogPublisher.addObserver(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        globalLogPublisher.removeObserver(self)

    def __call__(self, event: LogEvent) -> None:
        """
        Something was logged: see C{ILogObserver}.
        """
        failure = event.get("log_failure")
        if failure is not None:
            self.failures.append(failure)

    def take(self, *kinds: type[BaseException]) -> list[Failure]:
        """
        Take the failures that were expected, as trial's C{flushLoggedErrors}.

        Args:
            kinds: The exceptions to take; all when none is given.

        Returns:
            What was taken, oldest first.
        """
        # A Deferred logs its failure when it is collected.
        gc.collect()
        taken = [each for each in self.failures if not kinds or each.check(*kinds)]
        self.failures = [each for each in self.failures if each not in taken]
        return taken
