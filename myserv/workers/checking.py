"""
Having a configuration checked in a fresh interpreter; see L{myserv.workers.examine}.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from myserv.errors import ConfigurationError, Problem
from myserv.server.fresh import cannotRun, requireRunnable
from myserv.workers.blueprint import Blueprint, unpackBlueprint
from myserv.workers.process import workerEnvironment

COMMAND: Final = ("-m", "myserv.workers.examine")

TIME_LIMIT: Final = 60.0
"""Seconds.  A check takes half of one; a plugin that loads a model may take a while."""

MAXIMUM_ANSWER: Final = 16 * 2**20
"""Bytes of an answer: a configuration file of 1 MiB in JSON, and what it means."""


class CheckFailed(ConfigurationError):
    """There was no check: the file may be right or wrong."""


def _request(path: str, text: str, modules: Sequence[str], running: str | None) -> bytes:
    request = {
        "path": path,
        "text": text,
        "running": running,
        "modules": list(modules),
        "searchPath": sys.path,
    }
    return json.dumps(request).encode()


def readAnswer(path: str, answer: bytes, errors: bytes = b"") -> Blueprint:
    """
    Read what a check answered.

    Args:
        path: The file that was checked.
        answer: What it said.
        errors: What it said on standard error.

    Raises:
        ConfigurationError: The file cannot be served.
        CheckFailed: There is no answer.
    """
    try:
        values: Mapping[str, Any] = json.loads(answer)
        if "problems" in values:
            # They have their places already.
            raise ConfigurationError(Problem(each) for each in values["problems"])
        return unpackBlueprint(values["blueprint"])
    except (ValueError, KeyError, TypeError):
        last = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
        said = f": {last}" if last else ""
        raise CheckFailed(Problem(f"the check broke off{said}", where=path)) from None


def checkNow(
    path: str, text: str, directory: str, modules: Sequence[str], timeLimit: float = TIME_LIMIT
) -> Blueprint:
    """
    Check a configuration and wait for the answer: nothing runs yet.

    Args:
        path: The file, as the operator wrote it.
        text: What it holds.
        directory: Where relative paths begin.
        modules: What else has to be there.
        timeLimit: Seconds.

    Raises:
        ConfigurationError: It cannot be served.
    """
    try:
        done = subprocess.run(  # noqa: S603 - ourselves
            [sys.executable, *COMMAND],
            cwd=directory,
            env=workerEnvironment(os.environ),
            input=_request(path, text, modules, None),
            stdout=subprocess.PIPE,
            timeout=timeLimit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _tooLong(path, timeLimit) from None
    except OSError as error:
        raise _cannotRun(path, error) from None
    return readAnswer(path, done.stdout)


def _tooLong(path: str, timeLimit: float) -> CheckFailed:
    return CheckFailed(Problem(f"the check took longer than {timeLimit:g} seconds", where=path))


def _cannotRun(path: str, error: OSError) -> CheckFailed:
    return CheckFailed(Problem(cannotRun(sys.executable, error), where=path))


def check(
    reactor: Any,
    path: str,
    text: str,
    directory: str,
    modules: Sequence[str],
    running: str | None = None,
    timeLimit: float = TIME_LIMIT,
) -> Deferred[Blueprint]:
    """
    Check a configuration while the reactor runs.

    Args:
        reactor: Starts the process, and tells the time.
        path: The file, as the operator wrote it.
        text: What it holds.
        directory: Where relative paths begin.
        modules: What else has to be there.
        running: What the file held when what runs was started.
        timeLimit: Seconds.

    Returns:
        Fires with what the supervisor has to know, or fails with a
        C{ConfigurationError}.
    """
    checking = _Checking(reactor, path, timeLimit)
    try:
        requireRunnable(sys.executable)
        checking.process = reactor.spawnProcess(
            checking,
            sys.executable,
            [sys.executable, *COMMAND],
            env=workerEnvironment(os.environ),
            path=directory,
        )
    except OSError as error:
        checking.failed(_cannotRun(path, error))
    else:
        checking.process.write(_request(path, text, modules, running))
        checking.process.closeStdin()
    return checking.done


class _Checking(ProcessProtocol):
    """Listens to the process."""

    process: Any = None

    def __init__(self, reactor: Any, path: str, timeLimit: float) -> None:
        self._path = path
        self._timeLimit = timeLimit
        self._answer = bytearray()
        self._errors = b""
        self._timer = reactor.callLater(timeLimit, self._tookTooLong)
        self.done: Deferred[Blueprint] = Deferred()

    def outReceived(self, data: bytes) -> None:
        """It answers."""
        if len(self._answer) < MAXIMUM_ANSWER:
            self._answer += data

    def errReceived(self, data: bytes) -> None:
        """It says something else."""
        self._errors = (self._errors + data)[-4096:]

    def processEnded(self, reason: Failure) -> None:
        """It is over."""
        if not self._timer.active():
            return
        self._timer.cancel()
        try:
            blueprint = readAnswer(self._path, bytes(self._answer), self._errors)
        except ConfigurationError as error:
            self.done.errback(error)
        else:
            self.done.callback(blueprint)

    def failed(self, error: ConfigurationError) -> None:
        """There is no process."""
        self._timer.cancel()
        self.done.errback(error)

    def _tookTooLong(self) -> None:
        # It is not waited for: what it says now is of no interest.
        self.process.loseConnection()
        self.process.signalProcess("KILL")
        self.done.errback(_tooLong(self._path, self._timeLimit))
