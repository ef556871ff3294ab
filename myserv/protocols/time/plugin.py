"""
Time, as an operator finds it.

It has no options and yet needs its context, for the clock; so it provides the
interfaces itself, which is all that the server asks of any plugin.
"""

from __future__ import annotations

from typing import Final

from twisted.internet.interfaces import IProtocolFactory
from zope.interface import implementer

from myserv.plugin import (
    IDatagramProtocolPlugin,
    IServerContext,
    IStreamProtocolPlugin,
    ServiceFactory,
)
from myserv.protocols.time.protocol import DatagramTime, Time


@implementer(IStreamProtocolPlugin, IDatagramProtocolPlugin)
class TimePlugin:
    """
    The time service.
    """

    name = "time"
    description = "tell the time to programs (RFC 868)"
    optionsType = None
    answersAnything = True

    def buildFactory(self, context: IServerContext, options: None) -> IProtocolFactory:
        """
        See L{IStreamProtocolPlugin.buildFactory}.
        """
        return ServiceFactory(context, options, lambda: Time(context.reactor))

    def buildDatagramProtocol(self, context: IServerContext, options: None) -> DatagramTime:
        """
        See L{IDatagramProtocolPlugin.buildDatagramProtocol}.
        """
        return DatagramTime(context.reactor)


time: Final = TimePlugin()
