"""
What myserv is told about gauges; the entry point in pyproject.toml leads here.

Connections and datagrams of one service share its gauges.  That is what this
class is for; a protocol that shares nothing needs a ProtocolPlugin and no class.
"""

from __future__ import annotations

from typing import Final
from weakref import WeakKeyDictionary

from attrs import frozen
from zope.interface import implementer

from myserv.plugin import (
    Duration,
    IDatagramProtocolPlugin,
    IServerContext,
    IStreamProtocolPlugin,
    ServiceFactory,
    Size,
    option,
)
from myserv_gauges.gauges import Gauges
from myserv_gauges.protocol import GaugesDatagramProtocol, GaugesProtocol


@frozen
class GaugesOptions:
    """
    What an operator may set.
    """

    maxGauges: int = option(10_000, help="how many gauges there may be", minimum=1)
    maxLine: Size = option("256B", help="the longest request", minimum=80)
    expiry: Duration = option("1h", help="forget a gauge not set for that long", minimum=1)


@implementer(IStreamProtocolPlugin, IDatagramProtocolPlugin)
class GaugesPlugin:
    """
    The plugin; there is one of it, and one context for each service.
    """

    name = "gauges"
    description = "sensors report numbers, others ask or watch"
    optionsType = GaugesOptions
    answersAnything = False

    def __init__(self) -> None:
        # Weak: the gauges go with the service that they belong to.
        self._gauges: WeakKeyDictionary[IServerContext, Gauges] = WeakKeyDictionary()

    def buildFactory(self, context: IServerContext, options: GaugesOptions) -> ServiceFactory:
        """
        Make the factory of a service's connections.
        """
        gauges = self._gaugesOf(context, options)
        return ServiceFactory(
            context, options, lambda: GaugesProtocol(context, gauges, options.maxLine)
        )

    def buildDatagramProtocol(
        self, context: IServerContext, options: GaugesOptions
    ) -> GaugesDatagramProtocol:
        """
        Make the protocol of one of a service's datagram endpoints.
        """
        return GaugesDatagramProtocol(self._gaugesOf(context, options))

    def _gaugesOf(self, context: IServerContext, options: GaugesOptions) -> Gauges:
        if context not in self._gauges:
            self._gauges[context] = Gauges(
                context.reactor.seconds, options.maxGauges, options.expiry
            )
        return self._gauges[context]


gauges: Final = GaugesPlugin()
