"""
Which endpoints several processes can serve, and how they share them.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from typing import Final

from myserv.endpoints.kind import Kind
from myserv.endpoints.parse import ForeignPlace, Place
from myserv.errors import Problem
from myserv.server.plan import ServicePlan


class Sharing(enum.Enum):
    """How several workers serve one endpoint."""

    GROUP = "group"
    """Each has a socket of its own, and the kernel chooses (C{SO_REUSEPORT})."""

    COMMON = "common"
    """All accept from one socket."""

    FIRST = "first"
    """The first worker alone serves it."""


_GROUPS: Final = frozenset({"tcp", "tcp6", "ssl", "udp", "udp6"})
_ONE: Final = frozenset({"unix", "unixgram", "fd", "systemd"})


def sharingOf(place: Place | ForeignPlace) -> Sharing | None:
    """
    Say how a place is shared; C{None}: it cannot be.
    """
    if isinstance(place, ForeignPlace):
        return None
    if place.prefix.name in _GROUPS:
        return Sharing.GROUP
    if place.prefix.name in _ONE:
        return Sharing.COMMON if place.kind is Kind.STREAM else Sharing.FIRST
    return None


def unshareable(plans: Iterable[ServicePlan]) -> Iterator[Problem]:
    """
    Find the endpoints that only a server of one process can have.

    Returns:
        A problem for each.
    """
    for plan in plans:
        for planned in plan.endpoints:
            if sharingOf(planned.endpoint.place) is None:
                message = f'"{planned.endpoint}" cannot be served by several workers'
                yield Problem(
                    f"{message}: take out workers in [server], or the endpoint", planned.key
                )
