"""
How an operator is told of a mistake: one line, exit code 1, no traceback.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from twisted.python import usage

from myserv.errors import ConfigurationError, ListenError, Problem


class Refused(SystemExit, Exception):
    """
    The program ends because of what an operator got wrong.

    To Python this is an exit, so there is no traceback.  It is an C{Exception}
    too because twistd, when it runs as a daemon, has to tell its parent and to
    remove its pid file, and does that for exceptions only.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(1)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


# What twistd's parent prints of it is cut off after 100 bytes, and a built-in
# exception's name is the only one that Python writes without its module.
Refused.__module__ = "builtins"


@contextlib.contextmanager
def oneLinePerMistake() -> Iterator[None]:
    """
    Turn an operator's mistakes into lines on standard error and exit code 1.
    """
    try:
        yield
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
        raise Refused(str(error)) from None
