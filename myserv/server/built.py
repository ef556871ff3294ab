"""
A service whose endpoints may change while it runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from attrs import evolve
from twisted.internet.defer import Deferred, DeferredList

from myserv.server.endings import Endings
from myserv.server.listener import Listener
from myserv.server.service import ProtocolService, Server, describe
from myserv.server.statistics import ServiceStatistics

if TYPE_CHECKING:
    from myserv.server.build import ServiceBuilder


class BuiltService(ProtocolService):
    """
    A service that knows what it was built of.

    @ivar builder: Builds listeners that are to join it.
    @ivar leaving: Listeners that were its own and still have connections.
    """

    builder: ServiceBuilder
    leaving: Endings

    def join(self, server: Server) -> None:
        """
        Become a part of a server that runs already.

        The listeners have been opened before, so that none of them could fail now.
        """
        listeners, self.listeners = self.listeners, ()
        self.setServiceParent(server)
        self.listeners = listeners

    def exchange(self, joining: Iterable[Listener], leaving: Iterable[Listener]) -> None:
        """
        Change the endpoints.

        Args:
            joining: Listeners that are open.
            leaving: Listeners of this service.  They close, and their connections
                end as they do when the service stops.
        """
        leaving = tuple(leaving)
        staying = (each for each in self.listeners if each not in leaving)
        self.listeners = (*staying, *joining)
        for listener in leaving:
            self.builder.forget(listener)
            self.leaving.add(listener, listener.drain())

    def describeFailure(self, error: Exception) -> str:
        """
        Say why a listener could not be opened; a bug has its traceback in an event.
        """
        self._explainBug(error)
        return describe(error)

    def drain(self, deadline: float | None = None) -> Deferred[None]:
        """
        See L{ProtocolService.drain}; listeners that had left before end as well.
        """
        everything: Deferred[None] = DeferredList(
            [super().drain(deadline), self.leaving.drain(deadline)]
        ).addCallback(lambda _: None)
        return everything

    def statistics(self) -> ServiceStatistics:
        """
        See L{ProtocolService.statistics}.
        """
        statistics = super().statistics()
        leaving = tuple(each.statistics() for each in self.leaving if isinstance(each, Listener))
        return evolve(statistics, listeners=(*statistics.listeners, *leaving))


def builtServices(server: Server) -> Iterator[BuiltService]:
    """
    Go through the services of a server, as they are now.
    """
    return (each for each in list(server) if isinstance(each, BuiltService))
