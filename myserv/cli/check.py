"""
C{myserv check}: everything that starting a server would find, and no socket.
"""

from __future__ import annotations

from myserv.discovery import installedPlugins
from myserv.errors import ConfigurationError, printable
from myserv.server.fingerprint import codeOf
from myserv.server.fresh import Verdict, writeVerdict
from myserv.server.service import ProtocolService
from myserv.tap.mistakes import warn
from myserv.tap.server import serveFile


def check(path: str) -> str:
    """
    Validate a configuration file.

    Files that it names are read and factories are built; nothing listens.

    Returns:
        What it would serve, for people.

    Raises:
        ConfigurationError: With every mistake at its place in the file.
    """
    # Not named by the file, perhaps, but meant: one cannot know.
    for problem in installedPlugins().problems:
        warn(problem)
    services = [each for each in serveFile(path) if isinstance(each, ProtocolService)]
    endpoints = sum(len(service.listeners) for service in services)
    lines = [
        f"{printable(path)}: ok: {_count(len(services), 'service')}, {_count(endpoints, 'endpoint')}"
    ]
    for service in services:
        where = ", ".join(listener.endpoint for listener in service.listeners)
        lines.append(printable(f"  {service.name}: {where}"))
    return "\n".join(lines)


def reportCheck(path: str) -> str:
    """
    Validate a configuration file for a server that runs, see L{myserv.server.fresh}.

    Returns:
        What came of it, for that server.
    """
    try:
        file = serveFile(path).file
    except ConfigurationError as error:
        return writeVerdict(Verdict(tuple(map(str, error.problems))))
    assert file is not None
    references = [each.reference for each in file.plan.services]
    return writeVerdict(Verdict(code=codeOf(references, installedPlugins())))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
