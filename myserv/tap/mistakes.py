"""
How an operator is told of a mistake: one line, exit code 1, no traceback.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from twisted.python import usage

from myserv.errors import ConfigurationError, ListenError


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
        sayOnTerminal(f"myserv: {error}")
        raise SystemExit(1) from None


def sayOnTerminal(text: str) -> None:
    """
    Write a line where the operator sees it.
    """
    # twistd may have sent sys.stderr to its log already.
    print(text, file=sys.__stderr__, flush=True)


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
