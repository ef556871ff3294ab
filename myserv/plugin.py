"""
What the author of a protocol imports.

The common case is one L{ProtocolPlugin} behind an entry point in the group
C{myserv.protocols}::

    quotes = ProtocolPlugin("quotes", "a line of wisdom", stream=Quotes)

The other names here are the types that options are made of, the interfaces and
the error to raise when an option asks for what cannot be had.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final

from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from zope.interface import alsoProvides, implementer

from myserv.errors import ConfigurationError, Problem
from myserv.events import Offence, Peer, ProtocolEvent, SessionEnd
from myserv.interfaces import (
    IConnectionTransport,
    IDatagramProtocolPlugin,
    IDatagramSession,
    IDatagramTransport,
    IDrainable,
    IMessageProtocol,
    IMessageTransport,
    IPeerObserver,
    IProtocolPlugin,
    IServerContext,
    ISessionTransport,
    IStreamProtocolPlugin,
    IWebSocketTransport,
)
from myserv.limits import structureLimits
from myserv.options.declare import option
from myserv.options.files import readFile
from myserv.options.values import Duration, HostPort, IPAddress, IPNetwork, Size
from myserv.sessions import DatagramSession, DatagramSessions, SessionLimits, SessionStatistics

__all__ = [
    "ConfigurationError",
    "DatagramSession",
    "DatagramSessions",
    "Duration",
    "HostPort",
    "IConnectionTransport",
    "IDatagramProtocolPlugin",
    "IDatagramSession",
    "IDatagramTransport",
    "IDrainable",
    "IMessageProtocol",
    "IMessageTransport",
    "IPAddress",
    "IPNetwork",
    "IPeerObserver",
    "IProtocolPlugin",
    "IServerContext",
    "ISessionTransport",
    "IStreamProtocolPlugin",
    "IWebSocketTransport",
    "Offence",
    "Peer",
    "Problem",
    "ProtocolEvent",
    "ProtocolPlugin",
    "ServiceFactory",
    "SessionEnd",
    "SessionLimits",
    "SessionStatistics",
    "Size",
    "option",
    "readFile",
]

NAME_PATTERN: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
"""A protocol's name: it has to work as a word on a command line."""


class ServiceFactory(Factory):
    """
    Builds one protocol per connection and keeps what they share.

    @ivar context: The L{IServerContext} of the service.
    @ivar options: The options object, or C{None}.
    """

    noisy = False

    def __init__(
        self, context: IServerContext, options: Any, build: Callable[[], IProtocol]
    ) -> None:
        self.context = context
        self.options = options
        self._build = build

    def buildProtocol(self, addr: Any) -> Any:
        """
        Build the protocol of one connection; it can reach this as C{factory}.
        """
        protocol: Any = self._build()
        protocol.factory = self
        return protocol


@implementer(IProtocolPlugin)
class ProtocolPlugin:
    """
    A protocol that can be hosted, described by its parts.

    @ivar name: What an operator calls it: lower case, digits and hyphens.
    @ivar description: One line for C{--help}.
    @ivar optionsType: A frozen attrs class of L{option} fields, or C{None}.
    @ivar answersAnything: See L{IDatagramProtocolPlugin.answersAnything}.
    @ivar limits: What limits suit the protocol.
    @ivar establishesClients: The protocol says when a client is established.
    @ivar messagesOnly: The stream protocol takes whole messages, and bytes in no way: it
        is an L{IMessageProtocol} without a C{dataReceived} of its own.
    """

    def __init__(
        self,
        name: str,
        description: str,
        *,
        stream: Callable[..., IProtocol] | None = None,
        datagram: Callable[..., DatagramProtocol] | None = None,
        session: Callable[..., IDatagramSession] | None = None,
        factory: Callable[[IServerContext, Any], IProtocolFactory] | None = None,
        optionsType: type | None = None,
        answersAnything: bool = False,
        sessionLimits: SessionLimits | Callable[[Any], SessionLimits] | None = None,
        sessionKey: Callable[[bytes, Peer], Hashable | None] | None = None,
        limits: Mapping[str, object] | None = None,
        establishesClients: bool = False,
    ) -> None:
        """
        Args:
            name: The protocol's name.
            description: One line for C{--help}.
            stream: The C{Protocol} class, called once per connection; with no
                arguments, or, when there is an C{optionsType}, with the
                context and the options.
            datagram: The C{DatagramProtocol} class, called once per listener
                in the same way.
            session: Instead of C{datagram}, the L{DatagramSession} class,
                called once per peer in the same way.
            factory: Instead of C{stream}, for connections that share state:
                called once with the context and the options.
            optionsType: The options class.
            answersAnything: The datagram protocol answers whatever it gets.
            sessionLimits: How long sessions live and how many there may be; or
                what makes that of the options, for an operator to decide.
            sessionKey: Says by which key a datagram finds its session when its
                address is another one; see L{ISessionTransport.setKey}.
            limits: What limits suit the protocol where the operator says nothing,
                as a configuration file would: C{{"idle": "1h"}}.
            establishesClients: The protocol calls
                C{transport.clientEstablished()}; only then may an operator limit
                what comes before.

        Raises:
            ValueError: These do not describe a protocol.
        """
        if not NAME_PATTERN.fullmatch(name):
            raise ValueError(
                f"{name!r} cannot be a protocol's name: use lower case, digits and hyphens"
            )
        if stream is not None and factory is not None:
            raise ValueError(f"{name}: give stream or factory, not both")
        if datagram is not None and session is not None:
            raise ValueError(f"{name}: give datagram or session, not both")
        if stream is None and factory is None and datagram is None and session is None:
            raise ValueError(f"{name}: give stream, factory, datagram or session")
        for made in (stream, datagram, session):
            if made is not None:
                _checkCall(name, made, withOptions=optionsType is not None)
        self.limits: Mapping[str, object] = dict(limits or {})
        self.establishesClients = establishesClients
        try:
            structureLimits(self.limits)
        except ConfigurationError as error:
            raise ValueError(f"{name}: limits: {error}") from None
        self.name = name
        self.description = description
        self.optionsType = optionsType
        self.answersAnything = answersAnything
        self.messagesOnly = (
            isinstance(stream, type)
            and IMessageProtocol.implementedBy(stream)
            and getattr(stream, "dataReceived", None) is Protocol.dataReceived
        )
        self._stream = stream
        self._datagram = datagram
        self._session = session
        self._sessionLimits = sessionLimits
        self._sessionKey = sessionKey
        self._factory = factory
        if stream is not None or factory is not None:
            alsoProvides(self, IStreamProtocolPlugin)
        if datagram is not None or session is not None:
            alsoProvides(self, IDatagramProtocolPlugin)

    def __repr__(self) -> str:
        return f"<ProtocolPlugin {self.name}>"

    def _arguments(self, context: IServerContext, options: Any) -> tuple[Any, ...]:
        return () if self.optionsType is None else (context, options)

    def buildFactory(self, context: IServerContext, options: Any) -> IProtocolFactory:
        """
        See L{IStreamProtocolPlugin.buildFactory}.
        """
        if self._factory is not None:
            return self._factory(context, options)
        stream = self._stream
        assert stream is not None, f"{self.name} has no stream protocol"
        arguments = self._arguments(context, options)
        return ServiceFactory(context, options, lambda: stream(*arguments))

    def buildDatagramProtocol(self, context: IServerContext, options: Any) -> DatagramProtocol:
        """
        See L{IDatagramProtocolPlugin.buildDatagramProtocol}.
        """
        arguments = self._arguments(context, options)
        if self._datagram is not None:
            return self._datagram(*arguments)
        session, limits = self._session, self._sessionLimits
        assert session is not None, f"{self.name} has no datagram protocol"
        if limits is None:
            limits = SessionLimits()
        elif not isinstance(limits, SessionLimits):
            limits = limits(options)
        return DatagramSessions(context, lambda: session(*arguments), limits, self._sessionKey)


def _checkCall(name: str, made: Callable[..., object], *, withOptions: bool) -> None:
    # Otherwise found out when the first peer connects.
    try:
        signature = inspect.signature(made)
    except (TypeError, ValueError):  # written in C, perhaps
        return
    try:
        signature.bind(*((None, None) if withOptions else ()))
    except TypeError as error:
        called = getattr(made, "__qualname__", repr(made))
        given = (
            "the context and the options" if withOptions else "nothing, for want of an optionsType"
        )
        raise ValueError(f"{name}: {called} is called with {given}: {error}") from None
