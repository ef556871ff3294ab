"""
SIGHUP: what is installed and configured now takes the place of what runs, or nothing does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from myserv.config.document import MAXIMUM_DOCUMENT_BYTES
from myserv.errors import ConfigurationError, FileError, Problem
from myserv.events import ConfigurationApplied, ConfigurationRejected
from myserv.options.files import readFile
from myserv.workers.blueprint import Blueprint
from myserv.workers.checking import CheckFailed
from myserv.workers.generation import GenerationFailed
from myserv.workers.supervisor import Supervisor

_log = Logger()


def readText(path: str | Path) -> str:
    """
    Read a configuration file.

    Raises:
        ConfigurationError: It cannot be read, or is not UTF-8.
    """
    try:
        return readFile(path, maximum=MAXIMUM_DOCUMENT_BYTES).decode("utf-8-sig")
    except FileError as error:
        raise ConfigurationError(Problem(error.reason, where=str(path))) from None
    except UnicodeDecodeError as error:
        message = f"is not UTF-8: the byte 0x{error.object[error.start]:02x} cannot stand there"
        raise ConfigurationError(Problem(message, where=str(path))) from None


class Reloader:
    """
    Reloads once at a time.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        file: Path,
        check: Callable[[str], Deferred[Blueprint]],
        upgrade: Callable[[Blueprint], str | None],
        done: Callable[[], None],
    ) -> None:
        """
        Args:
            supervisor: Has the workers.
            file: The configuration file, absolute.
            check: Checks what the file holds.
            upgrade: Replaces this program by what is installed, and then does not
                return; or says why it cannot.  Its argument is what is to be served.
            done: Called when a reload is over, whatever became of it.
        """
        self._supervisor = supervisor
        self._file = file
        self._check = check
        self._upgrade = upgrade
        self._done = done
        self._fingerprint = supervisor.blueprint.fingerprint
        self._isReloading = False
        self._isAskedAgain = False
        self._checking: Deferred[Blueprint] | None = None

    def reload(self) -> None:
        """
        Reload, or once more when the one that is under way is over.
        """
        if self._isReloading:
            self._isAskedAgain = True
            return
        self._begin(Deferred.fromCoroutine(self._reload()))

    def stop(self) -> None:
        """
        End a check that is under way: nobody wants to know any more.
        """
        if self._checking is not None:
            self._checking.cancel()

    def serveChecked(self, blueprint: Blueprint) -> None:
        """
        Let workers serve what the last program of this process has checked.
        """
        self._begin(Deferred.fromCoroutine(self._serve(blueprint)))

    def _begin(self, reloading: Deferred[None]) -> None:
        self._isReloading = True
        reloading.addErrback(self._refused)
        reloading.addCallback(self._over)

    def _over(self, _: Any) -> None:
        self._isReloading = False
        self._done()
        if self._isAskedAgain and not self._supervisor.isStopping:
            self._isAskedAgain = False
            self.reload()

    def _refused(self, failure: Failure) -> None:
        error, isChecked, isWrong = failure.value, True, True
        if isinstance(error, CancelledError):
            return
        if isinstance(error, CheckFailed):
            # The line names the file already.
            reasons = tuple(each.message for each in error.problems)
            isChecked = False
        elif isinstance(error, ConfigurationError):
            reasons = tuple(str(each) for each in error.problems)
        elif isinstance(error, GenerationFailed):
            lines = error.reason.splitlines()
            reasons = tuple(f"the new workers could not start: {each}" for each in lines)
            isWrong = False
        else:
            _log.failure("the configuration could not be read again", failure)
            return
        path = self._supervisor.blueprint.path
        self._emit(ConfigurationRejected(path, reasons, isChecked, isWrong))

    @property
    def _emit(self) -> Callable[[Any], None]:
        return self._supervisor.emit

    async def _reload(self) -> None:
        supervisor = self._supervisor
        text = readText(self._file)
        self._checking = self._check(text)
        try:
            blueprint = await self._checking
        finally:
            self._checking = None
        if supervisor.isStopping:
            return
        if blueprint.fingerprint != self._fingerprint:
            reason = self._upgrade(blueprint)
            if reason is not None:
                # The workers run what is installed all the same.
                pending = (f"the supervisor runs what was installed before: {reason}",)
                await self._serve(blueprint, pending)
            return
        running = supervisor.blueprint
        if text != running.text and blueprint.structure == running.structure:
            supervisor.changeLimits(blueprint)
            self._emit(ConfigurationApplied(blueprint.path, blueprint.changes, ()))
            return
        await self._serve(blueprint)

    async def _serve(self, blueprint: Blueprint, pending: tuple[str, ...] = ()) -> None:
        supervisor = self._supervisor
        await supervisor.change(blueprint)
        assert supervisor.current is not None
        number = supervisor.current.number
        self._emit(ConfigurationApplied(blueprint.path, blueprint.changes, pending, number))
