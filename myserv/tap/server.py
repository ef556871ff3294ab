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
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning

from myserv.admission.server import ServerAdmission
from myserv.config.document import readDocument
from myserv.config.model import (
    NAME_RULE,
    SERVICE_NAME_PATTERN,
    ServerKeys,
    ServiceConfig,
    readConfig,
)
from myserv.discovery import installedPlugins
from myserv.errors import ConfigurationError, ListenError, Problem
from myserv.interfaces import IEventObserver, IProtocolPlugin
from myserv.limits import PenaltyLimits
from myserv.observe.log import LogObserver
from myserv.observe.observers import Observers
from myserv.server.build import Resources, buildServer, stateDirectory
from myserv.server.descriptors import connectionsIn, raiseDescriptorLimit
from myserv.server.plan import OnePlugin, ServicePlan, planServices
from myserv.server.service import Server
from myserv.tap.hangup import HANG_UP
from myserv.tap.mistakes import refusing, sayOnTerminal
from myserv.tap.notify import Notifier


class TwistdServer(Server):
    """
    A server that twistd runs.

    Its failure to start ends twistd with a line instead of a traceback; SIGHUP makes
    it read its files again; systemd is told how it is.
    """

    def __init__(self, reactor: Any, notifier: Notifier | None = None) -> None:
        """
        Args:
            reactor: The reactor that serves.
            notifier: Tells systemd.
        """
        super().__init__(reactor)
        self._notifier = notifier or Notifier(reactor)

    def privilegedStartService(self) -> None:
        """
        Open every endpoint; see L{Server.privilegedStartService}.

        Raises:
            Refused: One could not be opened.
        """
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
        HANG_UP.add(self._reactor, self.reload)
        self._notifier.ready(self.describe())

    def stopService(self) -> Deferred[Any]:
        """
        Close every endpoint and end every connection.
        """
        HANG_UP.remove(self.reload)
        self._notifier.stopping()
        stopping: Deferred[Any] = super().stopService()
        return stopping

    def reload(self) -> None:
        """
        Read again what may have changed: certificates.
        """
        self._notifier.reloading()
        super().reload()
        self._notifier.ready(self.describe())


def makeTwistdServer(
    plans: tuple[ServicePlan, ...],
    *,
    portal: Portal | None = None,
    observers: tuple[IEventObserver, ...] = (),
    report: Callable[[Iterable[Problem]], ConfigurationError] = ConfigurationError,
    keys: ServerKeys | None = None,
    penalties: PenaltyLimits | None = None,
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

    Raises:
        ConfigurationError: A plugin or an endpoint refused what it was asked.
    """
    # Not before: twistd --reactor may still have had another to install.
    from twisted.internet import reactor

    def endLate(error: ListenError) -> None:
        # twistd has no other way to an exit code once the reactor runs.
        sayOnTerminal(str(error))
        atexit.register(_exitWithFailure)
        reactor.callWhenRunning(stop)

    def stop() -> None:
        # It stops already when another endpoint has failed too.
        with contextlib.suppress(ReactorNotRunning):
            reactor.stop()

    keys = keys or ServerKeys()
    everybody = Observers(LogObserver(), *observers)
    room = connectionsIn(raiseDescriptorLimit())
    resources = Resources(
        reactor=reactor,
        emit=everybody.emit,
        admission=ServerAdmission(
            reactor.seconds,
            everybody.emit,
            room=min(filter(None, (keys.maxConnections, room)), default=0),
            penalties=penalties or PenaltyLimits(),
        ),
        directory=stateDirectory(keys.directory),
        portal=portal,
        report=report,
        failedLate=endLate,
    )
    server = TwistdServer(reactor)
    buildServer(plans, resources, server)
    return server


def _exitWithFailure() -> None:
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
    config, problems = readConfig(document)
    plans: tuple[ServicePlan, ...] = ()
    try:
        plans = planServices(config.services, installedPlugins())
    except ConfigurationError as error:
        problems += error.problems
    if problems:
        raise document.report(problems)
    return makeTwistdServer(
        plans, report=document.report, keys=config.server, penalties=config.penalties, **others
    )
