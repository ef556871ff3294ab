"""
What a configuration file may hold.

Shapes and names are decided here; what a protocol's name or an endpoint string
means is the server's to say, and it says it with L{ServiceConfig.key}.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from attrs import Factory, frozen

from myserv.config.document import Document
from myserv.errors import ConfigurationError, KeyPath, Problem, didYouMean
from myserv.limits import Limits, PenaltyLimits
from myserv.options.declare import describe, option
from myserv.options.structure import structure, written

T = TypeVar("T")

SERVICE_NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""A service's name is a word on a command line, a label and a directory."""

NAME_RULE: Final = (
    "cannot be a service's name: use letters, digits, - and _, a letter or digit first"
)
"""What L{SERVICE_NAME_PATTERN} says, in words."""

MAXIMUM_WORKERS: Final = 256
"""More than the cores of most machines; each has a socket of each endpoint."""

_NUMBERS_OR_WORDS: Final = ("workers", "user", "group")

_TABLES: Final = ("server", "limits", "penalties", "services")


@frozen
class ServerKeys:
    """
    The keys of C{[server]}.
    """

    directory: Path | None = option(
        None, help="where services keep files, each in a directory of its own name"
    )
    maxConnections: int = option(
        0, minimum=0, help="connections at once, of all services (as many as there are descriptors)"
    )
    logConnections: bool = option(
        False, help="write a line to the log for each connection that starts or ends"
    )
    workers: str = option(
        "1", help="processes that serve: a number, or auto for one on each core", metavar="N"
    )
    user: str | None = option(None, help="whom the server runs as once its sockets are open")
    group: str | None = option(None, help="the group it then has (that of the user)")

    @property
    def workerCount(self) -> int:
        """How many processes are to serve."""
        if self.workers == "auto":
            return len(os.sched_getaffinity(0))
        return int(self.workers)

    def __attrs_post_init__(self) -> None:
        isNumber = self.workers.isascii() and self.workers.isdigit()
        if self.workers != "auto" and not (isNumber and 1 <= int(self.workers) <= MAXIMUM_WORKERS):
            message = f'{self.workers!r} is neither a number from 1 to {MAXIMUM_WORKERS} nor "auto"'
            raise ConfigurationError(Problem(message, ("workers",)))


@frozen
class ServiceKeys:
    """
    The keys of C{[services.NAME]}, beside its tables C{options} and C{limits}.
    """

    protocol: str = option(help='the name of a protocol, or "module:Attribute"')
    listen: tuple[str, ...] = option(help='where to listen, such as "tcp:7007"')


@frozen
class ServiceConfig:
    """
    One service of a configuration file.

    @ivar name: What the operator calls it.
    @ivar protocol: A registered name, or C{"module:Attribute"}.
    @ivar listen: Endpoint strings, at least one.
    @ivar options: The protocol's own options, raw.
    @ivar key: Where it stands in the document.
    @ivar limits: What was said of its limits, raw: checked, but with no defaults.
    @ivar generalLimits: The same of what was said of all services.
    """

    name: str
    protocol: str
    listen: tuple[str, ...]
    options: Mapping[str, object]
    key: KeyPath
    limits: Mapping[str, object] = Factory(dict)
    generalLimits: Mapping[str, object] = Factory(dict)


@frozen
class ServerConfig:
    """
    A whole configuration file.

    @ivar server: What holds for all services.
    @ivar penalties: What misbehaviour costs.
    @ivar services: At least one, in the order of the file.
    """

    server: ServerKeys
    penalties: PenaltyLimits
    services: tuple[ServiceConfig, ...]


def readConfig(document: Document) -> tuple[ServerConfig, list[Problem]]:
    """
    Read what can be read of a document, right or wrong.

    Returns:
        Those services that are well formed, and a problem for everything that
        is not.  Whether two endpoints are one is left to whoever knows what
        their strings mean: a port 0 may well be asked for twice.
    """
    problems = list(_unknownKeys(document.values, _TABLES, ()))
    server = _readTable(ServerKeys, "server", _withWords(document.values), problems)
    penalties = _readTable(PenaltyLimits, "penalties", document.values, problems)
    before = len(problems)
    _readTable(Limits, "limits", document.values, problems)
    # What is wrong with them is said once, and not of each service.
    limits = {} if len(problems) > before else document.values.get("limits", {})
    services = _readServices(document.values, limits, problems)
    config = ServerConfig(server or ServerKeys(), penalties or PenaltyLimits(), tuple(services))
    return config, problems


def _withWords(values: Mapping[str, Any]) -> Mapping[str, Any]:
    # What is a number or a word is a number without quotes, too.
    table = values.get("server")
    if not isinstance(table, dict):
        return values
    words = {
        key: str(value)
        for key, value in table.items()
        if key in _NUMBERS_OR_WORDS and type(value) in (int, float)
    }
    return {"server": {**table, **words}}


def _readTable(
    keysType: type[T], name: str, values: Mapping[str, Any], problems: list[Problem]
) -> T | None:
    table = values.get(name, {})
    if not isinstance(table, dict):
        problems.append(Problem(f"{written(table)} is not a table: write [{name}]", (name,)))
        return None
    return _structure(keysType, table, (), (name,), problems)


def _readServices(
    values: Mapping[str, Any], limits: Mapping[str, object], problems: list[Problem]
) -> list[ServiceConfig]:
    tables = values.get("services", {})
    if not isinstance(tables, dict):
        message = f"{written(tables)} is not a table: write [services.NAME]"
        problems.append(Problem(message, ("services",)))
        return []
    if not tables:
        message = 'there are none: write [services.NAME] with a "protocol" and a "listen"'
        problems.append(Problem(message, ("services",)))
    services = (_readService(name, table, limits, problems) for name, table in tables.items())
    return [service for service in services if service is not None]


def _readService(
    name: str, table: object, general: Mapping[str, object], problems: list[Problem]
) -> ServiceConfig | None:
    key = ("services", name)
    if not SERVICE_NAME_PATTERN.fullmatch(name):
        problems.append(Problem(NAME_RULE, key))
    if not isinstance(table, dict):
        message = f"{written(table)} is not a table: write [services.NAME]"
        problems.append(Problem(message, key))
        return None
    options = table.get("options", {})
    if not isinstance(options, dict):
        message = f"{written(options)} is not a table: write [services.NAME.options]"
        problems.append(Problem(message, (*key, "options")))
    limits = table.get("limits", {})
    before = len(problems)
    if isinstance(limits, dict):
        _structure(Limits, limits, (), (*key, "limits"), problems)
    else:
        message = f"{written(limits)} is not a table: write [services.NAME.limits]"
        problems.append(Problem(message, (*key, "limits")))
    if len(problems) > before:
        limits = {}
    if table.get("listen") == []:
        message = 'is empty: write where to listen, such as "tcp:7007"'
        problems.append(Problem(message, (*key, "listen")))
    keys = _structure(ServiceKeys, table, ("options", "limits"), key, problems)
    if keys is None:
        return None
    return ServiceConfig(name, keys.protocol, keys.listen, options, key, limits, general)


def _structure(
    keysType: type[T],
    table: Mapping[str, object],
    subtables: tuple[str, ...],
    key: KeyPath,
    problems: list[Problem],
) -> T | None:
    names = [spec.name for spec in describe(keysType)]
    problems.extend(_unknownKeys(table, (*names, *subtables), key))
    stated = {name: value for name, value in table.items() if name in names}
    try:
        return structure(keysType, stated)
    except ConfigurationError as error:
        problems.extend(problem.under(key) for problem in error.problems)
        return None


def _unknownKeys(
    table: Mapping[str, object], known: tuple[str, ...], key: KeyPath
) -> Iterator[Problem]:
    for name in table:
        if name not in known:
            yield Problem(f"unknown key{didYouMean(name, known)}", (*key, name))
