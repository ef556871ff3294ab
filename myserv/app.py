"""
For C{.tac} files: a server as an ordinary C{IService}.

A deployment is a few lines of Python that C{twistd -y} runs::

    application = service.Application("echo")
    makeService("echo", listen=["tcp:7007"]).setServiceParent(application)

These functions are for files that twistd runs: a mistake ends the program with
one line and exit code 1.  A program that wants exceptions instead calls
L{myserv.server.plan.planServices} and L{myserv.server.build.buildServer}.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import cast

from attrs import evolve
from twisted.application.service import IService
from twisted.cred.portal import Portal
from twisted.internet.interfaces import IProtocolFactory

from myserv.config.model import ServerKeys
from myserv.discovery import installedPlugins, pluginOf
from myserv.errors import ConfigurationError, Problem
from myserv.interfaces import IEventObserver, IProtocolPlugin
from myserv.limits import PenaltyLimits
from myserv.options.structure import structure
from myserv.tap.server import makeTwistdServer, planOne
from myserv.tap.starting import making
from myserv.tap.workers import makeServer as serve


def makeService(
    protocol: str | IProtocolPlugin | IProtocolFactory | type,
    *,
    listen: str | Iterable[str],
    options: Mapping[str, object] | None = None,
    name: str | None = None,
    directory: str | Path | None = None,
    portal: Portal | None = None,
    observers: Iterable[IEventObserver] = (),
    limits: Mapping[str, object] | None = None,
    penalties: Mapping[str, object] | None = None,
    logConnections: bool = False,
) -> IService:
    """
    Make a service of a protocol.

    Args:
        protocol: A registered name, C{"module:Attribute"}, a plugin, or the
            Protocol, DatagramProtocol or Factory class itself.
        listen: One endpoint string, or several.
        options: The protocol's options, as a configuration file has them.
        name: What to call the service; the protocol's name when omitted.
        directory: Where the service may keep files.
        portal: Where its peers log in.
        observers: Who is told of events, beside the log.
        limits: What peers may do, as a configuration file has it.
        penalties: What misbehaviour costs them, likewise.
        logConnections: Write a line to the log for each connection.

    Returns:
        A service to give a parent; it opens its endpoints when it starts.

    Raises:
        SystemExit: Something is wrong with what was asked for.
    """
    with making():
        strings = _checkTypes(listen, options, directory, limits=limits, penalties=penalties)
        registry = installedPlugins()
        plugin = registry.find(protocol) if isinstance(protocol, str) else pluginOf(protocol)
        service = plugin.name if name is None else name
        report = functools.partial(_inService, service)
        try:
            plans = planOne(plugin, plugin.name, service, strings, options or {}, limits)
        except ConfigurationError as error:
            raise report(error.problems) from None
        server: IService = makeTwistdServer(
            plans,
            keys=ServerKeys(
                directory=None if directory is None else Path(directory),
                logConnections=logConnections,
            ),
            portal=portal,
            observers=tuple(observers),
            report=report,
            penalties=_penalties(penalties, report),
        )
        return server


def _penalties(
    values: Mapping[str, object] | None,
    report: Callable[[Iterable[Problem]], ConfigurationError],
) -> PenaltyLimits | None:
    try:
        return structure(PenaltyLimits, values or {})
    except ConfigurationError as error:
        raise report(each.under(("penalties",)) for each in error.problems) from None


def _checkTypes(
    listen: object, options: object, directory: object, **tables: object
) -> tuple[str, ...]:
    # A .tac file is seldom checked by anything but its first run.
    strings: tuple[object, ...] = ()
    if isinstance(listen, Iterable):
        strings = (listen,) if isinstance(listen, str) else tuple(listen)
    if not strings or not all(isinstance(each, str) for each in strings):
        raise ConfigurationError(
            f"listen={listen!r}: give an endpoint string or a list of them, such as "
            '["tcp:7007", "udp:7007"]'
        )
    for name, table in {"options": options, **tables}.items():
        if table is not None and not isinstance(table, Mapping):
            raise ConfigurationError(
                f"{name}={table!r}: give a dictionary, as a configuration file would hold"
            )
    if directory is not None and not isinstance(directory, (str, Path)):
        raise ConfigurationError(f"directory={directory!r}: give a path")
    return cast(tuple[str, ...], strings)


def _inService(service: str, problems: Iterable[Problem]) -> ConfigurationError:
    return ConfigurationError(
        evolve(each, where=each.where or f"service {service}") for each in problems
    )


def makeServer(
    config: str | Path,
    *,
    portal: Portal | None = None,
    observers: Iterable[IEventObserver] = (),
) -> IService:
    """
    Make a server of a configuration file.

    Args:
        config: The file.
        portal: Where peers log in.
        observers: Who is told of events, beside the log.

    Returns:
        A service to give a parent.

    Raises:
        SystemExit: Something is wrong with the file.
    """
    with making():
        server: IService = serve(config, portal=portal, observers=tuple(observers))
        return server
