"""
Servers of several processes, run by twistd: C{workers} in C{[server]}.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from twisted.application.reactors import getReactorTypes
from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger
from twisted.python.failure import Failure

from myserv.config.document import Document, readDocument
from myserv.config.model import readConfig
from myserv.errors import ConfigurationError, ListenError, Problem
from myserv.observe.observers import Observers
from myserv.server.descriptors import raiseDescriptorLimit
from myserv.server.listener import State
from myserv.server.statistics import ListenerStatistics, ServiceStatistics
from myserv.tap.hangup import HANG_UP
from myserv.tap.log import ServerLog
from myserv.tap.mistakes import Refused, refusing, sayOnTerminal
from myserv.tap.notify import Notifier
from myserv.tap.program import inheritedBySystemd, readFlags
from myserv.tap.server import exitWithFailure, serveFile
from myserv.tap.starting import STARTING, STOPPED
from myserv.tap.stopping import SIGNALS, STOPPING
from myserv.workers.blueprint import Blueprint, packBlueprint, unpackBlueprint
from myserv.workers.checking import check, checkNow
from myserv.workers.generation import GenerationFailed
from myserv.workers.privileges import requireRights
from myserv.workers.process import ChildSpawner
from myserv.workers.reloading import Reloader, readText
from myserv.workers.supervisor import Conditions, Supervisor
from myserv.workers.upgrade import (
    commandLine,
    heedSignals,
    isResumed,
    replaceProgram,
    resumed,
)

NEEDED: Final = ("myserv.tap.workers", "myserv.tap.flags", "myserv.workers.child")
"""Modules that the supervisor's next program begins with: a check imports them too."""

_TURN: Final = 0.1
"""Seconds of the reactor's turns before it runs."""

_log: Final = Logger(namespace="myserv")


def makeServer(path: str | Path, **others: Any) -> IService:
    """
    Make the server that a configuration file describes, of one process or of several.

    Args:
        path: The file.
        others: See L{myserv.tap.server.makeTwistdServer}.

    Raises:
        ConfigurationError: With every mistake at its place in the file.
    """
    directory = os.getcwd()
    if isResumed():
        state = resumed()
        return superviseAgain(path, state, directory)
    document = readDocument(path)
    config, problems = readConfig(document)
    if problems or config.server.workerCount == 1:
        made = serveFile(path, **others)
        try:
            requireRights(made.identity)
        except ConfigurationError as error:
            raise document.report(error.problems) from None
        return made
    _refuseObjects(document, others)
    text = readText(path)
    server: IService = supervise(path, checkNow(str(path), text, directory, NEEDED), directory)
    return server


def _refuseObjects(document: Document, others: Mapping[str, Any]) -> None:
    for name, each in others.items():
        if each:
            message = f"a {name} of this process cannot be another's: take one of the two out"
            raise document.report([Problem(message, ("server", "workers"))])


REACTOR_VARIABLE: Final = "MYSERV_REACTOR"
"""Of the environment: on which reactor workers run, unless twistd's C{--reactor} says."""


def supervise(path: str | Path, blueprint: Blueprint, directory: str) -> SupervisedServer:
    """
    Make a server of several processes.

    Args:
        path: The configuration file.
        blueprint: What it means.
        directory: Where relative paths begin.
    """
    # Not before: twistd --reactor may still have had another to install.
    from twisted.internet import reactor

    # Each worker takes several.
    raiseDescriptorLimit()
    observers = Observers()
    log = ServerLog(observers, reactor, connections=False)
    flags = readFlags(sys.argv[1:])
    chosen = "" if flags is None else str(flags.get("reactor") or "")
    supervisor = Supervisor(
        reactor,
        ChildSpawner(reactor, directory),
        observers.emit,
        blueprint,
        Conditions(workersReactor(chosen), tuple(sys.path)),
        os.getcwd,
    )
    return SupervisedServer(reactor, supervisor, Path(path).absolute(), directory, log, flags)


def workersReactor(chosen: str) -> str:
    """
    Find out on which reactor workers are to run.

    Args:
        chosen: With twistd's C{--reactor}; empty: C{MYSERV_REACTOR} chooses, if anything.

    Returns:
        Its name; empty: the best there is.

    Raises:
        ConfigurationError: C{MYSERV_REACTOR} names none that can be had here.
    """
    name = os.environ.get(REACTOR_VARIABLE, "")
    if chosen or not name:
        return chosen
    installers: Iterable[Any] = getReactorTypes()
    modules = {each.shortName: each.moduleName for each in installers}
    if name not in modules:
        known = ", ".join(sorted(modules))
        raise ConfigurationError(
            f'{REACTOR_VARIABLE}: there is no reactor "{name}"; these are known: {known}'
        )
    try:
        importlib.import_module(modules[name])
    except ImportError as error:
        raise ConfigurationError(
            f'{REACTOR_VARIABLE}: the reactor "{name}" cannot be had: {error}'
        ) from None
    return name


def superviseAgain(path: str | Path, state: Mapping[str, Any], directory: str) -> SupervisedServer:
    """
    Go on where the last program of this process ended.

    Args:
        path: The configuration file.
        state: What that program wrote down.
        directory: Where relative paths begin.
    """
    server = supervise(path, unpackBlueprint(state["next"]), directory)
    server.state = state
    return server


def _reasonOf(failure: Failure) -> str:
    error = failure.value
    assert isinstance(error, GenerationFailed)
    return error.reason


class SupervisedServer(Service):
    """
    A server of several processes that twistd runs.

    @ivar state: What the last program of this process wrote down, if there was one.
    """

    state: Mapping[str, Any] | None = None

    def __init__(
        self,
        reactor: Any,
        supervisor: Supervisor,
        file: Path,
        directory: str,
        log: ServerLog,
        flags: Mapping[str, Any] | None,
        notifier: Notifier | None = None,
    ) -> None:
        """
        Args:
            reactor: The reactor that twistd runs.
            supervisor: Has the workers.
            file: The configuration file.
            directory: Where relative paths begin.
            log: Where lines go.
            flags: twistd's flags; C{None}: it is not twistd that runs.
            notifier: Tells systemd.
        """
        self.supervisor = supervisor
        self._reactor = reactor
        self._directory = directory
        self._log = log
        self._flags = flags
        self._isAskedEarly = False
        self._notifier = notifier or Notifier(reactor)
        self._reloader = Reloader(
            supervisor,
            file,
            self._check,
            self._upgrade,
            self._reloaded,
        )

    def _check(self, text: str) -> Deferred[Blueprint]:
        running = self.supervisor.blueprint
        return check(self._reactor, running.path, text, self._directory, NEEDED, running.text)

    def privilegedStartService(self) -> None:
        """
        Open every socket.

        Raises:
            Refused: One could not be opened.
        """
        STARTING.open()
        if self.state is None:
            with refusing():
                self.supervisor.open()

    def startService(self) -> None:
        """
        Start the workers; as a daemon, wait until they serve.

        Raises:
            Refused: They cannot.
        """
        super().startService()
        HANG_UP.add(self._reactor, self.reload)
        if self._detaches and self.state is None:
            with refusing():
                self._startBeforeDetaching()
        self._reactor.callWhenRunning(self._begin)

    @property
    def _detaches(self) -> bool:
        flags = self._flags
        return flags is not None and not (flags["nodaemon"] or flags["debug"])

    def _startBeforeDetaching(self) -> None:
        # twistd's parent waits for the end of this: its exit code says whether the
        # server serves.
        started: list[None] = []
        failures: list[Failure] = []
        self.supervisor.start().addCallbacks(started.append, failures.append)
        while not started and not failures:
            self._reactor.iterate(_TURN)
            if STARTING.isEnding:
                self.supervisor.abandon()
                _log.info("server: {reason}", reason=STOPPED)
                raise Refused(STOPPED)
        if failures:
            self.supervisor.abandon()
            reason = _reasonOf(failures[0])
            _log.error("server: cannot start: {reason}", reason=reason)
            raise ListenError(map(Problem, reason.splitlines()))

    def _begin(self) -> None:
        # Twisted's would end the process with the signal instead of an exit code.
        for each in SIGNALS:
            signal.signal(each, self._terminated)
        heedSignals()
        if self.supervisor.isServing:
            self._ready(None)
        elif self.state is None:
            self.supervisor.start().addCallbacks(self._ready, self._cannotStart)
        else:
            state, self.state = self.state, None
            self.supervisor.adopt(state["supervisor"])
            self._reloader.serveChecked(unpackBlueprint(state["next"]))

    def _ready(self, _: None) -> None:
        self._notifier.ready(self.supervisor.describe())
        if self._isAskedEarly:
            self._isAskedEarly = False
            self.reload()

    def _cannotStart(self, failure: Failure) -> None:
        reason = _reasonOf(failure)
        sayOnTerminal(reason)
        _log.error("server: cannot start: {reason}", reason=reason)
        atexit.register(exitWithFailure)
        self._stopReactor()

    def _terminated(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self._stopReactor)

    def _stopReactor(self) -> None:
        # Another service may have stopped it.
        with contextlib.suppress(ReactorNotRunning):
            self._reactor.stop()

    def reload(self) -> None:
        """
        Let what is installed and configured now take the place of what runs.
        """
        if not self.supervisor.isServing:
            # Those that start may have read the old file.
            self._isAskedEarly = True
            return
        self._notifier.reloading()
        self._reloader.reload()

    def _reloaded(self) -> None:
        if self.running:
            self._notifier.ready(self.supervisor.describe())

    def stopService(self) -> Deferred[Any]:
        """
        Let the workers drain; a second signal ends them at once.
        """
        super().stopService()
        HANG_UP.remove(self.reload)
        STARTING.end()
        self._notifier.stopping()
        self._reloader.stop()
        stopped: Deferred[Any] = self.supervisor.stop()
        stopped.addCallback(lambda _: self._log.flush())
        return STOPPING.begin(self, self._reactor, self._notifier, stopped)

    def stopNow(self) -> Deferred[Any]:
        """
        End the workers at once.
        """
        self.supervisor.hurry()
        return succeed(None)

    def statistics(self) -> tuple[ServiceStatistics, ...]:
        """
        Say how many are connected, as far as the workers have told.
        """
        supervisor = self.supervisor
        listeners = (
            ListenerStatistics(
                service="",
                endpoint="",
                state=State.STOPPING.value,
                address=None,
                connections=supervisor.connections,
                handshakes=0,
                started=0,
                refused={},
                bytesReceived=0,
                bytesSent=0,
                deadline=supervisor.blueprint.drain,
            ),
        )
        return (ServiceStatistics("", isRunning=False, listeners=listeners),)

    # The next program.

    def _upgrade(self, blueprint: Blueprint) -> str | None:
        reason = self._whyNot()
        if reason is not None:
            return reason
        descriptors = self.supervisor.descriptors()
        if min(descriptors) < 0:
            return "a worker was just ending; SIGHUP tries again"
        assert self._flags is not None
        extra: list[str] = []
        if self._detaches:
            # It is a daemon already, and its log is the daemon's.
            extra.append("--nodaemon")
            if not (self._flags["logfile"] or self._flags["syslog"]):
                extra.append("--logfile=twistd.log")
        _log.info("server: the supervisor goes on as the program that is installed now")
        self._log.flush()
        pidFile = self._flags["pidfile"]
        environment, handed = inheritedBySystemd()
        try:
            # twistd would take it for another server's.
            if pidFile:
                Path(pidFile).unlink(missing_ok=True)
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            replaceProgram(
                commandLine(sys.orig_argv, sys.argv, extra),
                self._directory,
                {"supervisor": self.supervisor.pack(), "next": packBlueprint(blueprint)},
                [*descriptors, *handed],
                {**os.environ, **environment},
            )
        except OSError as error:
            reason = f"it cannot be run: {error.strerror}"
        if pidFile:
            with contextlib.suppress(OSError):
                Path(pidFile).write_text(str(os.getpid()))
        return reason

    def _whyNot(self) -> str | None:
        if self._flags is None:
            return "it was not started by twistd"
        given = [name for name in ("uid", "gid", "chroot") if self._flags[name] is not None]
        if given:
            return f"it has no rights any more to start as it did (--{given[0]})"
        return None
