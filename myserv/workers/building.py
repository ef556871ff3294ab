"""
From the text of a configuration file to a server, in an interpreter that was started
for that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen

from myserv.admission.server import ServerAdmission
from myserv.config.document import Document, parseDocument
from myserv.config.model import ServerKeys
from myserv.discovery import installedPlugins
from myserv.errors import ListenError
from myserv.events import Event
from myserv.server.build import Resources, buildServer, stateDirectory
from myserv.server.descriptors import connectionsIn, raiseDescriptorLimit
from myserv.server.plan import ServerPlan, ServicePlan, planServer
from myserv.server.service import Server
from myserv.workers.shareable import unshareable


@frozen
class Planned:
    """
    What a configuration file means.

    @ivar document: The file.
    @ivar plan: What is to be served.
    """

    document: Document
    plan: ServerPlan


def planText(path: str, text: str) -> Planned:
    """
    Give meaning to the text of a configuration file.

    Args:
        path: The file, as the operator wrote it.
        text: What it holds.

    Raises:
        ConfigurationError: With every mistake at its place in the file.
    """
    document = parseDocument(path, text.encode())
    plan = planServer(document, installedPlugins())
    problems = list(unshareable(plan.services))
    if problems:
        raise document.report(problems)
    return Planned(document, plan)


def roomOf(keys: ServerKeys, workers: int) -> int:
    """
    Say how many connections all workers may have; 0: no limit.
    """
    room = connectionsIn(raiseDescriptorLimit()) * workers
    return min(filter(None, (keys.maxConnections, room)), default=0)


def buildPlanned(
    planned: Planned,
    plans: Sequence[ServicePlan],
    reactor: Any,
    emit: Callable[[Event], None],
    admission: ServerAdmission,
    failedLate: Callable[[ListenError], None] = lambda error: None,
) -> Server:
    """
    Build a server; nothing opens yet.

    Args:
        planned: What the file means.
        plans: The services to build.
        reactor: Where they serve.
        emit: Takes the events.
        admission: Decides who may connect.
        failedLate: See L{Resources}.

    Raises:
        ConfigurationError: A plugin or an endpoint refused what it was asked.
    """
    keys = planned.plan.keys
    resources = Resources(
        reactor=reactor,
        emit=emit,
        admission=admission,
        directory=stateDirectory(keys.directory),
        report=planned.document.report,
        failedLate=failedLate,
        reportsConnections=keys.logConnections,
    )
    return buildServer(plans, resources, Server(reactor))
