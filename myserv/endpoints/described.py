"""
What there is to say of each prefix: for C{myserv endpoints} and for the reference.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import frozen
from twisted.internet.interfaces import IStreamServerEndpointStringParser

from myserv.endpoints.kind import Kind
from myserv.endpoints.prefixes import BUILT_IN, WRAPPERS, Prefix, foreignPlugins
from myserv.endpoints.stock import declaredKeys
from myserv.errors import Blaming, EndpointError, describeException
from myserv.interfaces import (
    IDatagramWrapper,
    IEndpointWrapper,
    IStreamWrapper,
)
from myserv.options.declare import describe

_LAYER: Final = "a layer over {}s: what it wraps comes after it in the string"
_PLACE: Final = "a place to listen, for a {} protocol"


@frozen
class Described:
    """
    A prefix, for people.

    @ivar name: The prefix.
    @ivar description: One line.
    @ivar role: What it is in a string, in one line.
    @ivar example: A string that works; empty where none is known.
    @ivar optionsType: What may follow it; C{None} where only its author knows.
    @ivar takes: The same in words, where there is no C{optionsType}.
    @ivar package: Whose it is.
    """

    name: str
    description: str
    role: str
    example: str = ""
    optionsType: type | None = None
    takes: str = ""
    package: str = "myserv"

    @property
    def sentences(self) -> str:
        """The description and the role."""
        parts = [part for part in (self.description.rstrip("."), self.role) if part]
        return " ".join(f"{part[0].upper()}{part[1:]}." for part in parts)


HAPROXY: Final = Described(
    "haproxy",
    "the PROXY protocol as Twisted does it; proxy: does more",
    _LAYER.format(Kind.STREAM.value),
    "haproxy:tcp:7007",
    takes="what the endpoint that it wraps takes",
    package="twisted",
)
"""Its parser has nothing to say of itself."""


def describePrefixes() -> tuple[Described, ...]:
    """
    Describe every prefix that works here: places, layers, those of other packages.

    One that cannot be described is left out;
    L{myserv.endpoints.prefixes.brokenPlugins} tells of those that cannot be used.
    """
    ours = [*map(_place, BUILT_IN.values()), *map(_layer, WRAPPERS.values())]
    others = {}
    for name, plugin in foreignPlugins():
        try:
            with Blaming(lambda error: EndpointError(describeException(error))):
                others[name] = _foreign(name, plugin)
        except EndpointError:
            continue
    return (*ours, *(others[name] for name in sorted(others)))


def _place(prefix: Prefix) -> Described:
    kinds = " or ".join(kind.value for kind in prefix.kinds)
    role = _PLACE.format(kinds)
    return Described(prefix.name, prefix.description, role, prefix.example, prefix.optionsType)


def _layer(wrapper: Any) -> Described:
    kinds = {Kind.STREAM: IStreamWrapper, Kind.DATAGRAM: IDatagramWrapper}
    over = "s and ".join(
        kind.value for kind, interface in kinds.items() if interface.providedBy(wrapper)
    )
    describe(wrapper.optionsType)
    return Described(
        wrapper.prefix.lower(),
        str(wrapper.description),
        _LAYER.format(over),
        str(getattr(wrapper, "example", "")),
        wrapper.optionsType,
        package=_packageOf(wrapper),
    )


def _foreign(name: str, plugin: Any) -> Described:
    if name == HAPROXY.name:
        return HAPROXY
    if IEndpointWrapper.providedBy(plugin):
        return _layer(plugin)
    if IStreamServerEndpointStringParser.providedBy(plugin):
        kind, method = Kind.STREAM, plugin.parseStreamServer
    else:
        kind, method = Kind.DATAGRAM, plugin.parseDatagramServer
    package = _packageOf(plugin)
    keys = declaredKeys(method)
    return Described(
        name,
        f"an endpoint of the package {package}",
        _PLACE.format(kind.value),
        takes="what that package says" if keys is None else ", ".join(sorted(keys)) or "nothing",
        package=package,
    )


def _packageOf(plugin: object) -> str:
    return type(plugin).__module__.partition(".")[0]
