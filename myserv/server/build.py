"""
From plans to a server whose endpoints are ready to open.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import MethodType
from typing import Any

from attrs import evolve, frozen
from twisted.cred.portal import Portal
from twisted.internet.protocol import Factory

from myserv.admission.server import ServerAdmission
from myserv.endpoints.kind import Kind
from myserv.errors import (
    Blaming,
    ConfigurationError,
    KeyPath,
    ListenError,
    PluginError,
    Problem,
    describeException,
)
from myserv.events import Event
from myserv.interfaces import IDatagramProtocolPlugin, IServerContext
from myserv.server.amplification import FACTOR
from myserv.server.built import BuiltService
from myserv.server.context import ServiceContext
from myserv.server.datagram import DatagramListener
from myserv.server.endings import Endings
from myserv.server.listener import Listener, Penalize
from myserv.server.plan import PlannedEndpoint, ServicePlan
from myserv.server.service import Server
from myserv.server.stream import StreamListener


@frozen
class Resources:
    """
    What services are built with, beside their plans.

    @ivar reactor: The reactor that serves.
    @ivar emit: Takes the events.
    @ivar directory: Where services keep files; or why there is no such place,
        for the service that asks.
    @ivar portal: Where peers log in.
    @ivar report: Makes the error that tells an operator where problems stand.
    @ivar admission: Decides who may connect, over all services.
    @ivar reportsConnections: Somebody wants to know of each connection.
    @ivar failedLate: Told of an endpoint that took its time and then could not
        be opened, when there is no caller left to raise to.
    """

    reactor: Any
    emit: Callable[[Event], None]
    directory: Path | ConfigurationError
    portal: Portal | None = None
    report: Callable[[Iterable[Problem]], ConfigurationError] = ConfigurationError
    failedLate: Callable[[ListenError], None] = lambda error: None
    admission: ServerAdmission | None = None
    reportsConnections: bool = True


def buildServer(plans: Sequence[ServicePlan], resources: Resources, server: Server) -> Server:
    """
    Build every planned service; nothing opens yet.

    Args:
        plans: What L{myserv.server.plan.planServices} made.
        resources: What they are built with.
        server: Where they are put.

    Returns:
        The server.

    Raises:
        ConfigurationError: With a problem for each plugin or endpoint that
            refused what it was asked for.
    """
    problems: list[Problem] = []
    for plan in plans:
        with _collecting(problems):
            buildService(plan, resources).setServiceParent(server)
    if problems:
        # What is wrong with a limit of all services, each of them tells.
        raise resources.report(dict.fromkeys(problems))
    return server


def buildService(plan: ServicePlan, resources: Resources) -> BuiltService:
    """
    Build one planned service.

    Raises:
        ConfigurationError: With a problem for each that refused, the plugin or
            an endpoint.
    """
    return ServiceBuilder(plan, resources).build()


class ServiceBuilder:
    """
    Builds one service, and the listeners that join it later.

    All connections of a service share one factory, through whichever endpoint
    they came and whenever that was opened.

    @ivar plan: What is built.
    @ivar resources: What it is built with.
    """

    def __init__(self, plan: ServicePlan, resources: Resources) -> None:
        """
        Raises:
            ConfigurationError: The limits name a user or a group that is not there.
        """
        self.plan = plan
        self.resources = resources
        server = resources.admission or ServerAdmission(resources.reactor.seconds, resources.emit)
        try:
            self._admission = server.service(plan.name, plan.limits)
        except ConfigurationError as error:
            raise ConfigurationError(plan.locateLimits(error.problems)) from None
        self._penalize = server.penalize
        self._context = _Context(plan.name, resources, server.penalize)
        self._factory: Any = None
        self._keys: dict[Listener, KeyPath] = {}

    def build(self) -> BuiltService:
        """
        Build the service.

        Raises:
            ConfigurationError: With a problem for each that refused, the plugin
                or an endpoint.
        """
        plan, resources = self.plan, self.resources
        problems: list[Problem] = []
        listeners: list[Listener] = []
        if any(planned.endpoint.kind is Kind.STREAM for planned in plan.endpoints):
            # One that listens nowhere, should the plugin refuse: endpoints may have
            # their own problems.
            self._factory = Factory()
            with _collecting(problems):
                self._factory = self._fromPlugin("buildFactory", "buildProtocol")
        for planned in plan.endpoints:
            with _collecting(problems):
                listeners.append(self.buildListener(planned))
        if problems:
            # What a plugin refuses, it may refuse once for each endpoint.
            raise ConfigurationError(dict.fromkeys(problems))
        service = BuiltService(
            plan.name,
            tuple(listeners),
            resources.reactor,
            resources.emit,
            self.explain,
            resources.failedLate,
            self._admission,
        )
        service.builder = self
        service.leaving = Endings()
        return service

    def buildListener(self, planned: PlannedEndpoint) -> Listener:
        """
        Build the listener of an endpoint; it is not open.

        Raises:
            ConfigurationError: The plugin or the endpoint refused.
        """
        listener: Listener
        if planned.endpoint.kind is Kind.STREAM:
            if self._factory is None:
                self._factory = self._fromPlugin("buildFactory", "buildProtocol")
            listener = self._streamListener(planned)
        else:
            listener = self._datagramListener(planned)
        self._keys[listener] = planned.key
        return listener

    def explain(self, listener: Listener, text: str) -> ListenError:
        """
        Make the error that says where a listener was asked for.
        """
        return ListenError(self.resources.report([Problem(text, self._keys[listener])]).problems)

    def forget(self, listener: Listener) -> None:
        """
        A listener is gone.
        """
        del self._keys[listener]

    def _fromPlugin(self, method: str, needed: str) -> Any:
        return _fromPlugin(self.plan, self._context, method, needed)

    def _streamListener(self, planned: PlannedEndpoint) -> StreamListener:
        resources = self.resources
        try:
            opener = planned.endpoint.openStream(resources.reactor)
            return StreamListener(
                self.plan.name,
                str(planned.endpoint),
                opener.place,
                self._factory,
                resources.reactor,
                resources.emit,
                planned.endpoint.wrapFactory,
                admission=self._admission,
                penalize=self._penalize,
                reportsConnections=resources.reportsConnections,
            )
        except ConfigurationError as error:
            raise _inEndpoint(error, planned) from None

    def _datagramListener(self, planned: PlannedEndpoint) -> DatagramListener:
        plugin, resources = self.plan.plugin, self.resources
        assert IDatagramProtocolPlugin.providedBy(plugin)
        protocol = self._fromPlugin("buildDatagramProtocol", "datagramReceived")
        try:
            return DatagramListener(
                self.plan.name,
                str(planned.endpoint),
                planned.endpoint.openDatagram(resources.reactor).place,
                protocol,
                resources.reactor,
                resources.emit,
                planned.endpoint.wrapProtocol,
                answersAnything=plugin.answersAnything,
                amplification=_amplificationOf(planned),
                provesAddress=planned.endpoint.provesAddress,
                admission=self._admission,
                penalize=self._penalize,
            )
        except ConfigurationError as error:
            raise _inEndpoint(error, planned) from None


@contextlib.contextmanager
def _collecting(problems: list[Problem]) -> Iterator[None]:
    try:
        yield
    except ConfigurationError as error:
        problems += error.problems


class _Context(ServiceContext):
    """
    A context that tells the operator, not the plugin's author, of a directory
    that cannot be had.
    """

    def __init__(self, name: str, resources: Resources, penalize: Penalize) -> None:
        configured = resources.directory
        self._missing = configured if isinstance(configured, ConfigurationError) else None
        directory = Path() if isinstance(configured, ConfigurationError) else configured
        super().__init__(
            name, resources.reactor, resources.emit, directory, resources.portal, penalize
        )

    @property
    def directory(self) -> Path:
        """
        Where this service may keep files.

        Raises:
            ConfigurationError: There is no such place.
        """
        if self._missing is not None:
            raise self._missing
        try:
            return super().directory
        except OSError as error:
            raise _noDirectory(f"{error.filename} cannot be made: {error.strerror}") from error


class _NoDirectory(ConfigurationError):
    """Services want a directory, and there is none."""


def _noDirectory(reason: str) -> _NoDirectory:
    text = f'the services want a directory for their files: {reason}; write "directory" in [server]'
    return _NoDirectory(Problem(text, ("server", "directory")))


def _fromPlugin(plan: ServicePlan, context: IServerContext, method: str, needed: str) -> Any:
    with Blaming(lambda error: _broken(plan, f"{method} raised {describeException(error)}")):
        try:
            made = getattr(plan.plugin, method)(context, plan.options)
        except _NoDirectory:
            raise
        except ConfigurationError as error:
            options = (*plan.key, "options")
            raise ConfigurationError(each.under(options) for each in error.problems) from error
        if not callable(getattr(made, needed, None)):
            raise _broken(plan, f"{method} returned {made!r}, which has no {needed}")
        if _buildsNothing(made):
            raise _broken(
                plan,
                f"the factory {type(made).__name__} has neither a protocol nor a buildProtocol "
                "of its own: give it one",
            )
        return made


def _buildsNothing(made: Any) -> bool:
    # Otherwise an AssertionError for each who connects.
    isTwisteds = getattr(made, "buildProtocol", None) == MethodType(Factory.buildProtocol, made)
    return isTwisteds and made.protocol is None


def _broken(plan: ServicePlan, cause: str) -> PluginError:
    text = f"the protocol {plan.plugin.name} is broken: {cause}"
    return PluginError(Problem(text, (*plan.key, "protocol")))


def _amplificationOf(planned: PlannedEndpoint) -> float:
    # Not every place has the key: a UNIX socket does not need it.
    options = getattr(planned.endpoint.place, "options", None)
    factor = getattr(options, "amplification", None)
    return FACTOR if factor is None else float(factor)


def _inEndpoint(error: ConfigurationError, planned: PlannedEndpoint) -> ConfigurationError:
    return ConfigurationError(
        evolve(each, key=planned.key, message=f'in "{planned.endpoint}": {each.message}')
        for each in error.problems
    )


def stateDirectory(configured: Path | None) -> Path | ConfigurationError:
    """
    Say where services keep files.

    Args:
        configured: What the operator said, if anything.

    Returns:
        That; else what systemd's C{StateDirectory=} says; else the place that
        the XDG base directory specification has for the state of programs.
        Where that cannot be told, the error for a service that asks: most never
        do.
    """
    try:
        if configured is not None:
            # Now: a daemon changes its directory.
            return configured.absolute()
        systemd = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
        if systemd:
            return Path(systemd)
        state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
        return Path(state).expanduser() / "myserv"
    except RuntimeError:
        return _noDirectory(f"{state} is in a home directory, and there is none")
    except OSError as error:
        return _noDirectory(f"there is no current directory: {error.strerror}")
