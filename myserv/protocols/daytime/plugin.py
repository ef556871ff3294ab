"""
Daytime, as an operator finds it.
"""

from __future__ import annotations

from datetime import UTC, tzinfo
from difflib import get_close_matches
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from attrs import frozen
from twisted.internet.interfaces import IProtocolFactory

from myserv.errors import ConfigurationError, Problem
from myserv.plugin import IServerContext, ProtocolPlugin, ServiceFactory, option
from myserv.protocols.daytime.protocol import DatagramDaytime, Daytime


@frozen
class DaytimeOptions:
    """
    What an operator may say about daytime.
    """

    zone: str = option("UTC", help="the time zone to tell the time in, such as Europe/Berlin")


def findZone(name: str) -> tzinfo:
    """
    Look up a time zone.

    Args:
        name: Its name in the IANA database.

    Raises:
        ConfigurationError: There is none of this name.
    """
    if name == "UTC":
        # Known without the database, which a small system may not have.
        return UTC
    try:
        return ZoneInfo(name)
    except (LookupError, OSError, ValueError):
        near = get_close_matches(name, available_timezones(), n=1)
        hint = f'did you mean "{near[0]}"?' if near else 'write one such as "Europe/Berlin"'
        raise ConfigurationError(
            Problem(f"{name!r} is not a time zone; {hint}", ("zone",))
        ) from None


def buildFactory(context: IServerContext, options: DaytimeOptions) -> IProtocolFactory:
    """
    Make the factory of one service; the zone is looked up once.
    """
    zone = findZone(options.zone)
    return ServiceFactory(context, options, lambda: Daytime(context.reactor, zone))


def buildDatagramProtocol(context: IServerContext, options: DaytimeOptions) -> DatagramDaytime:
    """
    Make the protocol of one datagram endpoint.
    """
    return DatagramDaytime(context.reactor, findZone(options.zone))


daytime: Final = ProtocolPlugin(
    "daytime",
    "tell the date and time to people (RFC 867)",
    factory=buildFactory,
    datagram=buildDatagramProtocol,
    optionsType=DaytimeOptions,
    answersAnything=True,
)
