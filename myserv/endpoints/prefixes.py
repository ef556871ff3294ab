"""
Every prefix that an endpoint string can start with here.

Prefixes of other packages are found through Twisted's plugin system, where
Twisted's own C{serverFromString} looks for them too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from attrs import frozen
from twisted.internet.interfaces import (
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)
from twisted.plugin import getPlugins

from myserv.endpoints import inherited, stock, tcp, udp, unix
from myserv.endpoints.dtls import DTLSWrapper
from myserv.endpoints.kind import Kind
from myserv.endpoints.proxy.wrapper import ProxyWrapper
from myserv.endpoints.tls import TLSWrapper
from myserv.endpoints.websocket.wrapper import WebSocketWrapper
from myserv.errors import Blaming, EndpointError, describeException
from myserv.interfaces import (
    IDatagramServerEndpoint,
    IDatagramServerEndpointStringParser,
    IEndpointWrapper,
)


@frozen
class Prefix:
    """
    A place to listen, as an endpoint string names it.

    @ivar name: The prefix.
    @ivar description: One line.
    @ivar optionsType: What may follow it.
    @ivar example: A string that works.
    @ivar openStream: Makes a stream endpoint of a reactor and the options;
        C{None} where there is none.
    @ivar openDatagram: The same for a datagram endpoint.
    """

    name: str
    description: str
    optionsType: type
    example: str
    openStream: Callable[[Any, Any], IStreamServerEndpoint] | None = None
    openDatagram: Callable[[Any, Any], IDatagramServerEndpoint] | None = None

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What can come through it; of two, its option C{type} chooses."""
        opens = {Kind.STREAM: self.openStream, Kind.DATAGRAM: self.openDatagram}
        return tuple(kind for kind, opener in opens.items() if opener is not None)


BUILT_IN: Final[Mapping[str, Prefix]] = {
    prefix.name: prefix
    for prefix in (
        Prefix(
            "tcp",
            "TCP over IPv4, or IPv6 where the interface is an IPv6 address",
            tcp.TCPOptions,
            "tcp:7007:interface=127.0.0.1",
            openStream=tcp.TCPEndpoint,
        ),
        Prefix(
            "tcp6",
            "TCP over IPv6, and over IPv4 too unless the system forbids it",
            tcp.TCP6Options,
            "tcp6:7007",
            openStream=tcp.TCPEndpoint,
        ),
        Prefix(
            "unix",
            "a UNIX socket in the file system",
            unix.UNIXOptions,
            "unix:/run/echo.sock:mode=660",
            openStream=unix.UNIXEndpoint,
        ),
        Prefix(
            "ssl",
            "TLS over TCP as Twisted does it; tls: does more",
            stock.SSLOptions,
            "ssl:7443:privateKey=key.pem:certKey=cert.pem",
            openStream=stock.openSSL,
        ),
        Prefix(
            "stdio",
            "standard input and output, one connection",
            stock.StdioOptions,
            "stdio:",
            openStream=stock.openStdio,
        ),
        Prefix(
            "udp",
            "UDP over IPv4, or IPv6 where the interface is an IPv6 address",
            udp.UDPOptions,
            "udp:7007:interface=127.0.0.1",
            openDatagram=udp.UDPEndpoint,
        ),
        Prefix(
            "udp6",
            "UDP over IPv6, and over IPv4 too unless the system forbids it",
            udp.UDP6Options,
            "udp6:7007",
            openDatagram=udp.UDPEndpoint,
        ),
        Prefix(
            "unixgram",
            "a UNIX datagram socket in the file system",
            unix.UNIXDatagramOptions,
            "unixgram:/run/echo.dgram:mode=660",
            openDatagram=unix.UNIXDatagramEndpoint,
        ),
        Prefix(
            "fd",
            "a listening socket that this process was started with",
            inherited.DescriptorOptions,
            "fd:3",
            openStream=inherited.openDescriptor,
            openDatagram=inherited.openDatagramDescriptor,
        ),
        Prefix(
            "systemd",
            "a listening socket handed over by systemd",
            inherited.SystemdOptions,
            "systemd:name=echo",
            openStream=inherited.openSystemd,
            openDatagram=inherited.openDatagramSystemd,
        ),
    )
}
"""Places to listen."""

WRAPPERS: Final[Mapping[str, IEndpointWrapper]] = {
    wrapper.prefix: wrapper
    for wrapper in (TLSWrapper(), DTLSWrapper(), ProxyWrapper(), WebSocketWrapper())
}
"""Layers over them."""


_PLUGGABLE: Final[tuple[Any, ...]] = (
    IEndpointWrapper,
    IStreamServerEndpointStringParser,
    IDatagramServerEndpointStringParser,
)
"""What Twisted's plugin system finds for us."""


def findWrapper(prefix: str) -> IEndpointWrapper | None:
    """
    Find a layer by its prefix, here or among the installed ones.
    """
    return WRAPPERS.get(prefix) or _findPlugin(IEndpointWrapper, prefix)


def findStreamParser(prefix: str) -> Any:
    """
    Find the C{IStreamServerEndpointStringParser} of another package, or C{None}.
    """
    return _findPlugin(IStreamServerEndpointStringParser, prefix)


def findDatagramParser(prefix: str) -> Any:
    """
    Find the L{IDatagramServerEndpointStringParser} of another package, or C{None}.
    """
    return _findPlugin(IDatagramServerEndpointStringParser, prefix)


def isPrefix(word: str) -> bool:
    """
    Say whether an endpoint string can start with a word.
    """
    return word in BUILT_IN or word in WRAPPERS or word in set(_installedPrefixes())


def knownPrefixes() -> frozenset[str]:
    """
    Every prefix there is, here and among the installed ones.
    """
    return frozenset({*BUILT_IN, *WRAPPERS, *_installedPrefixes()})


def brokenPlugins() -> tuple[str, ...]:
    """
    Name the endpoint plugins of other packages that cannot be used, and why.
    """
    broken: list[str] = []
    for interface in _PLUGGABLE:
        for _ in _installed(interface, broken):
            pass
    return tuple(dict.fromkeys(broken))


def blamingPlugin(prefix: str) -> Blaming:
    """
    Around what the code behind a prefix does.
    """
    return Blaming(
        lambda error: EndpointError(f"{prefix} is broken: it raised {describeException(error)}")
    )


def _findPlugin(interface: Any, prefix: str) -> Any:
    for plugin, name in _installed(interface):
        if name == prefix:
            return plugin
    return None


def foreignPlugins() -> Iterator[tuple[str, Any]]:
    """
    The wrappers and parsers of other packages that no prefix of ours hides, by name.
    """
    for interface in _PLUGGABLE:
        for plugin, name in _installed(interface):
            if name not in BUILT_IN and name not in WRAPPERS:
                yield name, plugin


def _installedPrefixes() -> Iterator[str]:
    for interface in _PLUGGABLE:
        for _, name in _installed(interface):
            yield name


def _installed(interface: Any, broken: list[str] | None = None) -> Iterator[tuple[Any, str]]:
    # One that cannot tell its prefix is found by none, and keeps no other from it.
    for plugin in getPlugins(interface):
        try:
            with Blaming(lambda error: EndpointError(describeException(error))):
                prefix = plugin.prefix
                if not isinstance(prefix, str):
                    raise EndpointError(f"its prefix is {type(prefix).__name__}, not text")
        except EndpointError as error:
            if broken is not None:
                kind = type(plugin)
                name = f"{kind.__module__}.{kind.__qualname__}"
                broken.append(f"the endpoint plugin {name} is broken: {error}")
        else:
            yield plugin, prefix.lower()
