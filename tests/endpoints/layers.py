"""Wrappers and parsers of other packages, for tests."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IProtocolFactory, IStreamServerEndpointStringParser
from zope.interface import implementer

from myserv.interfaces import IDatagramServerEndpointStringParser, IListenerContext, IStreamWrapper
from myserv.options.declare import option


@frozen
class ChatOptions:
    """A key that must be given, a list, and one that another layer has too."""

    path: str = option(help="where", positional=True)
    origin: tuple[str, ...] = option((), help="from where")
    level: int = option(1, help="how much")


@frozen
class ZipOptions:
    """A key that another layer has too, and one of its own."""

    level: int = option(6, help="how much", maximum=9)
    fast: bool = option(False, help="how well")


@frozen
class PlainOptions:
    """No keys at all."""


@frozen
class Wrapped:
    """A factory in a layer."""

    prefix: str
    reactor: Any
    options: Any
    factory: Any


@implementer(IStreamWrapper)
@frozen
class RecordingWrapper:
    """A wrapper that leaves a mark."""

    prefix: str
    optionsType: type
    description: str = "for tests"

    def wrapFactory(
        self, context: IListenerContext, options: Any, factory: IProtocolFactory
    ) -> Any:
        """Remember what was wrapped."""
        return Wrapped(self.prefix, context.reactor, options, factory)


@frozen
class Made:
    """What a parser made of what it was given."""

    reactor: Any
    positionals: tuple[str, ...]
    keys: dict[str, str]


@implementer(IStreamServerEndpointStringParser)
class AnyStreamParser:
    """Takes whatever there is, as most of Twisted's own do."""

    prefix = "anyStream"

    def parseStreamServer(self, reactor: Any, *args: Any, **kwargs: Any) -> Any:
        """Remember it."""
        return Made(reactor, args, kwargs)


@implementer(IStreamServerEndpointStringParser)
class StrictStreamParser:
    """Says what it takes, and checks it."""

    prefix = "strict"

    # As it may be, although mypy wants what the interface says.
    def parseStreamServer(  # type: ignore[override]
        self, reactor: Any, room: str, *args: str, seats: str = "4"
    ) -> Any:
        """Remember it, if it is good."""
        if room == "none":
            raise KeyError
        return Made(reactor, (room, *args), {"seats": str(int(seats))})


@implementer(IDatagramServerEndpointStringParser)
class DatagramParser:
    """Takes one parameter by position only, and one by name only."""

    prefix = "postcard"

    def parseDatagramServer(  # type: ignore[override]
        self, reactor: Any, town: str, /, *, stamp: str = ""
    ) -> Any:
        """Remember it."""
        return Made(reactor, (town,), {"stamp": stamp})


CHAT = RecordingWrapper("chat", ChatOptions)
ZIP = RecordingWrapper("zip", ZipOptions)
PLAIN = RecordingWrapper("plain", PlainOptions)
