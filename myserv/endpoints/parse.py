"""
From an endpoint string to a place to listen.

A string is a chain of prefixes, nearest the protocol first: any number of
wrappers, then the place itself.  A key belongs to the prefix it follows; one
that this prefix does not declare belongs to whichever other part of the chain
does, and it is an error when none does or more than one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from attrs import Factory, define, evolve, field, frozen
from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from myserv.endpoints.bare import BareContext
from myserv.endpoints.grammar import Parameter, join, split
from myserv.endpoints.kind import Kind
from myserv.endpoints.prefixes import (
    BUILT_IN,
    WRAPPERS,
    Prefix,
    blamingPlugin,
    brokenPlugins,
    findDatagramParser,
    findStreamParser,
    findWrapper,
    isPrefix,
    knownPrefixes,
)
from myserv.endpoints.proxy.wrapper import UNIX, ProxyOptions
from myserv.endpoints.stock import callParser, declaredKeys
from myserv.errors import ConfigurationError, EndpointError, didYouMean, formatKeyPath
from myserv.interfaces import (
    IDatagramServerEndpoint,
    IDatagramWrapper,
    IEndpointWrapper,
    IListenerContext,
    IStreamWrapper,
)
from myserv.options.declare import describe, formatValue
from myserv.options.structure import structure
from myserv.options.values import parseIPAddress

MAXIMUM_STRING: Final = 4096
"""Characters of an endpoint string: as many as Linux takes for a path, which is
the longest of what can stand in one."""

MAXIMUM_LAYERS: Final = 16
"""Wrappers in one string: each costs every connection, and three are many."""

_TLS: Final = "tls"
_OF_THE_NETWORK: Final = frozenset({"tcp", "tcp6", "ssl"})

# Of an IPv6 address, what stands before a colon, and after it.
_GROUP: Final = re.compile(r"[0-9A-Fa-f]{0,4}")
_GROUPS: Final = re.compile(r"[0-9A-Fa-f:]*(?:/[0-9]*)?")
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9.-]*")

_SEPARATOR: Final = ","
"""Between the values of a key that takes several: C{from=10.0.0.0/8,127.0.0.1}."""


@frozen
class Layer:
    """
    A wrapper as a string asks for it.

    @ivar wrapper: The wrapper.
    @ivar options: An instance of its C{optionsType}.
    """

    wrapper: IEndpointWrapper = field(eq=False)
    options: Any

    def parameters(self) -> tuple[Parameter, ...]:
        """
        What it is in a string.
        """
        return (
            Parameter(self.wrapper.prefix),
            # Without a name it would be taken for what the layer wraps.
            *_parameters(self.wrapper.optionsType, self.options, named=True),
        )


@frozen
class Place:
    """
    A prefix of this package as a string asks for it.

    @ivar prefix: The prefix.
    @ivar options: An instance of its C{optionsType}.
    """

    prefix: Prefix
    options: Any

    @property
    def kind(self) -> Kind:
        """What comes through it."""
        kinds = self.prefix.kinds
        if len(kinds) == 1:
            return kinds[0]
        return Kind.DATAGRAM if self.options.type.value == "DGRAM" else Kind.STREAM

    def parameters(self) -> tuple[Parameter, ...]:
        """
        What it is in a string.
        """
        return (Parameter(self.prefix.name), *_parameters(self.prefix.optionsType, self.options))

    def open(self, reactor: Any) -> Any:
        """
        Make Twisted's endpoint, or ours for datagrams.
        """
        datagram = self.kind is Kind.DATAGRAM
        opener = self.prefix.openDatagram if datagram else self.prefix.openStream
        assert opener is not None
        return opener(reactor, self.options)


@frozen
class ForeignPlace:
    """
    A prefix of another package as a string asks for it.

    @ivar parser: The package's parser.
    @ivar name: Its prefix.
    """

    parser: Any = field(eq=False)
    name: str
    kind: Kind
    positionals: tuple[str, ...]
    keys: tuple[tuple[str, str], ...]

    def parameters(self) -> tuple[Parameter, ...]:
        """
        What it is in a string.
        """
        return (
            Parameter(self.name),
            *map(Parameter, self.positionals),
            *(Parameter(value, key) for key, value in self.keys),
        )

    def open(self, reactor: Any) -> Any:
        """
        Let the other package make its endpoint.
        """
        method = _parserMethod(self.parser, self.kind)
        return callParser(method, self.name, reactor, self.positionals, dict(self.keys))


@frozen
class Endpoint:
    """
    A place to listen and the layers over it, checked but not open.

    @ivar layers: The wrappers, nearest the protocol first.
    @ivar place: What is listened on.
    """

    layers: tuple[Layer, ...]
    place: Place | ForeignPlace

    @property
    def kind(self) -> Kind:
        """What comes through it."""
        return self.place.kind

    def __str__(self) -> str:
        """
        The string in its canonical form, which parses to an equal endpoint.
        """
        parts = (*self.layers, self.place)
        return join(tuple(each for part in parts for each in part.parameters()))

    def openStream(self, reactor: Any) -> StreamEndpoint:
        """
        Make a stream endpoint to listen with.

        Raises:
            EndpointError: A file that it names is missing or wrong.
        """
        assert self.kind is Kind.STREAM
        return StreamEndpoint(reactor, self, self.place.open(reactor))

    def openDatagram(self, reactor: Any) -> DatagramEndpoint:
        """
        Make a datagram endpoint to listen with.

        Raises:
            EndpointError: What it names is missing or wrong.
        """
        assert self.kind is Kind.DATAGRAM
        return DatagramEndpoint(reactor, self, self.place.open(reactor))

    def wrapFactory(
        self,
        context: IListenerContext,
        factory: IProtocolFactory,
        gate: Callable[[IProtocolFactory], IProtocolFactory] = lambda factory: factory,
    ) -> IProtocolFactory:
        """
        Put the layers in front of a factory.

        Args:
            context: The listener.
            factory: The factory nearest the protocol.
            gate: Asks for admission.  It is put in front of all layers but those
                that learn who the peer truly is.

        Raises:
            ConfigurationError: A layer cannot be had.
        """
        isGated = False
        for layer in self.layers:
            wrapper = IStreamWrapper(layer.wrapper)
            if not isGated and getattr(wrapper, "namesPeer", False):
                factory = gate(factory)
                isGated = True
            with blamingPlugin(wrapper.prefix):
                factory = wrapper.wrapFactory(context, layer.options, factory)
        return factory if isGated else gate(factory)

    def wrapProtocol(
        self, context: IListenerContext, protocol: DatagramProtocol
    ) -> DatagramProtocol:
        """
        Put the layers in front of a datagram protocol.

        Raises:
            ConfigurationError: A layer cannot be had.
        """
        for layer in self.layers:
            wrapper = IDatagramWrapper(layer.wrapper)
            with blamingPlugin(wrapper.prefix):
                protocol = wrapper.wrapProtocol(context, layer.options, protocol)
        return protocol

    @property
    def provesAddress(self) -> bool:
        """A datagram that comes through the layers is from where it says."""
        return any(IDatagramWrapper(each.wrapper).provesAddress for each in self.layers)


@implementer(IStreamServerEndpoint)
class StreamEndpoint:
    """
    Listens at a place through layers, outside of a server.

    A server puts its own listener between the two; this is for programs that
    want an endpoint and nothing else.

    @ivar place: The place, without the layers.
    """

    def __init__(self, reactor: Any, endpoint: Endpoint, place: IStreamServerEndpoint) -> None:
        self._context = BareContext(reactor, str(endpoint))
        self._endpoint = endpoint
        self.place = place

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        Accept connections and hand them through the layers.
        """
        wrapping = execute(self._endpoint.wrapFactory, self._context, protocolFactory)
        return wrapping.addCallback(self.place.listen)


@implementer(IDatagramServerEndpoint)
class DatagramEndpoint:
    """
    The same for datagrams.

    @ivar place: The place, without the layers.
    """

    def __init__(self, reactor: Any, endpoint: Endpoint, place: IDatagramServerEndpoint) -> None:
        self._context = BareContext(reactor, str(endpoint))
        self._endpoint = endpoint
        self.place = place

    def listen(self, protocol: DatagramProtocol) -> Deferred[IListeningPort]:
        """
        Receive datagrams and hand them through the layers.
        """
        wrapping = execute(self._endpoint.wrapProtocol, self._context, protocol)
        return wrapping.addCallback(self.place.listen)


def parseEndpoint(text: str) -> Endpoint:
    """
    Read an endpoint string.

    Args:
        text: Such as C{"tls:certs=/etc/certs:tcp:443"}.

    Raises:
        EndpointError: With a problem for each thing that is wrong with it.
    """
    try:
        if len(text) > MAXIMUM_STRING:
            raise EndpointError(f"an endpoint string may have {MAXIMUM_STRING} characters at most")
        segments = _assignKeys(_segments(split(text)))
        *outer, last = segments
        endpoint = Endpoint(tuple(map(_layer, outer)), _place(last))
        _checkKinds(endpoint, last.prefix)
        _checkSources(endpoint, last.prefix)
        return endpoint
    except ConfigurationError as error:
        raise EndpointError(
            [evolve(each, message=f'in "{text}": {each.message}') for each in error.problems]
        ) from None


def _checkKinds(endpoint: Endpoint, place: str) -> None:
    for layer in endpoint.layers:
        prefix = layer.wrapper.prefix
        if endpoint.kind is Kind.DATAGRAM and not IDatagramWrapper.providedBy(layer.wrapper):
            raise EndpointError(f"{prefix} goes over streams, and {place} receives datagrams")
        if endpoint.kind is Kind.STREAM and not IStreamWrapper.providedBy(layer.wrapper):
            raise EndpointError(f"{prefix} goes over datagrams, and {place} receives streams")


def _checkSources(endpoint: Endpoint, place: str) -> None:
    # The one nearest the wire: what others hear of may have any address.
    proxies = [each for each in endpoint.layers if isinstance(each.options, ProxyOptions)]
    if not proxies:
        return
    isUnix = [each == UNIX for each in proxies[-1].options.sources]
    if place in _OF_THE_NETWORK and all(isUnix):
        raise EndpointError(
            f"proxy: nobody comes to {place} through a UNIX socket: name the balancers' networks "
            "in from="
        )
    if place == "unix" and not any(isUnix):
        raise EndpointError(
            "proxy: who comes through a UNIX socket has no address: write from=unix"
        )


@define
class _Segment:
    """
    One prefix of a chain with what was written after it.

    @ivar claims: The keys it declares; C{None} when it takes any.
    """

    prefix: str
    claims: frozenset[str] | None
    isWrapper: bool
    positionals: list[str] = Factory(list)
    keys: list[tuple[str, str]] = Factory(list)


def _segments(parameters: tuple[Parameter, ...]) -> list[_Segment]:
    segments: list[_Segment] = []
    isTwistedTLS = False
    for index, parameter in enumerate(parameters):
        if parameter.key is not None and segments:
            segments[-1].keys.append((parameter.key, parameter.value))
        elif segments and not segments[-1].isWrapper:
            segments[-1].positionals.append(parameter.value)
        elif segments and _isDirectory(segments[-1], parameters[index:]):
            segments.append(_twistedTLS(segments[-1], parameter.value))
            isTwistedTLS = True
        elif len(segments) > MAXIMUM_LAYERS:
            raise EndpointError(f"there may be {MAXIMUM_LAYERS} layers at most")
        else:
            if index and not isPrefix(parameter.value.lower()):
                _checkNotCut(parameters[index - 1], parameter.value)
            segments.append(_segment(str(parameter)))
    last = segments[-1]
    path = dict(last.keys).get("path")
    if last.prefix == _TLS and path is not None:
        last.keys = [each for each in last.keys if each[0] != "path"]
        segments.append(_twistedTLS(last, path))
        isTwistedTLS = True
        last = segments[-1]
    if last.isWrapper:
        raise EndpointError(f"{last.prefix} has to wrap a place to listen: end it in :tcp:PORT")
    if isTwistedTLS and not last.positionals:
        _addDefaultPort(segments)
    return segments


def _checkNotCut(before: Parameter, rest: str) -> None:
    # Whoever writes a colon without a backslash has the value cut off there.
    start = before.value.rpartition(_SEPARATOR)[2]
    isAddress = _GROUP.fullmatch(start) and _GROUPS.fullmatch(rest) and not rest.isdigit()
    isURL = rest.startswith("//") or ("//" in start and rest.isdigit())
    if before.key is not None and (isAddress or isURL):
        brackets = "put an IPv6 address in brackets, or " if isAddress else ""
        raise EndpointError(
            f'the value of "{before.key}" ends at the colon after "{before.value}": {brackets}write '
            "a backslash before each colon that belongs to it"
        )


def _twistedTLS(written: _Segment, directory: str) -> _Segment:
    # Twisted's own form, tls:DIRECTORY:PORT:BACKLOG:INTERFACE, where the
    # directory may be written path=DIRECTORY too.
    written.keys.append(("certs", directory))
    return _segment("tcp6")


def _isDirectory(before: _Segment, parameters: tuple[Parameter, ...]) -> bool:
    # With its certificates named, tls: is followed by nothing but a prefix.  An
    # unknown word before another prefix is a prefix misspelled.
    if before.prefix != _TLS or any(key in {"certs", "cert"} for key, _ in before.keys):
        return False
    words = [each.value.lower() for each in parameters if each.key is None]
    return not any(map(isPrefix, words[:2]))


def _addDefaultPort(segments: list[_Segment]) -> None:
    # Only Twisted's form of tls: has a default port, that of HTTPS.
    written = {key for segment in segments for key, _ in segment.keys}
    if "port" not in written:
        segments[-1].positionals.append("443")


def _segment(word: str) -> _Segment:
    prefix = word.lower()
    if prefix in BUILT_IN:
        declared = {spec.name for spec in describe(BUILT_IN[prefix].optionsType)}
        return _Segment(prefix, frozenset(declared), isWrapper=False)
    wrapper = findWrapper(prefix)
    with blamingPlugin(prefix):
        if wrapper is not None:
            declared = {spec.name for spec in describe(wrapper.optionsType)}
            return _Segment(prefix, frozenset(declared), isWrapper=True)
        for kind, parser in _foreignParsers(prefix):
            claims = declaredKeys(_parserMethod(parser, kind))
            return _Segment(prefix, claims, isWrapper=False)
    if word.isdigit():
        raise EndpointError(f'there is no prefix; did you mean "tcp:{word}" or "udp:{word}"?')
    if _isAddress(word):
        raise EndpointError(
            f'there is no prefix "{word}"; an address goes after one, such as "tcp:{word}:80"'
        )
    broken = "".join(f"; {each}" for each in brokenPlugins())
    raise EndpointError(f'there is no prefix "{word}"{didYouMean(prefix, knownPrefixes())}{broken}')


def _foreignParsers(prefix: str) -> list[tuple[Kind, Any]]:
    found = ((Kind.STREAM, findStreamParser(prefix)), (Kind.DATAGRAM, findDatagramParser(prefix)))
    return [(kind, parser) for kind, parser in found if parser is not None]


def _parserMethod(parser: Any, kind: Kind) -> Any:
    return parser.parseStreamServer if kind is Kind.STREAM else parser.parseDatagramServer


def _assignKeys(segments: list[_Segment]) -> list[_Segment]:
    assigned: list[dict[str, str]] = [{} for _ in segments]
    for index, segment in enumerate(segments):
        for key, value in segment.keys:
            owner = _ownerOf(key, index, segments)
            if key in assigned[owner]:
                raise EndpointError(f'{segments[owner].prefix} is given "{key}" twice')
            assigned[owner][key] = value
    return [
        evolve(segment, keys=list(keys.items()))
        for segment, keys in zip(segments, assigned, strict=True)
    ]


def _ownerOf(key: str, index: int, segments: list[_Segment]) -> int:
    here = segments[index]
    if here.claims is None or key in here.claims:
        return index
    owners = [
        i for i, each in enumerate(segments) if each.claims is not None and key in each.claims
    ]
    if not owners:
        owners = [i for i, each in enumerate(segments) if each.claims is None]
    if not owners:
        known = {name for each in segments for name in each.claims or ()}
        chain = " or ".join(dict.fromkeys(each.prefix for each in segments))
        raise EndpointError(
            f'{chain} has no key "{key}"{didYouMean(key, known) or "; it takes none"}'
        )
    if len(owners) > 1:
        claimants = " and ".join(segments[i].prefix for i in owners)
        raise EndpointError(
            f'{claimants} both claim the key "{key}": write it right after the one that it is for'
        )
    return owners[0]


def _layer(segment: _Segment) -> Layer:
    wrapper = findWrapper(segment.prefix)
    assert wrapper is not None
    return Layer(wrapper, _structure(segment, wrapper.optionsType))


def _place(segment: _Segment) -> Place | ForeignPlace:
    prefix = BUILT_IN.get(segment.prefix)
    if prefix is not None:
        return Place(prefix, _structure(segment, prefix.optionsType))
    kind, parser = _foreignParsers(segment.prefix)[0]
    positionals, keys = tuple(segment.positionals), tuple(segment.keys)
    return ForeignPlace(parser, segment.prefix, kind, positionals, keys)


def _structure(segment: _Segment, optionsType: type) -> Any:
    names = [spec.name for spec in describe(optionsType) if spec.positional]
    _checkOnePlace(segment, optionsType)
    positionals = segment.positionals
    values = dict(segment.keys)
    if "interface" in names and positionals and _isHost(*positionals[:2]):
        # An address where the port is asked for: [::1]:80.
        if "interface" in values:
            raise EndpointError(f'{segment.prefix} is given "interface" twice')
        values["interface"], *positionals = positionals
        names.remove("interface")
    required = {spec.name for spec in describe(optionsType) if spec.required}
    if positionals == [""] and not required:
        # The colon of C{stdio:} says nothing.
        positionals = []
    if len(positionals) > len(names):
        extra = positionals[len(names)]
        takes = ", ".join(names) or "nothing"
        raise EndpointError(
            f'{segment.prefix} does not know what to do with "{extra}": '
            f"without a name it takes {takes}"
        )
    for name, value in zip(names, positionals, strict=False):
        if name in values:
            hint = '; an IPv6 address goes in brackets: "[::1]"' if name == "interface" else ""
            raise EndpointError(f'{segment.prefix} is given "{name}" twice{hint}')
        values[name] = value
    if _isAddress(values.get("interface", "")):
        values["interface"] = values["interface"].removeprefix("[").removesuffix("]")
    with blamingPlugin(segment.prefix):
        try:
            return structure(optionsType, _separated(optionsType, values))
        except ConfigurationError as error:
            raise EndpointError(
                evolve(each, key=(), message=_underPrefix(segment.prefix, each.key, each.message))
                for each in error.problems
            ) from None


def _checkOnePlace(segment: _Segment, optionsType: type) -> None:
    specs = [spec for spec in describe(optionsType) if spec.positional]
    for spec, value in zip(specs, segment.positionals, strict=False):
        # A file may be called tcp; no interface is, nor a number.
        takesAny = spec.type.element is str and spec.name != "interface"
        if not takesAny and (value in BUILT_IN or value in WRAPPERS):
            raise EndpointError(
                f'the prefix "{value}" stands where {segment.prefix} takes "{spec.name}": a string '
                "names one place to listen, so write another string for another place"
            )


def _separated(optionsType: type, values: dict[str, str]) -> dict[str, str | list[str]]:
    several = {spec.name for spec in describe(optionsType) if spec.type.many}
    return {
        name: value.split(_SEPARATOR) if name in several else value
        for name, value in values.items()
    }


def _underPrefix(prefix: str, key: tuple[str | int, ...], message: str) -> str:
    return f"{prefix}: {formatKeyPath(key)}: {message}" if key else f"{prefix}: {message}"


def _isHost(text: str, after: str = "") -> bool:
    # A name only where a port follows: C{tcp:eighty} is a mistaken port.
    return _isAddress(text) or (_NAME.fullmatch(text) is not None and after.isdigit())


def _isAddress(text: str) -> bool:
    try:
        parseIPAddress(text)
    except ValueError:
        return False
    return True


def _parameters(optionsType: type, options: Any, *, named: bool = False) -> tuple[Parameter, ...]:
    parameters = []
    for spec in describe(optionsType):
        value = getattr(options, spec.attribute)
        if value == spec.default:
            continue
        key = None if spec.required and spec.positional and not named else spec.name
        values = value if spec.type.many else (value,)
        if spec.name == "interface" and ":" in value:
            # Brackets are easier to read than backslashes.
            values = (f"[{value}]",)
        parameters.append(Parameter(_SEPARATOR.join(map(formatValue, values)), key))
    return tuple(parameters)
