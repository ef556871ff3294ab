"""
What an endpoint wants for itself, to find two that cannot both have it.
"""

from __future__ import annotations

import os
from typing import Final

from attrs import frozen

from myserv.endpoints.parse import Endpoint, ForeignPlace

_TRANSPORTS: Final = {"tcp": "TCP", "tcp6": "TCP", "ssl": "TCP", "udp": "UDP", "udp6": "UDP"}
_WILDCARDS: Final = frozenset({"", "0.0.0.0"})  # noqa: S104 - compared, not bound


@frozen
class Claim:
    """
    A port on an interface, or a place that is there once.

    @ivar what: What it is, for people.
    @ivar where: What tells one from another.
    @ivar interface: The address, where there may be several.
    @ivar shared: Others may have it too (C{SO_REUSEPORT}).
    """

    what: str
    where: object
    interface: str = ""
    shared: bool = False

    def conflicts(self, other: Claim) -> bool:
        """
        Say whether both cannot be had at once.
        """
        if self.where != other.where or (self.shared and other.shared):
            return False
        interfaces = {self.interface, other.interface}
        if len(interfaces) == 1:
            return True
        if "::" in interfaces:
            # Which takes IPv4 too, as Linux is set up by default.
            return True
        # Every IPv4 address, and one of them.
        return bool(interfaces & _WILDCARDS) and not any(":" in each for each in interfaces)


def claimOf(endpoint: Endpoint) -> Claim | None:
    """
    Find out what an endpoint wants for itself.

    Returns:
        The claim; C{None} where the system chooses a port each time.
    """
    place = endpoint.place
    if isinstance(place, ForeignPlace):
        return Claim("place", place)
    name, options = place.prefix.name, place.options
    if name in _TRANSPORTS:
        if options.port == 0:
            return None
        transport = _TRANSPORTS[name]
        shared = getattr(options, "reusePort", False)
        return Claim("port", (transport, options.port), options.interface, shared)
    if name in ("unix", "unixgram"):
        return Claim("path", os.path.abspath(options.address))
    return Claim("place", place)
