"""
From what somebody asked for to what can be built.

A command line, a C{.tac} file and a configuration file all ask in the same
words, a L{ServiceConfig}.  Here the words are given their meaning: the protocol
is found, its options are typed, the endpoint strings are read.  Nothing opens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

from attrs import frozen

from myserv.config.document import Document
from myserv.config.model import ServerKeys, ServiceConfig, readConfig
from myserv.endpoints.claim import Claim, claimOf
from myserv.endpoints.kind import Kind
from myserv.endpoints.parse import Endpoint, ForeignPlace, parseEndpoint
from myserv.errors import (
    Blaming,
    ConfigurationError,
    KeyPath,
    PluginError,
    Problem,
    describeException,
    formatKeyPath,
)
from myserv.interfaces import IDatagramProtocolPlugin, IProtocolPlugin, IStreamProtocolPlugin
from myserv.limits import DEFAULT_LIMITS, Limits, PenaltyLimits, structureLimits
from myserv.options.structure import structure

_ESTABLISHING: Final = ("establish", "maxUnestablished")
"""Limits of clients that are not established yet."""


class Finder(Protocol):
    """What finds plugins: a L{myserv.discovery.Registry}, or the like of it."""

    def find(self, reference: str) -> IProtocolPlugin:
        """Load one plugin, or raise C{PluginError}."""


@frozen
class PlannedEndpoint:
    """
    An endpoint that a service will listen on.

    @ivar endpoint: The endpoint.
    @ivar key: Where it was asked for, in the words of whoever asked.
    """

    endpoint: Endpoint
    key: KeyPath


@frozen
class ServicePlan:
    """
    A service that can be built.

    @ivar name: What the operator calls it.
    @ivar plugin: The protocol.
    @ivar options: An instance of the plugin's options class, or C{None}.
    @ivar endpoints: Where it will listen.
    @ivar key: Where it was asked for.
    @ivar limits: What its peers may do.
    @ivar reference: What the protocol was called by whoever asked.
    @ivar generalLimits: The keys of those limits that are as they are for all services.
    """

    name: str
    plugin: IProtocolPlugin
    options: Any
    endpoints: tuple[PlannedEndpoint, ...]
    key: KeyPath
    limits: Limits = DEFAULT_LIMITS
    reference: str = ""
    generalLimits: frozenset[str] = frozenset()

    def locateLimits(self, problems: Iterable[Problem]) -> list[Problem]:
        """
        Say of what is wrong with limits where they were asked for.

        Args:
            problems: Their keys start with that of the limit.
        """
        return [
            each.under(("limits",) if each.key[0] in self.generalLimits else (*self.key, "limits"))
            for each in problems
        ]


@frozen
class ServerPlan:
    """
    A whole configuration, given its meaning.

    @ivar keys: What holds for all services.
    @ivar penalties: What misbehaviour costs.
    @ivar services: At least one, in the order of the file.
    """

    keys: ServerKeys
    penalties: PenaltyLimits
    services: tuple[ServicePlan, ...]


@frozen
class OnePlugin:
    """
    Finds the plugin that somebody has in hand already, whatever is asked for.
    """

    plugin: IProtocolPlugin

    def find(self, reference: str) -> IProtocolPlugin:
        """
        The one there is.
        """
        return self.plugin


def planServer(document: Document, registry: Finder) -> ServerPlan:
    """
    Give meaning to a configuration file.

    Args:
        document: The file.
        registry: Where protocols are found.

    Raises:
        ConfigurationError: With every mistake at its place in the file.
    """
    config, problems = readConfig(document)
    plans: tuple[ServicePlan, ...] = ()
    try:
        plans = planServices(config.services, registry)
    except ConfigurationError as error:
        problems += error.problems
    if problems:
        raise document.report(problems)
    return ServerPlan(config.server, config.penalties, plans)


def planServices(requests: Sequence[ServiceConfig], registry: Finder) -> tuple[ServicePlan, ...]:
    """
    Give meaning to every service asked for.

    Args:
        requests: The services.
        registry: Where protocols are found.

    Raises:
        ConfigurationError: With a problem for everything that is wrong with
            any of them, each under the key of its request.
    """
    problems: list[Problem] = []
    asked: list[PlannedEndpoint] = []
    plans = [_plan(request, registry, asked, problems) for request in requests]
    problems += _repeated(asked)
    if problems:
        raise ConfigurationError(problems)
    return tuple(plan for plan in plans if plan is not None)


_NETWORK: Final = frozenset({"tcp", "udp", "ssl"})
"""The places whose peers come over the network."""


def _plan(
    request: ServiceConfig,
    registry: Finder,
    asked: list[PlannedEndpoint],
    problems: list[Problem],
) -> ServicePlan | None:
    def attempt(make: Callable[[], Any], *key: str | int) -> Any:
        try:
            return make()
        except ConfigurationError as error:
            problems.extend(each.under((*request.key, *key)) for each in error.problems)
            return None

    before = len(problems)
    plugin = attempt(lambda: registry.find(request.protocol), "protocol")
    endpoints = []
    for index, text in enumerate(request.listen):
        endpoint = attempt(partial(parseEndpoint, text), "listen", index)
        if endpoint is not None:
            endpoints.append(PlannedEndpoint(endpoint, (*request.key, "listen", index)))
    asked += endpoints
    if plugin is None:
        return None
    options = attempt(lambda: _structureOptions(plugin, request.options), "options")
    problems.extend(_wrongKinds(request.protocol, plugin, endpoints))
    limits = attempt(lambda: _structureLimits(plugin, request), "limits")
    if limits is not None:
        problems.extend(_unidentified(limits, endpoints, request))
    if len(problems) > before:
        return None
    return ServicePlan(
        request.name,
        plugin,
        options,
        tuple(endpoints),
        request.key,
        limits,
        request.protocol,
        frozenset(request.generalLimits) - frozenset(request.limits),
    )


def _structureOptions(plugin: IProtocolPlugin, values: Mapping[str, object]) -> Any:
    def blame(error: BaseException) -> PluginError:
        # A validator of the author's, which may raise a ValueError only.
        return PluginError(
            f"the protocol {plugin.name} is broken: its options raised {describeException(error)}"
        )

    with Blaming(blame):
        return structure(plugin.optionsType, values)


def _structureLimits(plugin: IProtocolPlugin, request: ServiceConfig) -> Limits:
    recommended = getattr(plugin, "limits", {})
    if getattr(plugin, "establishesClients", False):
        return structureLimits(recommended, request.generalLimits, request.limits)
    # What is said of all services is meant for those that it makes sense for.
    general = {
        key: value for key, value in request.generalLimits.items() if key not in _ESTABLISHING
    }
    limits = structureLimits(recommended, general, request.limits)
    problems = [
        Problem(
            f"the protocol {request.protocol} never says that a client is established: "
            f"remove {key!r}",
            (key,),
        )
        for key in _ESTABLISHING
        if getattr(limits, key)
    ]
    if problems:
        raise ConfigurationError(problems)
    return limits


def _unidentified(
    limits: Limits, endpoints: list[PlannedEndpoint], request: ServiceConfig
) -> Iterable[Problem]:
    # Whoever comes over the network has no user: all of them would be let in.
    for planned in endpoints:
        prefix = getattr(planned.endpoint.place, "prefix", None)
        if getattr(prefix, "name", None) in _NETWORK:
            for name in ("users", "groups"):
                if getattr(limits, name):
                    text = f'"{planned.endpoint}" cannot tell: only a UNIX socket can'
                    isGeneral = name in request.generalLimits and name not in request.limits
                    yield Problem(text, (*(() if isGeneral else request.key), "limits", name))
            return


def _wrongKinds(
    protocol: str, plugin: IProtocolPlugin, endpoints: list[PlannedEndpoint]
) -> Iterable[Problem]:
    serves = {
        Kind.STREAM: IStreamProtocolPlugin.providedBy(plugin),
        Kind.DATAGRAM: IDatagramProtocolPlugin.providedBy(plugin),
    }
    messagesOnly = getattr(plugin, "messagesOnly", False)
    for planned in endpoints:
        kind = planned.endpoint.kind
        if not serves[kind]:
            other = Kind.STREAM if kind is Kind.DATAGRAM else Kind.DATAGRAM
            yield Problem(
                f'"{planned.endpoint}" is a {kind.value} endpoint, and {protocol} is a '
                f"protocol over {other.value}s only",
                planned.key,
            )
        elif kind is Kind.STREAM and messagesOnly and not _mayCarryMessages(planned.endpoint):
            yield Problem(
                f'"{planned.endpoint}" carries bytes, and {protocol} takes whole messages only: '
                "put websocket: before it",
                planned.key,
            )


def _mayCarryMessages(endpoint: Endpoint) -> bool:
    # What comes through another package's endpoint, nobody here knows.
    return isinstance(endpoint.place, ForeignPlace) or any(
        getattr(layer.wrapper, "carriesMessages", False) for layer in endpoint.layers
    )


def _repeated(asked: list[PlannedEndpoint]) -> Iterable[Problem]:
    # Of those that want one thing, such as a port, the first that wants it in each
    # way: a file may ask for thousands.
    before: dict[object, dict[Claim, PlannedEndpoint]] = {}
    for planned in asked:
        claim = claimOf(planned.endpoint)
        if claim is None:
            continue
        rivals = before.setdefault(claim.where, {})
        earlier = next((rivals[each] for each in rivals if claim.conflicts(each)), None)
        if earlier is not None:
            text = _conflict(planned.endpoint, earlier.endpoint, claim)
            yield Problem(text + _seeAlso(earlier.key), planned.key)
        rivals.setdefault(claim, planned)


def _conflict(endpoint: Endpoint, earlier: Endpoint, claim: Claim) -> str:
    if endpoint == earlier:
        return f'"{endpoint}" is asked for twice'
    return f'"{endpoint}" cannot listen beside "{earlier}": they want the same {claim.what}'


def _seeAlso(key: KeyPath) -> str:
    # On a command line there is no place to look at.
    return f"; see {formatKeyPath(key)}" if key[:1] == ("services",) else ""
