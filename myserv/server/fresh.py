"""
What a fresh interpreter makes of a configuration file.

Code that was installed since the server started is the code that is asked, and
nothing of it comes into this process.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pwd
import sys
from collections.abc import Mapping
from typing import Any, Final

from attrs import Factory, frozen
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.python.failure import Failure

from myserv.server.inquiry import Inquiry

TIME_LIMIT: Final = 60.0
"""Seconds.  A check takes half of one; a plugin that loads a model may take a while."""

MAXIMUM_OUTPUT: Final = 1024 * 1024
"""Bytes that are kept of what a check prints."""


@frozen
class Verdict:
    """
    What became of a check.

    @ivar reasons: Why the file cannot be served, a line each; empty: it can be.
    @ivar code: Which code would serve it, see L{myserv.server.fingerprint.codeOf}.
    @ivar failure: Why there was no check, and the file may be right or wrong; empty:
        there was one.
    """

    reasons: tuple[str, ...] = ()
    code: Mapping[str, str] = Factory(dict)
    failure: str = ""


def checkFreshly(
    reactor: Any, file: str, directory: str | None, timeLimit: float = TIME_LIMIT
) -> Deferred[Verdict]:
    """
    Have a configuration file checked by C{myserv check} in a process of its own.

    Args:
        reactor: Starts the process, and tells the time.
        file: The file.
        directory: Where relative paths begin; C{None}: where this process is.
        timeLimit: Seconds that it has.

    Returns:
        Fires with what became of it; never fails.  It can be cancelled.
    """
    check = _Check(reactor, timeLimit)
    command = [sys.executable, "-m", "myserv.cli", "check", "--json", file]
    # It must not read what an operator types.
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        requireRunnable(command[0])
        process = reactor.spawnProcess(
            check,
            command[0],
            command,
            env=dict(os.environ),
            path=directory,
            childFDs={0: nothing, 1: "r", 2: "r"},
        )
        check.begin(process)
    except OSError as error:
        check.cannotRun(error)
    finally:
        os.close(nothing)
    return check.done


def readVerdict(output: bytes) -> Verdict | None:
    """
    Read what a check printed; C{None} when there is no verdict in it.
    """
    # What a plugin leaves behind may print when Python ends.
    for line in reversed(output.splitlines()):
        with contextlib.suppress(ValueError, TypeError, KeyError):
            said = json.loads(line)
            return Verdict(tuple(said["reasons"]), dict(said["code"]))
    return None


def writeVerdict(verdict: Verdict) -> str:
    """
    Write a verdict as L{readVerdict} reads it.
    """
    return json.dumps({"reasons": verdict.reasons, "code": dict(verdict.code)})


def requireRunnable(program: str) -> None:
    """
    See that a program can be run by the user that this process has become.

    Some reactors find that out in the new process only, where it is a traceback.

    Raises:
        OSError: It cannot.
    """
    os.stat(program)
    if not os.access(program, os.X_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), program)


def cannotRun(program: str, error: OSError) -> str:
    """
    Say that a check cannot be run, and by whom: it may be the user who has no right to.
    """
    uid = os.geteuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = f"user {uid}"
    return f"the check cannot be run as {user}: {program}: {error.strerror or error}"


class _Check(Inquiry[Verdict]):
    """Listens to the process."""

    def __init__(self, reactor: Any, timeLimit: float) -> None:
        super().__init__(reactor, timeLimit)
        self._output = b""
        self._errors = b""

    def outReceived(self, data: bytes) -> None:
        """It says something."""
        self._output = (self._output + data)[-MAXIMUM_OUTPUT:]

    def errReceived(self, data: bytes) -> None:
        """It says something on standard error."""
        self._errors = (self._errors + data)[-MAXIMUM_OUTPUT:]

    def answered(self, reason: Failure) -> None:
        """It is over."""
        verdict = readVerdict(self._output)
        if verdict is None:
            how = "" if reason.check(ProcessDone) else f" ({reason.getErrorMessage()})"
            lines = self._errors.decode("utf-8", "replace").split("\n")
            said = "".join(f": {line}" for line in [each for each in lines if each.strip()][-1:])
            verdict = Verdict(failure=f"the check broke off{how}{said}")
        self.done.callback(verdict)

    def cannotRun(self, error: OSError) -> None:
        """There is no process."""
        self.neverBegan()
        self.done.callback(Verdict(failure=cannotRun(sys.executable, error)))

    def tookTooLong(self) -> None:
        """There is no verdict."""
        self.done.callback(
            Verdict(failure=f"the check took longer than {self.timeLimit:g} seconds")
        )
