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
from twisted.python.failure import Failure

from myserv.errors import ConfigurationError, Problem
from myserv.server.fresh import cannotRun, requireRunnable
from myserv.server.inquiry import Inquiry, endSession
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
    # Files, since what a plugin starts may hold a pipe open.
    asking, answering = os.memfd_create("question"), os.memfd_create("answer")
    try:
        os.write(asking, _request(path, text, modules, None))
        os.lseek(asking, 0, os.SEEK_SET)
        _run(asking, answering, directory, timeLimit)
        os.lseek(answering, 0, os.SEEK_SET)
        with open(answering, "rb", closefd=False) as stream:
            answer = stream.read()
    except subprocess.TimeoutExpired:
        raise _tooLong(path, timeLimit) from None
    except OSError as error:
        raise _cannotRun(path, error) from None
    finally:
        os.close(asking)
        os.close(answering)
    return readAnswer(path, answer)


def _run(asking: int, answering: int, directory: str, timeLimit: float) -> None:
    process = subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, *COMMAND],
        cwd=directory,
        env=workerEnvironment(os.environ),
        stdin=asking,
        stdout=answering,
    )
    try:
        process.wait(timeLimit)
    finally:
        endSession(process.pid)
        process.kill()
        process.wait()


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
        C{ConfigurationError}.  It can be cancelled.
    """
    checking = _Checking(reactor, path, timeLimit)
    try:
        requireRunnable(sys.executable)
        process = reactor.spawnProcess(
            checking,
            sys.executable,
            [sys.executable, *COMMAND],
            env=workerEnvironment(os.environ),
            path=directory,
        )
    except OSError as error:
        checking.failed(_cannotRun(path, error))
    else:
        checking.begin(process)
        process.write(_request(path, text, modules, running))
        process.closeStdin()
    return checking.done


class _Checking(Inquiry[Blueprint]):
    """Listens to the process."""

    def __init__(self, reactor: Any, path: str, timeLimit: float) -> None:
        super().__init__(reactor, timeLimit)
        self._path = path
        self._answer = bytearray()
        self._errors = b""

    def outReceived(self, data: bytes) -> None:
        """It answers."""
        if len(self._answer) < MAXIMUM_ANSWER:
            self._answer += data

    def errReceived(self, data: bytes) -> None:
        """It says something else."""
        self._errors = (self._errors + data)[-4096:]

    def answered(self, reason: Failure) -> None:
        """It is over."""
        try:
            blueprint = readAnswer(self._path, bytes(self._answer), self._errors)
        except ConfigurationError as error:
            self.done.errback(error)
        else:
            self.done.callback(blueprint)

    def failed(self, error: ConfigurationError) -> None:
        """There is no process."""
        self.neverBegan()
        self.done.errback(error)

    def tookTooLong(self) -> None:
        """There is no answer."""
        self.done.errback(_tooLong(self._path, self.timeLimit))
