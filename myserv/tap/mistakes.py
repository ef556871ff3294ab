"""
How an operator is told of a mistake: one line, exit code 1, no traceback.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator
from typing import Any

from twisted.python import usage

from myserv.errors import ConfigurationError, ListenError, Problem


class Refused(SystemExit, Exception):
    """
    The program ends because of what an operator got wrong.

    To Python this is an exit, so there is no traceback.  It is an C{Exception}
    too because twistd, when it runs as a daemon, has to tell its parent and to
    remove its pid file, and does that for exceptions only.

    @ivar reason: Why.
    """

    def __init__(self, reason: str, *, isTold: bool = False) -> None:
        """
        Args:
            reason: Why.
            isTold: The operator has been told that already, where twistd tells of it too.
        """
        super().__init__(1)
        self.reason = reason
        self._isTold = isTold

    def __str__(self) -> str:
        # The parent prints no more than 100 bytes of it.
        return "the line above says why" if self._isTold else self.reason


# A built-in exception's name is the only one that Python writes without its module.
Refused.__module__ = "builtins"


class Terminal:
    """
    The terminal of an operator who sends twistd into the background.

    twistd takes it away before endpoints are opened.  It is kept until they are: a
    daemon that held it for longer would keep an C{ssh} from ending.
    """

    def __init__(self) -> None:
        self._descriptor: int | None = None

    def keep(self, reactor: Any) -> None:
        """
        Keep standard error, as it is now, until a reactor runs.

        Args:
            reactor: The one that is installed; C{None}: none will run.
        """
        if self._descriptor is not None or reactor is None:
            return
        # It may have been closed before we began.
        with contextlib.suppress(OSError):
            self._descriptor = fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, 3)
            reactor.callWhenRunning(self.release)

    def release(self) -> None:
        """
        Keep it no longer.
        """
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def say(self, text: str) -> bool:
        """
        Write a line, if standard error goes somewhere else by now.

        Returns:
            Whether it was written.
        """
        with contextlib.suppress(OSError):
            if self._descriptor is not None and not os.path.sameopenfile(self._descriptor, 2):
                os.write(self._descriptor, text.encode("utf-8", "backslashreplace") + b"\n")
                return True
        return False


TERMINAL = Terminal()
"""The one of this process."""


@contextlib.contextmanager
def oneLinePerMistake() -> Iterator[None]:
    """
    Turn an operator's mistakes into lines on standard error and exit code 1.
    """
    try:
        yield
        TERMINAL.keep(sys.modules.get("twisted.internet.reactor"))
    except ConfigurationError as error:
        sayOnTerminal(str(error))
        raise SystemExit(1) from None
    except usage.UsageError as error:
        sayOnTerminal(str(Problem(str(error), where="myserv")))
        raise SystemExit(1) from None


def sayOnTerminal(text: str) -> None:
    """
    Write a line where the operator sees it.
    """
    # twistd may have sent sys.stderr to its log already.  Where nothing can be
    # written, there is nobody to tell.
    with contextlib.suppress(OSError):
        print(text, file=sys.__stderr__, flush=True)


def warn(text: str) -> None:
    """
    Tell of what is wrong and keeps nothing from going on.
    """
    sayOnTerminal(str(Problem(text, where="warning")))


def answer(text: str) -> None:
    """
    Write what an operator asked for on standard output.

    Raises:
        ConfigurationError: It could not be written.
    """
    # The name of a file may be bytes that are no text.
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    with _toldInWords():
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)  # noqa: T201 - asked for


@contextlib.contextmanager
def completeOutput() -> Iterator[None]:
    """
    See that what is written to standard output in here arrives there.

    Raises:
        ConfigurationError: It did not.
    """
    try:
        yield
    finally:
        # There is none when it was closed before we began.
        if sys.__stdout__ is not None:
            with _toldInWords():
                sys.stdout.flush()


@contextlib.contextmanager
def _toldInWords() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # Python would try once more at its end, and have its own words.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        raise ConfigurationError(
            f"standard output cannot be written to: {error.strerror}"
        ) from None


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """
    Turn an endpoint that cannot be opened into the end of the program.
    """
    try:
        yield
    except ListenError as error:
        sayOnTerminal(str(error))
        raise Refused(str(error), isTold=TERMINAL.say(str(error))) from None
