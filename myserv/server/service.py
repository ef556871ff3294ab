"""
Services: a plugin tied to its listeners, and a server of several of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.python.failure import Failure

from myserv.endpoints.failure import describeListenError
from myserv.errors import ListenError
from myserv.events import Event, ListenerFailed, ServiceStarted, ServiceStopped
from myserv.server.listener import Listener

_MAXIMUM_SETTLING: Final = 1000


class ProtocolService(Service):
    """
    A protocol on one or more endpoints.

    @ivar listeners: One for each endpoint, in the order asked for.
    """

    def __init__(
        self,
        name: str,
        listeners: Sequence[Listener],
        reactor: Any,
        emit: Callable[[Event], None],
        explain: Callable[[Listener, str], ListenError] = lambda listener, text: ListenError(text),
        failedLate: Callable[[ListenError], None] = lambda error: None,
    ) -> None:
        """
        Args:
            name: The service's name.
            listeners: Stopped ones.
            reactor: The reactor that serves.
            emit: Takes the events.
            explain: Makes the error that says where a listener was asked for.
            failedLate: Told of an endpoint that could not be opened when
                there is no caller left to raise to.
        """
        self.setName(name)
        self._name = name
        self.listeners = tuple(listeners)
        self._reactor = reactor
        self._emit = emit
        self._explain = explain
        self._failedLate = failedLate
        self._opening: Deferred[None] | None = None
        self._serving = False

    def privilegedStartService(self) -> None:
        """
        Open every endpoint, or none.

        Raises:
            ListenError: One could not be opened; those before it are closed
                again.
        """
        self._open()

    def startService(self) -> None:
        """
        Open the endpoints, unless that has been done with privileges.

        Raises:
            ListenError: See L{privilegedStartService}.
        """
        super().startService()
        if self._opening is None:
            self._open()

    def stopService(self) -> Deferred[None]:
        """
        Close the endpoints and end the connections.

        Returns:
            Fires when the last connection is gone.
        """
        super().stopService()
        self._opening = None
        return self._closeAll().addCallback(self._closed)

    def _closed(self, result: object) -> None:
        if self._serving:
            self._serving = False
            self._emit(ServiceStopped(self._name))

    def _open(self) -> None:
        self._opening = Deferred.fromCoroutine(self._openInOrder())
        failures: list[Failure] = []
        self._opening.addErrback(failures.append)
        if failures:
            self._opening = None
            failures[0].raiseException()
        # Almost every endpoint opens at once; one that does not may still fail.
        self._opening.addCallback(self._openedLate, failures)

    def _openedLate(self, result: object, failures: list[Failure]) -> None:
        for failure in failures:
            error = failure.value
            assert isinstance(error, ListenError)
            self._failedLate(error)

    async def _openInOrder(self) -> None:
        for listener in self.listeners:
            try:
                await listener.start()
            except Exception as error:
                reason = describeListenError(error)
                self._emit(ListenerFailed(self._name, listener.endpoint, reason))
                settle(self._closeAll(), self._reactor)
                text = f"cannot listen on {listener.endpoint}: {reason}"
                raise self._explain(listener, text) from error
        self._serving = True
        self._emit(ServiceStarted(self._name))

    def _closeAll(self) -> Deferred[Any]:
        return DeferredList([listener.stop() for listener in self.listeners])


class Server(MultiService):
    """
    Services that start and stop together.
    """

    def __init__(self, reactor: Any) -> None:
        super().__init__()
        self._reactor = reactor

    def privilegedStartService(self) -> None:
        """
        Open every endpoint of every service, or none.

        Raises:
            ListenError: One could not be opened; all others are closed again.
        """
        try:
            super().privilegedStartService()
        except ListenError:
            closing = [maybeDeferred(service.stopService) for service in self]
            settle(DeferredList(closing), self._reactor)
            raise


def settle(waiting: Deferred[Any], reactor: Any) -> None:
    """
    Let a Deferred fire although the reactor does not run yet.

    Closing a port takes the reactor a turn, and a server that could not start
    never runs one: socket files would stay behind.
    """
    fired: list[object] = []
    waiting.addBoth(fired.append)
    turns = 0
    while not fired and not getattr(reactor, "running", True) and turns < _MAXIMUM_SETTLING:
        reactor.iterate(0)
        turns += 1
