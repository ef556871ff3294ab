"""
A configuration file that a server was made of, read again when it may have changed.

The new file is checked by a fresh interpreter first, so that what is installed now is
what checks it; a plugin that would not even load does no harm here.  Then it is read
in this process, which changes what it can while it serves.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred

from myserv.admission.server import ServerAdmission
from myserv.config.document import readDocument
from myserv.discovery import Registry
from myserv.errors import ConfigurationError, Problem
from myserv.events import ConfigurationApplied, ConfigurationRejected
from myserv.server.build import Resources
from myserv.server.built import builtServices
from myserv.server.changes import Changes, compareCode, comparePlans
from myserv.server.endings import Endings
from myserv.server.fingerprint import codeOf
from myserv.server.fresh import Verdict, checkFreshly
from myserv.server.plan import ServerPlan, planServer
from myserv.server.service import Server
from myserv.server.stream import StreamListener
from myserv.server.transition import Transition
from myserv.tap.log import ServerLog

Check = Callable[[Any, str, str | None], Deferred[Verdict]]
"""Has a file checked; see L{checkFreshly}."""


class ServedFile:
    """
    The configuration file of a server that runs.

    @ivar plan: What runs.
    @ivar endings: What an earlier reload has told to end, and is still there.
    """

    def __init__(
        self,
        path: str | Path,
        plan: ServerPlan,
        server: Server,
        resources: Resources,
        admission: ServerAdmission,
        log: ServerLog,
        room: int,
        find: Callable[[], Registry],
        check: Check = checkFreshly,
    ) -> None:
        """
        Args:
            path: The file, as the operator wrote it.
            plan: What it meant.
            server: What was made of it.
            resources: What that was made with.
            admission: Decides who may connect.
            log: Where the lines go.
            room: Connections at once that there are descriptors for; 0: no limit.
            find: Looks for what is installed.
            check: Has the file checked.
        """
        self.plan = plan
        self.endings = Endings()
        self._path = path
        self._server = server
        self._resources = resources
        self._admission = admission
        self._log = log
        self._room = room
        self._find = find
        self._check = check
        self._directory = currentDirectory()
        self._code = codeOf((each.reference for each in plan.services), find())

    def reload(self) -> Deferred[None]:
        """
        Put in force what the file says now.

        What came of it is told as an event, L{ConfigurationApplied} or
        L{ConfigurationRejected}.

        Returns:
            Fires when it is in force, or was rejected.  Those that have to go may still
            be there.  It can be cancelled.
        """
        return Deferred.fromCoroutine(self._reload())

    async def _reload(self) -> None:
        reactor, path = self._resources.reactor, str(self._path)
        verdict = await self._check(reactor, path, self._directory)
        if verdict.failure:
            self._reject((verdict.failure,), isChecked=False)
            return
        if verdict.reasons:
            self._reject(verdict.reasons)
            return
        older = compareCode(self._code, verdict.code)
        try:
            with self._inDirectory():
                document = readDocument(self._path)
                registry = self._find()
                changes = comparePlans(self.plan, planServer(document, registry))
                resources = evolve(self._resources, report=document.report)
                transition = Transition(
                    self._server, changes, resources, self._admission, self.endings
                )
                transition.build()
        except ConfigurationError as error:
            # What the fresh interpreter took: it has other code.
            self._reject(map(str, (*error.problems, *map(self._outdated, older))))
            return
        try:
            await transition.open()
        except ConfigurationError as error:
            self._reject(map(str, error.problems))
            return
        if not self._server.running:
            await transition.undo()
            return
        transition.commit()
        self._resources = resources
        self._applyKeys(changes)
        new = codeOf((each.reference for each in changes.started), registry)
        self._code = {**new, **self._code}
        self.plan = changes.after
        pending = (*changes.pending, *older)
        resources.emit(ConfigurationApplied(path, changes.words, pending))

    def _outdated(self, difference: str) -> Problem:
        return Problem(f"{difference}: it takes a restart", where=str(self._path))

    def _reject(self, reasons: Iterable[str], *, isChecked: bool = True) -> None:
        # Of a server that stops nobody wants to know it.
        if self._server.running:
            rejected = ConfigurationRejected(str(self._path), tuple(reasons), isChecked)
            self._resources.emit(rejected)

    def _applyKeys(self, changes: Changes) -> None:
        before, after = changes.before, changes.after
        most, penalties = after.keys.maxConnections, after.penalties
        if (most, penalties) != (before.keys.maxConnections, before.penalties):
            self._admission.apply(roomFor(most, self._room), penalties)
        if after.keys.logConnections != before.keys.logConnections:
            self._log.change(after.keys.logConnections)
        reports = self._log.reportsConnections
        self._resources = evolve(self._resources, reportsConnections=reports)
        for service in builtServices(self._server):
            service.builder.resources = self._resources
            for listener in service.listeners:
                if isinstance(listener, StreamListener):
                    listener.reportsConnections = reports

    def _inDirectory(self) -> contextlib.AbstractContextManager[None]:
        # twistd has gone elsewhere if it was given a --rundir.
        if self._directory in (None, currentDirectory()):
            return contextlib.nullcontext()
        return contextlib.chdir(self._directory)


def roomFor(maximum: int, room: int) -> int:
    """
    Say how many connections a server lets in.

    Args:
        maximum: What the operator allows; 0: any number.
        room: What there are descriptors for, likewise.
    """
    return min(filter(None, (maximum, room)), default=0)


def currentDirectory() -> str | None:
    """
    Say where relative paths begin.
    """
    try:
        return os.getcwd()
    except OSError:
        # It was removed; only absolute paths mean something then.
        return None
