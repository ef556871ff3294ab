"""
Sockets that a worker is handed, in place of those that its endpoints would open.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import evolve, field, frozen
from twisted.internet.defer import Deferred, FirstError, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import DatagramProtocol
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from myserv.endpoints.inherited import InheritedDatagramEndpoint, InheritedEndpoint
from myserv.endpoints.kind import Kind
from myserv.endpoints.parse import Place
from myserv.interfaces import IDatagramServerEndpoint
from myserv.server.plan import PlannedEndpoint, ServicePlan

Handed = Mapping[tuple[str, int], Sequence[int]]
"""For each endpoint, its service and its index: the descriptors of its sockets."""


def withSockets(
    plans: Sequence[ServicePlan], handed: Handed, deaf: Callable[[], None]
) -> tuple[ServicePlan, ...]:
    """
    Let planned services listen on sockets that are open.

    Args:
        plans: The services.
        handed: The sockets.  An endpoint that has none is another worker's.
        deaf: Called when the last of the sockets is closed.

    Returns:
        The plans of those services that have an endpoint here.
    """
    remaining = Remaining(deaf)
    changed = []
    for plan in plans:
        endpoints = []
        for planned in plan.endpoints:
            descriptors = handed.get((plan.name, _indexOf(planned)))
            if descriptors:
                place = planned.endpoint.place
                assert isinstance(place, Place)
                here = HandedPlace(
                    place.prefix, place.options, descriptors=tuple(descriptors), remaining=remaining
                )
                endpoints.append(evolve(planned, endpoint=evolve(planned.endpoint, place=here)))
        if endpoints:
            changed.append(evolve(plan, endpoints=tuple(endpoints)))
    return tuple(changed)


def _indexOf(planned: PlannedEndpoint) -> int:
    index = planned.key[-1]
    assert isinstance(index, int)
    return index


class Remaining:
    """
    Counts the sockets that are open.
    """

    def __init__(self, none: Callable[[], None]) -> None:
        """
        Args:
            none: Called when the last is closed.
        """
        self._none = none
        self._count = 0

    def opened(self) -> None:
        """
        There is one more.
        """
        self._count += 1

    def closed(self) -> None:
        """
        There is one less.
        """
        self._count -= 1
        if self._count == 0:
            self._none()


@frozen
class HandedPlace(Place):
    """
    A place whose sockets are open already; in a string it is the place itself.

    @ivar descriptors: Its sockets.
    @ivar remaining: Counts those that are open.
    """

    descriptors: tuple[int, ...] = field(kw_only=True, eq=False)
    remaining: Remaining = field(kw_only=True, eq=False)

    def open(self, reactor: Any) -> Any:
        """
        Make an endpoint of the sockets.
        """
        if self.kind is Kind.DATAGRAM:
            return HandedDatagramEndpoint(reactor, self.descriptors, self.remaining)
        wrap: Callable[[IProtocolFactory], IProtocolFactory] = _asItIs
        if self.prefix.name == "ssl":
            # Twisted's TLS is a part of its port.
            opened = super().open(reactor)
            wrap = _insideTLS(opened._sslContextFactory)
        return HandedEndpoint(reactor, self.descriptors, self.remaining, wrap)


def _asItIs(factory: IProtocolFactory) -> IProtocolFactory:
    return factory


def _insideTLS(contextFactory: Any) -> Callable[[IProtocolFactory], IProtocolFactory]:
    def wrap(factory: IProtocolFactory) -> IProtocolFactory:
        wrapped: IProtocolFactory = TLSMemoryBIOFactory(contextFactory, False, factory)
        return wrapped

    return wrap


@implementer(IStreamServerEndpoint)
class HandedEndpoint:
    """
    Stream sockets that are open, as one endpoint.
    """

    def __init__(
        self,
        reactor: Any,
        descriptors: Sequence[int],
        remaining: Remaining,
        wrap: Callable[[IProtocolFactory], IProtocolFactory] = _asItIs,
    ) -> None:
        """
        Args:
            reactor: Where they are listened on.
            descriptors: The sockets, which become this endpoint's own.
            remaining: Counts those that are open.
            wrap: Puts what belongs to the endpoint in front of a factory.
        """
        self._reactor = reactor
        self._descriptors = descriptors
        self._remaining = remaining
        self._wrap = wrap

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        Accept the connections of all of them.
        """
        factory = self._wrap(protocolFactory)
        opening = [
            InheritedEndpoint(self._reactor, partial(int, each)).listen(factory)
            for each in self._descriptors
        ]
        return _together(opening, self._descriptors, self._remaining)


@implementer(IDatagramServerEndpoint)
class HandedDatagramEndpoint:
    """
    Datagram sockets that are open and bound to one place, as one endpoint.
    """

    def __init__(self, reactor: Any, descriptors: Sequence[int], remaining: Remaining) -> None:
        """
        Args:
            reactor: Where they are listened on.
            descriptors: The sockets, which become this endpoint's own.
            remaining: Counts those that are open.
        """
        self._reactor = reactor
        self._descriptors = descriptors
        self._remaining = remaining

    def listen(self, protocol: DatagramProtocol) -> Deferred[IListeningPort]:
        """
        Receive the datagrams of all of them; answers leave through the first, which
        has the same address as the others.
        """
        opening = []
        for number, descriptor in enumerate(self._descriptors):
            endpoint = InheritedDatagramEndpoint(self._reactor, partial(int, descriptor))
            opening.append(endpoint.listen(Forwarding(protocol) if number else protocol))
        return _together(opening, self._descriptors, self._remaining)


class Forwarding(DatagramProtocol):
    """
    Hands what comes through one socket to the protocol of another.
    """

    noisy = False

    def __init__(self, protocol: DatagramProtocol) -> None:
        """
        Args:
            protocol: The other's.
        """
        self._protocol = protocol

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        A datagram came.
        """
        self._protocol.datagramReceived(datagram, addr)


def _together(
    opening: list[Deferred[IListeningPort]], descriptors: Sequence[int], remaining: Remaining
) -> Deferred[IListeningPort]:
    def opened(ports: list[IListeningPort]) -> IListeningPort:
        remaining.opened()
        port: IListeningPort = HandedPort(ports, descriptors, remaining)
        return port

    def failed(failure: Failure) -> Failure:
        error = failure.value
        assert isinstance(error, FirstError)
        return error.subFailure

    return gatherResults(opening, consumeErrors=True).addCallbacks(opened, failed)


@implementer(IListeningPort)
class HandedPort:
    """
    The ports of one endpoint.

    Resources:
        The descriptors they were made of are closed with them.
    """

    def __init__(
        self, ports: Sequence[Any], descriptors: Sequence[int], remaining: Remaining
    ) -> None:
        """
        Args:
            ports: Open ones, at least one.
            descriptors: What they were made of.
            remaining: Counts endpoints that are open.
        """
        self._ports = ports
        self._descriptors = descriptors
        self._remaining = remaining

    def startListening(self) -> None:
        """
        Nothing: they are open.
        """

    def stopReading(self) -> None:
        """
        Take nothing more; what arrives waits in the kernel.
        """
        for port in self._ports:
            port.stopReading()

    def startReading(self) -> None:
        """
        Take again what arrives.
        """
        for port in self._ports:
            port.startReading()

    def doRead(self) -> None:
        """
        Take some of what waits.
        """
        for port in self._ports:
            port.doRead()

    def fileno(self) -> int:
        """
        The descriptor of one of them: the others' sockets stay open elsewhere.
        """
        number: int = self._ports[0].fileno()
        return number

    def getHost(self) -> Any:
        """
        The address of all of them.
        """
        return self._ports[0].getHost()

    def stopListening(self) -> Deferred[Any]:
        """
        Close them here; the sockets live on as long as somebody else has them.
        """
        closing = [maybeDeferred(port.stopListening) for port in self._ports]
        return gatherResults(closing, consumeErrors=True).addBoth(self._closed)

    def _closed(self, result: Any) -> Any:
        descriptors, self._descriptors = self._descriptors, ()
        for descriptor in descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        if descriptors:
            self._remaining.closed()
        return result
