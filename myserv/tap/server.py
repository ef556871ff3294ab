"""
Servers on the reactor that twistd has installed.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from twisted.cred.portal import Portal
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger
from twisted.python.failure import Failure

from myserv.admission.server import ServerAdmission
from myserv.config.document import readDocument
from myserv.config.model import NAME_RULE, SERVICE_NAME_PATTERN, ServerKeys, ServiceConfig
from myserv.discovery import installedPlugins
from myserv.errors import ConfigurationError, ListenError, Problem
from myserv.interfaces import IEventObserver, IProtocolPlugin
from myserv.limits import PenaltyLimits
from myserv.observe.observers import Observers
from myserv.server.build import Resources, buildServer, stateDirectory
from myserv.server.descriptors import connectionsIn, raiseDescriptorLimit
from myserv.server.endings import Endings
from myserv.server.plan import OnePlugin, ServerPlan, ServicePlan, planServer, planServices
from myserv.server.service import ProtocolService, Server
from myserv.server.statistics import ServiceStatistics
from myserv.tap.hangup import HANG_UP
from myserv.tap.log import ServerLog
from myserv.tap.mistakes import refusing, sayOnTerminal
from myserv.tap.notify import Notifier
from myserv.tap.reload import ServedFile, roomFor
from myserv.tap.starting import STARTING
from myserv.tap.stopping import STOPPING
from myserv.workers.privileges import Identity, readIdentity
from myserv.workers.shareable import unshareable

_log = Logger()


class TwistdServer(Server):
    """
    A server that twistd runs.

    Its failure to start ends twistd with a line instead of a traceback; SIGHUP makes
    it read its files again; systemd is told how it is.

    @ivar file: The configuration file that it was made of, if it was.
    @ivar identity: Whom it runs as once its sockets are open.
    """

    identity = Identity()

    def __init__(self, reactor: Any, log: ServerLog, notifier: Notifier | None = None) -> None:
        """
        Args:
            reactor: The reactor that serves.
            log: Where its lines go.
            notifier: Tells systemd.
        """
        super().__init__(reactor)
        self._notifier = notifier or Notifier(reactor)
        self.file: ServedFile | None = None
        self._log = log
        self._reloading: Deferred[None] | None = None
        self._again = False

    def privilegedStartService(self) -> None:
        """
        Open every endpoint; see L{Server.privilegedStartService}.

        Raises:
            Refused: One could not be opened.
        """
        STARTING.open()
        with refusing():
            super().privilegedStartService()

    def startService(self) -> None:
        """
        Open what is not open yet; see L{Server.startService}.

        Raises:
            Refused: One could not be opened.
        """
        with refusing():
            super().startService()
            self.identity.assume()
        HANG_UP.add(self._reactor, self.reload)
        self._notifier.ready(self.describe())

    def stopService(self) -> Deferred[Any]:
        """
        Close every endpoint and end every connection.
        """
        HANG_UP.remove(self.reload)
        STARTING.end()
        self._notifier.stopping()
        self._again = False
        ending: list[Deferred[Any]] = [super().stopService()]
        if self._reloading is not None:
            reloading = self._reloading
            ending.append(reloading)
            reloading.cancel()
        ending.append(self._endings.wait())
        stopped: Deferred[Any] = DeferredList(ending)
        stopped.addCallback(lambda _: self._log.flush())
        return STOPPING.begin(self, self._reactor, self._notifier, stopped)

    def drain(self, deadline: float | None = None) -> Deferred[Any]:
        """
        See L{Server.drain}; what an earlier reload has told to end does so as well.
        """
        return DeferredList([super().drain(deadline), self._endings.drain(deadline)])

    def statistics(self) -> tuple[ServiceStatistics, ...]:
        """
        See L{Server.statistics}.
        """
        ending = (each for each in self._endings if isinstance(each, ProtocolService))
        return (*super().statistics(), *(each.statistics() for each in ending))

    @property
    def _endings(self) -> Endings:
        return Endings() if self.file is None else self.file.endings

    def reload(self) -> None:
        """
        Read again what may have changed: certificates at once, and the configuration
        file as soon as it was checked.

        While that lasts, another call has it done once more afterwards.
        """
        self._notifier.reloading()
        super().reload()
        if self._reloading is not None:
            self._again = True
        elif self.file is None:
            self._notifier.ready(self.describe())
        else:
            reloading = self._reloading = self.file.reload()
            reloading.addErrback(_logBug).addBoth(self._reloaded)

    def _reloaded(self, _: object) -> None:
        self._reloading = None
        if not self.running:
            return
        if self._again:
            self._again = False
            self.reload()
        else:
            self._notifier.ready(self.describe())


def _logBug(failure: Failure) -> None:
    if not failure.check(CancelledError):
        _log.failure("the configuration could not be read again", failure)


def makeTwistdServer(
    plans: tuple[ServicePlan, ...],
    *,
    portal: Portal | None = None,
    observers: tuple[IEventObserver, ...] = (),
    report: Callable[[Iterable[Problem]], ConfigurationError] = ConfigurationError,
    keys: ServerKeys | None = None,
    penalties: PenaltyLimits | None = None,
    file: str | Path | None = None,
) -> TwistdServer:
    """
    Build a server on the reactor that twistd has installed.

    Args:
        plans: The services.
        portal: Where peers log in.
        observers: Who else is told of events, beside the log.
        report: Makes the error that tells an operator where problems stand.
        keys: What holds for all services.
        penalties: What misbehaviour costs.
        file: The configuration file that all of this was read from, to read it again.

    Raises:
        ConfigurationError: A plugin or an endpoint refused what it was asked.
    """
    # Not before: twistd --reactor may still have had another to install.
    from twisted.internet import reactor

    def endLate(error: ListenError) -> None:
        # twistd has no other way to an exit code once the reactor runs.
        sayOnTerminal(str(error))
        atexit.register(exitWithFailure)
        reactor.callWhenRunning(stop)

    def stop() -> None:
        # It stops already when another endpoint has failed too.
        with contextlib.suppress(ReactorNotRunning):
            reactor.stop()

    keys = keys or ServerKeys()
    penalties = penalties or PenaltyLimits()
    everybody = Observers(*observers)
    log = ServerLog(everybody, reactor, keys.logConnections)
    room = connectionsIn(raiseDescriptorLimit())
    admission = ServerAdmission(
        reactor.seconds,
        everybody.emit,
        room=roomFor(keys.maxConnections, room),
        penalties=penalties,
    )
    resources = Resources(
        reactor=reactor,
        emit=everybody.emit,
        admission=admission,
        directory=stateDirectory(keys.directory),
        portal=portal,
        report=report,
        failedLate=endLate,
        reportsConnections=log.reportsConnections,
    )
    server = TwistdServer(reactor, log)
    buildServer(plans, resources, server)
    if file is not None:
        plan = ServerPlan(keys, penalties, plans)
        server.file = ServedFile(
            file, plan, server, resources, admission, log, room, installedPlugins
        )
    return server


def exitWithFailure() -> None:
    """
    End this process with the exit code 1, whatever else is registered to run.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(1)


def planOne(
    plugin: IProtocolPlugin,
    reference: str,
    name: str,
    listen: tuple[str, ...],
    options: Mapping[str, object],
    limits: Mapping[str, object] | None = None,
) -> tuple[ServicePlan, ...]:
    """
    Give meaning to the one service that somebody asks for.

    Args:
        plugin: The protocol.
        reference: What it was called.
        name: What the service is to be called.
        listen: Endpoint strings.
        options: The protocol's options.
        limits: What its peers may do, likewise.

    Raises:
        ConfigurationError: With a problem for everything that is wrong.
    """
    problems = []
    if not SERVICE_NAME_PATTERN.fullmatch(name):
        problems.append(Problem(f"{name!r} {NAME_RULE}", ("name",)))
    if not listen:
        problems.append(Problem('is empty: write where to listen, such as "tcp:7007"', ("listen",)))
    request = ServiceConfig(
        name=name,
        protocol=reference,
        listen=listen,
        options=options,
        key=(),
        limits=limits or {},
    )
    plans: tuple[ServicePlan, ...] = ()
    try:
        plans = planServices([request], OnePlugin(plugin))
    except ConfigurationError as error:
        problems += error.problems
    if problems:
        raise ConfigurationError(problems)
    return plans


def serveFile(path: str | Path, **others: Any) -> TwistdServer:
    """
    Build the server that a configuration file describes.

    Args:
        path: The file.
        others: See L{makeTwistdServer}.

    Raises:
        ConfigurationError: With every mistake at its place in the file.
    """
    document = readDocument(path)
    plan = planServer(document, installedPlugins())
    problems = [*unshareable(plan.services)] if plan.keys.workerCount > 1 else []
    identity = Identity()
    try:
        identity = readIdentity(plan.keys)
    except ConfigurationError as error:
        problems += error.problems
    if problems:
        raise document.report(problems)
    server = makeTwistdServer(
        plan.services,
        report=document.report,
        keys=plan.keys,
        penalties=plan.penalties,
        file=path,
        **others,
    )
    server.identity = identity
    return server
