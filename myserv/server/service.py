"""
Services: a plugin tied to its listeners, and a server of several of them.
"""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable, Iterable, Sequence
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
from myserv.server.drain import Drain, Stops, drainSeconds
from myserv.server.listener import STOP_GRACE, Listener
from myserv.server.statistics import ServiceStatistics

_MAXIMUM_SETTLING: Final = 1000

_START_METHODS: Final = frozenset({"startFactory", "startProtocol"})
"""What of an author's runs while an endpoint opens."""


class ProtocolService(Stops, Service):
    """
    A protocol on one or more endpoints.

    @ivar listeners: One for each endpoint, in the order asked for.
    @ivar jitter: Returns a number from 0 to 1 at random, for the turns of a drain.
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
        self.jitter: Callable[[], float] = random.random

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

    def suspend(self) -> None:
        """
        Accept nothing new on any endpoint until L{resume}; connections live on.

        Raises:
            RuntimeError: An endpoint cannot; none has been suspended.
        """
        requirePausable(self.listeners, "suspend")
        for listener in self.listeners:
            listener.suspend()

    def resume(self) -> None:
        """
        Accept again on every endpoint, what waited in the backlog first.

        Raises:
            RuntimeError: An endpoint cannot; none has been resumed.
        """
        requirePausable(self.listeners, "resume")
        for listener in self.listeners:
            listener.resume()

    def stopService(self) -> Deferred[None]:
        """
        Drain, in the time that the limit C{drain} says; see L{drain}.
        """
        return self.drain()

    def drain(self, deadline: float | None = None) -> Deferred[None]:
        """
        Close the endpoints, and send those who are connected away politely.

        Args:
            deadline: Seconds until whoever is left is cut; 0: everybody is, at once.
                C{None}: what the limit C{drain} says.

        Returns:
            Fires when the last connection is gone.  When it drains already, the
            earlier of the deadlines holds.  An endpoint that is still opening has
            L{STOP_GRACE} at most to do so before it is given up.
        """
        super().stopService()
        self._opening = None
        drain = self._drainOf(deadline)
        unfinished = self._unfinished
        if not unfinished.called:
            patience = min(STOP_GRACE, drain.end - self._reactor.seconds())
            giveUp = self._reactor.callLater(patience, unfinished.cancel)
            unfinished.addBoth(lambda _: giveUp.active() and giveUp.cancel())
        return self._leaveAll(drain).addCallback(self._closed)

    def statistics(self) -> ServiceStatistics:
        """
        Say what it is doing at this moment.
        """
        listeners = tuple(each.statistics() for each in self.listeners)
        return ServiceStatistics(self._name, bool(self.running), listeners)

    def _drainOf(self, deadline: float | None) -> Drain:
        if deadline is None:
            limits = [each.admission.limits for each in self.listeners]
            deadline = max(map(drainSeconds, limits), default=0.0)
        return Drain(self._name, self._reactor, self._emit, deadline, self.jitter)

    def _leaveAll(self, drain: Drain) -> Deferred[Any]:
        return DeferredList([listener.leave(drain) for listener in self.listeners])

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
                settle(self._leaveAll(self._drainOf(STOP_GRACE)), self._reactor)
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


class Server(Stops, MultiService):
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
        for service in self.protocolServices:
            service.reload()

    @property
    def protocolServices(self) -> list[ProtocolService]:
        """Those that have endpoints; a C{.tac} file may add other services."""
        return [service for service in self if isinstance(service, ProtocolService)]

    def suspend(self) -> None:
        """
        Accept nothing new on any endpoint until L{resume}; connections live on.

        Raises:
            RuntimeError: An endpoint cannot; none has been suspended.
        """
        requirePausable(self._listeners, "suspend")
        for service in self.protocolServices:
            service.suspend()

    def resume(self) -> None:
        """
        Accept again on every endpoint, what waited in the backlog first.

        Raises:
            RuntimeError: An endpoint cannot; none has been resumed.
        """
        requirePausable(self._listeners, "resume")
        for service in self.protocolServices:
            service.resume()

    def drain(self, deadline: float | None = None) -> Deferred[Any]:
        """
        Drain every service that has endpoints; see L{ProtocolService.drain}.

        Other services go on: C{stopService} stops those as well.

        Args:
            deadline: Seconds, for all of them; C{None}: to each what its own limit
                C{drain} says.

        Returns:
            Fires when the last connection is gone.
        """
        return DeferredList([service.drain(deadline) for service in self.protocolServices])

    def statistics(self) -> tuple[ServiceStatistics, ...]:
        """
        Say what each service is doing at this moment.
        """
        return tuple(service.statistics() for service in self.protocolServices)

    @property
    def _listeners(self) -> list[Listener]:
        return [listener for service in self.protocolServices for listener in service.listeners]

    def describe(self) -> str:
        """
        Say in one line what is served.
        """
        services = self.protocolServices
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


def requirePausable(listeners: Iterable[Listener], verb: str) -> None:
    """
    See to it that what is asked of several listeners is done by all of them or none.

    Args:
        listeners: They.
        verb: What they are asked to.

    Raises:
        RuntimeError: One is not open, or its port cannot pause.
    """
    for listener in listeners:
        if not listener.canPause:
            raise RuntimeError(f"{listener!r} cannot {verb}")


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
