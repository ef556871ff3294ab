"""
Services: a plugin tied to its listeners, and a server of several of them.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.application.service import MultiService, Service
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    maybeDeferred,
    succeed,
)
from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure

from myserv.admission.service import Admission
from myserv.endpoints.failure import describeListenError
from myserv.errors import ConfigurationError, ListenError
from myserv.events import (
    Event,
    LimitsChanged,
    ListenerFailed,
    ProtocolRaised,
    ServiceStarted,
    ServiceStopped,
)
from myserv.limits import Limits
from myserv.server.listener import STOP_GRACE, Listener

_MAXIMUM_SETTLING: Final = 1000

_START_METHODS: Final = frozenset({"startFactory", "startProtocol"})
"""What of an author's runs while an endpoint opens."""


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
        admission: Admission | None = None,
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
            admission: Decides who may connect.
        """
        self._admission = admission
        self.setName(name)
        self._name = name
        self.listeners = tuple(listeners)
        self._reactor = reactor
        self._emit = emit
        self._explain = explain
        self._failedLate = failedLate
        # The attempt to open that counts, any other having been given up.
        self._opening: object | None = None
        self._unfinished: Deferred[Any] = succeed(None)
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
        if self._opening is None:
            self._open()
        super().startService()

    def applyLimits(self, limits: Limits) -> None:
        """
        Put other limits in force, for those who are connected as well.
        """
        if self._admission is None:
            return
        changed = self._admission.apply(limits)
        if changed:
            for listener in self.listeners:
                listener.limitsChanged()
            self._emit(LimitsChanged(self._name, changed))

    def reload(self) -> None:
        """
        Let the endpoints' layers read again what may have changed.
        """
        for listener in self.listeners:
            listener.reload()

    def stopService(self) -> Deferred[None]:
        """
        Close the endpoints and end the connections.

        Returns:
            Fires when the last connection is gone.  An endpoint that is still
            opening has L{STOP_GRACE} to do so before it is given up.
        """
        super().stopService()
        self._opening = None
        unfinished = self._unfinished
        if not unfinished.called:
            giveUp = self._reactor.callLater(STOP_GRACE, unfinished.cancel)
            unfinished.addBoth(lambda _: giveUp.active() and giveUp.cancel())
        return self._closeAll().addCallback(self._closed)

    def _closed(self, result: object) -> None:
        if self._serving:
            self._serving = False
            self._emit(ServiceStopped(self._name))

    def _open(self) -> None:
        attempt = self._opening = object()
        opening = Deferred.fromCoroutine(self._openInOrder(attempt))
        failures: list[Failure] = []
        opening.addErrback(failures.append)
        if failures:
            self._opening = None
            failures[0].raiseException()
        # Almost every endpoint opens at once; one that does not may still fail.
        self._unfinished = opening.addCallback(self._openedLate, attempt, failures)

    def _openedLate(self, result: object, attempt: object, failures: list[Failure]) -> None:
        for failure in failures:
            error = failure.value
            assert isinstance(error, ListenError)
            # Nobody needs to hear it of a service that was stopped meanwhile.
            if self._opening is attempt:
                self._opening = None
                self._failedLate(error)

    async def _openInOrder(self, attempt: object) -> None:
        for listener in self.listeners:
            try:
                await listener.start()
            except Exception as error:
                self._explainBug(error)
                reason = describe(error)
                self._emit(ListenerFailed(self._name, listener.endpoint, reason))
                settle(self._closeAll(), self._reactor)
                text = f"cannot listen on {listener.endpoint}: {reason}"
                raise self._explain(listener, text) from error
            if self._opening is not attempt:
                # Stopped while this one opened; the stop has closed it too.
                return
        self._serving = True
        self._emit(ServiceStarted(self._name))

    def _explainBug(self, error: Exception) -> None:
        # Only the traceback tells an author what is wrong with the protocol.
        for frame, _ in traceback.walk_tb(error.__traceback__):
            method = frame.f_code.co_name
            if method in _START_METHODS and not _isExpected(error):
                self._emit(ProtocolRaised(self._name, None, method, Failure(error)))
                return

    def _closeAll(self) -> Deferred[Any]:
        return DeferredList([listener.stop() for listener in self.listeners])


class Server(MultiService):
    """
    Services that start and stop together.
    """

    def __init__(self, reactor: Any) -> None:
        super().__init__()
        self._reactor = reactor

    def reload(self) -> None:
        """
        Let every endpoint's layers read again what may have changed.
        """
        for service in self:
            if isinstance(service, ProtocolService):
                service.reload()

    def describe(self) -> str:
        """
        Say in one line what is served.
        """
        services = [service for service in self if isinstance(service, ProtocolService)]
        endpoints = sum(len(service.listeners) for service in services)
        return (
            f"serving {', '.join(str(each.name) for each in services)} on {endpoints} endpoint(s)"
        )

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

    def startService(self) -> None:
        """
        Open what has not been opened with privileges.

        Raises:
            ListenError: See L{privilegedStartService}.
        """
        try:
            super().startService()
        except ListenError:
            settle(self.stopService(), self._reactor)
            raise


def _isExpected(error: Exception) -> bool:
    # The rest is a bug: of the protocol's, or of an endpoint from elsewhere.
    return isinstance(error, (ConfigurationError, CannotListenError, OSError))


def describe(error: Exception) -> str:
    """
    Say in one line why an endpoint could not be opened.
    """
    if isinstance(error, CancelledError):
        return "it was still opening when the service stopped"
    reason = describeListenError(error)
    # A KeyError's own words are a key.
    return reason if _isExpected(error) else f"{type(error).__name__}: {reason}"


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
