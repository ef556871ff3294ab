"""
What a configuration file may hold.

Shapes and names are decided here; what a protocol's name or an endpoint string
means is the server's to say, and it says it with L{ServiceConfig.key}.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from attrs import frozen

from myserv.config.document import Document
from myserv.errors import ConfigurationError, KeyPath, Problem, didYouMean
from myserv.options.declare import describe, option
from myserv.options.structure import structure, written

T = TypeVar("T")

SERVICE_NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""A service's name is a word on a command line, a label and a directory."""

NAME_RULE: Final = (
    "cannot be a service's name: use letters, digits, - and _, a letter or digit first"
)
"""What L{SERVICE_NAME_PATTERN} says, in words."""

_TABLES: Final = ("server", "services")


@frozen
class ServerKeys:
    """
    The keys of C{[server]}.
    """

    directory: Path | None = option(
        None, help="where services keep files, each in a directory of its own name"
    )


@frozen
class ServiceKeys:
    """
    The keys of C{[services.NAME]}, beside its table C{options}.
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
    """

    name: str
    protocol: str
    listen: tuple[str, ...]
    options: Mapping[str, object]
    key: KeyPath


@frozen
class ServerConfig:
    """
    A whole configuration file.

    @ivar directory: Where services may keep files; C{None} when not given.
    @ivar services: At least one, in the order of the file.
    """

    directory: Path | None
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
    serverKeys = _readServer(document.values, problems)
    services = _readServices(document.values, problems)
    directory = serverKeys.directory if serverKeys is not None else None
    return ServerConfig(directory, tuple(services)), problems


def _readServer(values: Mapping[str, Any], problems: list[Problem]) -> ServerKeys | None:
    table = values.get("server", {})
    if not isinstance(table, dict):
        problems.append(Problem(f"{written(table)} is not a table: write [server]", ("server",)))
        return None
    return _structure(ServerKeys, table, (), ("server",), problems)


def _readServices(values: Mapping[str, Any], problems: list[Problem]) -> list[ServiceConfig]:
    tables = values.get("services", {})
    if not isinstance(tables, dict):
        message = f"{written(tables)} is not a table: write [services.NAME]"
        problems.append(Problem(message, ("services",)))
        return []
    if not tables:
        message = 'there are none: write [services.NAME] with a "protocol" and a "listen"'
        problems.append(Problem(message, ("services",)))
    services = (_readService(name, table, problems) for name, table in tables.items())
    return [service for service in services if service is not None]


def _readService(name: str, table: object, problems: list[Problem]) -> ServiceConfig | None:
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
    if table.get("listen") == []:
        message = 'is empty: write where to listen, such as "tcp:7007"'
        problems.append(Problem(message, (*key, "listen")))
    keys = _structure(ServiceKeys, table, ("options",), key, problems)
    if keys is None:
        return None
    return ServiceConfig(name, keys.protocol, keys.listen, options, key)


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
