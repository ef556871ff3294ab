"""From an endpoint string to a place to listen."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import twisted.plugins
from attrs import frozen
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpointStringParser
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory
from zope.interface import alsoProvides

from myserv.endpoints import prefixes
from myserv.endpoints.grammar import Parameter, join
from myserv.endpoints.kind import Kind
from myserv.endpoints.parse import (
    MAXIMUM_LAYERS,
    MAXIMUM_STRING,
    Endpoint,
    ForeignPlace,
    Layer,
    Place,
    parseEndpoint,
)
from myserv.endpoints.prefixes import BUILT_IN, WRAPPERS, brokenPlugins, knownPrefixes
from myserv.endpoints.tls.stream import TLSFactory
from myserv.errors import EndpointError, Problem
from myserv.interfaces import (
    IDatagramServerEndpointStringParser,
    IDatagramWrapper,
    IEndpointWrapper,
    IStreamWrapper,
)
from myserv.plugin import option
from tests.endpoints.certificates import issue
from tests.endpoints.layers import (
    CHAT,
    PLAIN,
    ZIP,
    AnyStreamParser,
    ChatOptions,
    DatagramParser,
    Made,
    StrictStreamParser,
    Wrapped,
    ZipOptions,
)

HELLO = Factory.forProtocol(Protocol)

twistedReadsCertificates = pytest.mark.filterwarnings(
    # Twisted reads certificates with what pyOpenSSL has deprecated.
    "ignore:.*(cryptography|pyOpenSSL).*:DeprecationWarning"
)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrappers and parsers of other packages are installed, beside the real ones."""
    _install(monkeypatch)


@pytest.fixture(scope="module")
def installedForAll() -> Iterator[None]:
    """The same, once for all examples of a property."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        _install(monkeypatch)
        yield


def _install(monkeypatch: pytest.MonkeyPatch) -> None:
    extra: dict[Any, list[Any]] = {
        IEndpointWrapper: [ZIP, PLAIN],
        IStreamServerEndpointStringParser: [AnyStreamParser(), StrictStreamParser()],
        IDatagramServerEndpointStringParser: [DatagramParser()],
    }
    found: Callable[[Any], Any] = vars(prefixes)["getPlugins"]
    known: dict[Any, list[Any]] = {
        interface: [*found(interface), *plugins] for interface, plugins in extra.items()
    }
    monkeypatch.setattr(prefixes, "getPlugins", known.__getitem__)
    monkeypatch.setattr(prefixes, "WRAPPERS", {**WRAPPERS, "chat": CHAT})


def refused(text: str) -> str:
    """Parse what cannot be parsed; what an operator is told, without the string itself."""
    with pytest.raises(EndpointError) as caught:
        parseEndpoint(text)
    told = [each.message for each in caught.value.problems]
    assert all(each.startswith(f'in "{text}": ') for each in told)
    assert all(each.key == () for each in caught.value.problems)
    return "\n".join(each.removeprefix(f'in "{text}": ') for each in told)


def options(text: str) -> Any:
    """The options of a string that is one of our places."""
    place = parseEndpoint(text).place
    assert isinstance(place, Place)
    return place.options


# --- what there is ------------------------------------------------------------


@pytest.mark.parametrize("prefix", BUILT_IN.values(), ids=list(BUILT_IN))
def test_theExampleOfEachPrefixIsCanonical(prefix: prefixes.Prefix) -> None:
    """What the reference shows works as it stands."""
    endpoint = parseEndpoint(prefix.example)
    assert str(endpoint) == prefix.example.removesuffix(":")
    assert endpoint.place == Place(prefix, options(prefix.example))
    assert endpoint.kind in prefix.kinds


@pytest.mark.parametrize("wrapper", WRAPPERS.values(), ids=list(WRAPPERS))
def test_theExampleOfEachWrapperIsCanonical(wrapper: IEndpointWrapper) -> None:
    """What the reference shows works as it stands."""
    endpoint = parseEndpoint(wrapper.example)  # type: ignore[attr-defined]
    assert str(endpoint) == wrapper.example  # type: ignore[attr-defined]
    assert endpoint.layers[0].wrapper is wrapper


def test_eachPrefixIsUnderItsName() -> None:
    """Names are words in lower case, and none stands for a wrapper and a place."""
    assert all(name == prefix.name == name.lower() for name, prefix in BUILT_IN.items())
    assert all(name == wrapper.prefix for name, wrapper in WRAPPERS.items())
    assert not set(BUILT_IN) & set(WRAPPERS)
    assert {*BUILT_IN, *WRAPPERS, "haproxy"} <= knownPrefixes()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("tcp:80", Kind.STREAM),
        ("udp:80", Kind.DATAGRAM),
        ("unixgram:/x", Kind.DATAGRAM),
        ("fd:3", Kind.STREAM),
        ("fd:3:type=STREAM", Kind.STREAM),
        ("fd:3:type=DGRAM", Kind.DATAGRAM),
        ("systemd:name=x:type=DGRAM", Kind.DATAGRAM),
        ("haproxy:tcp:80", Kind.STREAM),
        ("tls:/certs:80", Kind.STREAM),
    ],
)
def test_thePlaceSaysTheKind(text: str, kind: Kind) -> None:
    """Stream or datagram."""
    assert parseEndpoint(text).kind is kind


# --- Twisted's own strings ----------------------------------------------------


def opened(text: str, parse: Callable[[Any, str], Any]) -> MemoryReactorClock:
    """Listen on a string in memory."""
    reactor = MemoryReactorClock()
    endpoint = parse(reactor, text)
    assert endpoint.listen(HELLO).result is not None
    return reactor


def ours(reactor: Any, text: str) -> Any:
    """What a string means here."""
    return parseEndpoint(text).openStream(reactor)


def onlyListener(servers: list[Any], backlog: bool) -> Any:
    """Port, interface and perhaps backlog of the one listener there is."""
    [(port, *_, queue, interface)] = servers
    return (port, interface, queue if backlog else None)


@pytest.mark.parametrize(
    "text",
    [
        "tcp:80",
        "tcp:0",
        "tcp:port=80",
        "tcp:80:interface=127.0.0.1",
        "tcp:port=80:interface=127.0.0.1",
        "tcp:80:127.0.0.1",
        "tcp:80:localhost",
        "tcp:80:interface=localhost",
        "tcp:80:backlog=6",
        "tcp:80:127.0.0.1:7",
        "tcp:interface=10.0.0.1:1234:backlog=12",
        "tcp:1234:backlog=12:interface=10.0.0.1",
        r"tcp:80:interface=\:\:1",
        r"tcp:80:\:\:",
        "tcp6:80",
        "tcp6:8080:12",
        "tcp6:port=80",
        r"tcp6:8080:backlog=12:interface=\:\:1",
        r"tcp6:port=80:interface=2001\:0DB8\:f00e\:eb00\:\:1",
        r"tcp6:80:5:\:\:1",
        "tcp6:80:interface=10.0.0.1",
        "haproxy:tcp:8080",
        "haproxy:tcp:port=80",
        "haproxy:tcp6:8080",
        "haproxy:tcp:8080:interface=10.0.0.1:backlog=3",
        r"haproxy:tcp6:8080:interface=\:\:1",
    ],
)
def test_twistedsTCPStrings(text: str) -> None:
    """Port, interface and backlog are those that Twisted reads, but for the default backlog."""
    mine, theirs = opened(text, ours), opened(text, serverFromString)
    stated = "backlog" in text or text.startswith("haproxy") or theirs.tcpServers[0][2] != 50
    assert onlyListener(mine.tcpServers, stated) == onlyListener(theirs.tcpServers, stated)
    if not stated:
        assert mine.tcpServers[0][2] == 4096
    if text.startswith("haproxy"):
        assert isinstance(mine.tcpServers[0][1], HAProxyWrappingFactory)
    else:
        assert mine.tcpServers[0][1] is HELLO


@pytest.mark.parametrize(
    "parameters",
    [
        "{}",
        "{}:1234",
        "{}:1234:12",
        r"{}:1234:12:\:\:1",
        "{}:1234:backlog=12:interface=10.0.0.1",
        "{}:port=1234",
        "port=1234:{}",
        "{}:backlog=12",
        "path={}",
        "path={}:port=1234",
        "path={}:backlog=12:port=1234",
    ],
)
@twistedReadsCertificates
def test_twistedsTLSStrings(parameters: str, tmp_path: Path) -> None:
    """Its tls: is our wrapper over tcp6, on 443 unless a port is said."""
    issue("localhost", "localhost").write(tmp_path)
    text = "tls:" + parameters.format(tmp_path)
    stated = "12" in parameters.replace("1234", "")
    mine, theirs = opened(text, ours), opened(text, serverFromString)
    assert onlyListener(mine.tcpServers, stated) == onlyListener(theirs.tcpServers, stated)
    assert isinstance(mine.tcpServers[0][1], TLSFactory)
    assert mine.tcpServers[0][1].wrappedFactory is HELLO
    assert str(parseEndpoint(text)).startswith(f"tls:certs={tmp_path}:tcp6:")


@pytest.mark.parametrize(
    "text",
    [
        "unix:/var/run/finger",
        "unix:/var/run/finger:mode=660",
        "unix:/var/run/finger:mode=0660",
        "unix:/var/run/finger:600",
        "unix:/var/run/finger:600:7",
        "unix:/var/run/finger:600:7:0",
        "unix:/var/run/finger:lockfile=0",
        "unix:address=/var/run/web.sock:lockfile=1",
        "unix:/var/foo/bar:backlog=7:mode=0123:lockfile=1",
        r"unix:foo\:bar\=baz\:qux\\",
        "unix:address=foo=bar",
        "unix:a socket",
        "unix:[a:600",
    ],
)
def test_twistedsUNIXStrings(text: str) -> None:
    """Path, mode, backlog and the care for a stale file are those that Twisted reads."""
    theirs = serverFromString(MemoryReactorClock(), text)
    mine = options(text)
    backlog = 4096 if theirs._backlog == 50 else theirs._backlog
    assert (mine.address, int(mine.mode, 8), mine.backlog, mine.lockfile) == (
        theirs._address,
        theirs._mode,
        backlog,
        theirs._wantPID,
    )


def test_twistedsStdioString() -> None:
    """Its endpoint is Twisted's."""
    theirs = serverFromString(MemoryReactorClock(), "stdio:")
    for text in ("stdio:", "stdio"):
        mine = parseEndpoint(text).openStream(MemoryReactorClock())
        assert type(mine.place) is type(theirs)


# --- more than Twisted's ------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("tcp:[::1]:80", r"tcp:80:interface=[::1]"),
        ("tcp:[::1]:port=80", r"tcp:80:interface=[::1]"),
        ("tcp:port=80:[::1]", r"tcp:80:interface=[::1]"),
        ("tcp:80:[::1]", r"tcp:80:interface=[::1]"),
        ("tcp:80:interface=[::1]", r"tcp:80:interface=[::1]"),
        ("tcp:[fe80::1%eth0]:80", r"tcp:80:interface=[fe80::1%eth0]"),
        ("tcp:127.0.0.1:80", "tcp:80:interface=127.0.0.1"),
        ("tcp:127.0.0.1:80:5", "tcp:80:interface=127.0.0.1:backlog=5"),
        ("tcp:80:interface=", "tcp:80"),
        ("tcp:localhost:80", "tcp:80:interface=localhost"),
        ("tcp:80:backlog=4096:reusePort=no", "tcp:80"),
        ("tcp:80:reusePort=true", "tcp:80:reusePort=true"),
        ("tcp:080:reusePort=1", "tcp:80:reusePort=true"),
        ("TCP:80", "tcp:80"),
        ("tcp6:80:interface=[::]", "tcp6:80"),
        ("tcp6:[::1]:80:9", r"tcp6:80:backlog=9:interface=[::1]"),
        ("udp:5683", "udp:5683"),
        ("udp:5683:127.0.0.1", "udp:5683:interface=127.0.0.1"),
        ("udp:[::1]:5683:reusePort=on", r"udp:5683:interface=[::1]:reusePort=true"),
        ("udp6:5683", "udp6:5683"),
        ("udp6:5683:[::1]", r"udp6:5683:interface=[::1]"),
        ("ssl:[::1]:443", r"ssl:443:interface=[::1]"),
        ("ssl:443:a.pem:b.pem", "ssl:443:privateKey=a.pem:certKey=b.pem"),
        ("ssl:443::", "ssl:443:privateKey=:certKey="),
        ("unixgram:/x:600", "unixgram:/x:mode=600"),
        ("unixgram:/x:lockfile=false", "unixgram:/x:lockfile=false"),
        ("unix:[::1]", r"unix:[::1]"),
        ("unix:tcp", "unix:tcp"),
        ("tcp:80:interface=tcp", "tcp:80:interface=tcp"),
        ("unix:mode=600:/x", "unix:/x:mode=600"),
        ("unix:a=b", None),
        (r"unix:a\=b", r"unix:a\=b"),
        ("fd:3", "fd:3"),
        ("fd:fd=3:type=DGRAM", "fd:3:type=DGRAM"),
        ("systemd:INET:0", "systemd:domain=INET:index=0"),
        ("systemd:domain=INET6:index=3", "systemd:domain=INET6:index=3"),
        ("systemd:name=web:domain=UNIX", "systemd:domain=UNIX:name=web"),
        ("systemd:name=web:type=DGRAM", "systemd:name=web:type=DGRAM"),
        ("tls:cert=a.pem:key=b.pem:tcp:443", "tls:cert=a.pem:key=b.pem:tcp:443"),
        ("tls:certs=a//b/:tcp:443", "tls:certs=a/b:tcp:443"),
        ("tls:/certs:[::1]:443", r"tls:certs=/certs:tcp6:443:interface=[::1]"),
        ("tls:certs=/certs:fd:3", "tls:certs=/certs:fd:3"),
        ("tls:certs=/certs:haproxy:tcp:80", "tls:certs=/certs:haproxy:tcp:80"),
        ("haproxy:a:b=c:d:e=", "haproxy:a:d:b=c:e="),
        ("haproxy", "haproxy"),
        ("haproxy:", "haproxy:"),
    ],
)
def test_canonicalStrings(text: str, canonical: str | None) -> None:
    """A string is written with what was asked for and no more, and means the same."""
    if canonical is None:
        refused(text)
        return
    assert str(parseEndpoint(text)) == canonical
    assert parseEndpoint(canonical) == parseEndpoint(text)


def test_optionsHaveTheirDefaults() -> None:
    """As a whole, so that a new option is seen here."""
    assert str(options("tcp:80")) == (
        "TCPOptions(port=80, interface='', backlog=4096, reusePort=False)"
    )
    assert str(options("udp6:80")) == (
        "UDP6Options(port=80, interface='::', reusePort=False, amplification=3.0)"
    )
    assert str(options("unix:/x")) == (
        "UNIXOptions(address='/x', mode='666', backlog=4096, lockfile=True)"
    )


def test_endpointsAreValues() -> None:
    """Two are equal when their strings mean the same."""
    assert parseEndpoint("tcp:80") == parseEndpoint("tcp:80:backlog=4096")
    assert parseEndpoint("tcp:80") != parseEndpoint("tcp:81")
    assert parseEndpoint("tcp:80") != parseEndpoint("udp:80")
    assert parseEndpoint("haproxy:tcp:80") == parseEndpoint("haproxy:tcp:80")
    assert parseEndpoint("tls:cert=a:tcp:80") != parseEndpoint("tls:cert=b:tcp:80")
    assert len({parseEndpoint("tcp:80"), parseEndpoint("tcp:port=80")}) == 1


# --- layers -------------------------------------------------------------------


def layersOf(endpoint: Endpoint) -> list[tuple[str, Any]]:
    """Prefix and options of each layer."""
    return [(each.wrapper.prefix, each.options) for each in endpoint.layers]


CHAINS = [
    ("chat:path=/a:tcp:80", [("chat", ChatOptions("/a"))], "tcp:80"),
    # A key right after the prefix that declares it.
    (
        "chat:path=/a:level=2:zip:level=3:tcp:80",
        [("chat", ChatOptions("/a", (), 2)), ("zip", ZipOptions(3))],
        "tcp:80",
    ),
    ("zip:level=3:chat:path=/a:tcp:80", [("zip", ZipOptions(3)), ("chat", ChatOptions("/a"))], "tcp:80"),
    # Inward and outward, past a layer that knows nothing of it.
    ("zip:backlog=5:tcp:80", [("zip", ZipOptions())], "tcp:80:backlog=5"),
    ("zip:port=80:plain:backlog=5:tcp", [("zip", ZipOptions()), ("plain", None)], "tcp:80:backlog=5"),
    ("zip:plain:tcp:80:fast=yes", [("zip", ZipOptions(6, True)), ("plain", None)], "tcp:80"),
    ("zip:chat:path=/a:fast=yes:tcp:80", [("zip", ZipOptions(6, True)), ("chat", ChatOptions("/a"))], "tcp:80"),
    # Its own first, though the place has one of that name too.
    ("chat:path=/a:origin=x:tcp:80", [("chat", ChatOptions("/a", ("x",)))], "tcp:80"),
    ("zip:tcp:80:level=1", [("zip", ZipOptions(1))], "tcp:80"),
    # Beside one that takes any key, a key goes to whoever says that it is his.
    ("zip:level=1:backlog=2:anystream:80", [("zip", ZipOptions(1))], "anystream:80:backlog=2"),
    ("zip:anystream:80:level=1", [("zip", ZipOptions())], "anystream:80:level=1"),
    ("zip:fast=1:strict:red:seats=9", [("zip", ZipOptions(6, True))], "strict:red:seats=9"),
    ("zip:seats=9:strict:red", [("zip", ZipOptions())], "strict:red:seats=9"),
    # The same layer twice.
    ("zip:level=1:zip:level=2:tcp:80", [("zip", ZipOptions(1)), ("zip", ZipOptions(2))], "tcp:80"),
    ("ZIP:level=1:Tcp:80", [("zip", ZipOptions(1))], "tcp:80"),
    ("zip:fd:3", [("zip", ZipOptions())], "fd:3"),
]  # fmt: skip


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(("text", "layers", "place"), CHAINS, ids=[each[0] for each in CHAINS])
def test_keysFindTheirOwners(text: str, layers: list[tuple[str, Any]], place: str) -> None:
    """A key belongs to the prefix it follows, or to the only other part that declares it."""
    endpoint = parseEndpoint(text)
    found = [(prefix, None if prefix == "plain" else held) for prefix, held in layersOf(endpoint)]
    assert found == layers
    assert endpoint.place == parseEndpoint(place).place
    assert parseEndpoint(str(endpoint)) == endpoint


@pytest.mark.usefixtures("installed")
def test_twistedsTLSFormInsideALayer(tmp_path: Path) -> None:
    """The directory may stand behind tls: wherever that is."""
    endpoint = parseEndpoint(f"chat:path=/a:tls:{tmp_path}:443:backlog=5")
    assert [prefix for prefix, _ in layersOf(endpoint)] == ["chat", "tls"]
    assert endpoint.layers[1].options.certs == tmp_path
    assert endpoint.place == parseEndpoint("tcp6:443:backlog=5").place


@pytest.mark.usefixtures("installed")
def test_aDefaultPortIsTwistedsFormOnly() -> None:
    """The port of HTTPS is nobody's wish who wrote tcp6 himself."""
    assert refused("zip:tcp6") == "tcp6: port: is required: the port; 0 lets the system choose"
    assert refused("tls:certs=/x:tcp6") == (
        "tcp6: port: is required: the port; 0 lets the system choose"
    )


@pytest.mark.usefixtures("installed")
def test_factoriesAreWrappedNearestTheProtocolFirst() -> None:
    """What stands first in the string is next to the protocol, and all get the reactor."""
    reactor = MemoryReactorClock()
    endpoint = parseEndpoint("chat:path=/a:zip:level=2:tcp:80").openStream(reactor)
    assert endpoint.listen(HELLO).result is not None
    chat = Wrapped("chat", reactor, ChatOptions("/a"), HELLO)
    expected: Any = (80, Wrapped("zip", reactor, ZipOptions(2), chat), 4096, "")
    assert reactor.tcpServers == [expected]


def test_aLayerThatRefusesFailsTheDeferred(tmp_path: Path) -> None:
    """As every failure to listen does."""
    endpoint = parseEndpoint(f"tls:certs={tmp_path}/none:tcp:80").openStream(MemoryReactorClock())
    listening = endpoint.listen(HELLO)
    failures: list[Any] = []
    listening.addErrback(failures.append)
    assert [str(each.value) for each in failures] == [
        f"{tmp_path}/none: there is no such directory of certificates"
    ]


@pytest.mark.usefixtures("installed")
def test_aLayerIsWrittenWithTheNamesOfItsKeys() -> None:
    """Even of a key that it needs: without its name it would be the next prefix."""
    layer = Layer(CHAT, ChatOptions("/a:b", ("x", "y"), 1))
    assert join(layer.parameters()) == r"chat:path=/a\:b:origin=x,y"


@pytest.mark.usefixtures("installed")
def test_aKeyThatTakesSeveralValues() -> None:
    """They stand between commas, and the canonical form reads back as the same."""
    endpoint = parseEndpoint("chat:path=/a,b:origin=x,y\\:1,:tcp:80")
    assert endpoint.layers[0].options == ChatOptions("/a,b", ("x", "y:1", ""))
    assert str(endpoint) == "chat:path=/a,b:origin=x,y\\:1,:tcp:80"
    assert parseEndpoint(str(endpoint)) == endpoint


# --- other packages -----------------------------------------------------------

DROP_IN = """
from twisted.internet.interfaces import IStreamServerEndpointStringParser
from twisted.plugin import IPlugin
from zope.interface import implementer
from myserv.interfaces import IDatagramServerEndpointStringParser, IEndpointWrapper
from tests.endpoints import layers

@implementer(IPlugin)
class Stream(layers.StrictStreamParser):
    prefix = "dropIn"

@implementer(IPlugin)
class Datagram(layers.DatagramParser):
    prefix = "dropInCard"

@implementer(IPlugin)
class Wrapper(layers.RecordingWrapper):
    pass

stream = Stream()
datagram = Datagram()
wrapper = Wrapper("dropInZip", layers.ZipOptions)
"""


def test_dropInsAreFound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in a directory twisted/plugins adds prefixes of all three sorts."""
    plugins = tmp_path / "twisted" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "endpoints_drop_in.py").write_text(textwrap.dedent(DROP_IN))
    monkeypatch.setattr(twisted.plugins, "__path__", [*twisted.plugins.__path__, str(plugins)])
    reactor = MemoryReactorClock()
    stream = parseEndpoint("dropInZip:level=2:dropin:red:seats=3")
    assert stream.kind is Kind.STREAM
    assert str(stream) == "dropInZip:level=2:dropin:red:seats=3"
    assert parseEndpoint(str(stream)) == stream
    made: Any = stream.openStream(reactor).place
    assert made == Made(reactor, ("red",), {"seats": "3"})
    datagram = parseEndpoint("DropInCard:Bonn:stamp=1")
    assert datagram.kind is Kind.DATAGRAM
    made = datagram.openDatagram(reactor).place
    assert made == Made(reactor, ("Bonn",), {"stamp": "1"})
    assert {"dropin", "dropincard", "dropinzip"} <= knownPrefixes()


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("text", "positionals", "keys"),
    [
        ("anystream", (), {}),
        ("anystream:", ("",), {}),
        ("anyStream:a:b=c:d", ("a", "d"), {"b": "c"}),
        (r"anystream:a\:b:c\=d=e\:f=g", ("a:b",), {"c=d": "e:f=g"}),
        ("strict:red", ("red",), {"seats": "4"}),
        ("strict:red:a:b:seats=5", ("red", "a", "b"), {"seats": "5"}),
        ("strict:room=red", ("red",), {"seats": "4"}),
    ],
)
def test_parsersOfOthersGetWhatWasWritten(
    text: str, positionals: tuple[str, ...], keys: dict[str, str]
) -> None:
    """Unescaped, in order."""
    reactor = MemoryReactorClock()
    endpoint = parseEndpoint(text)
    assert isinstance(endpoint.place, ForeignPlace)
    made: Any = endpoint.openStream(reactor).place
    assert made == Made(reactor, positionals, keys)


# --- what an operator is told -------------------------------------------------

THERE_IS = (
    "there is anystream, chat, dtls, fd, haproxy, plain, postcard, proxy, ssl, stdio, strict, "
    "systemd, "
    "tcp, tcp6, tls, udp, udp6, unix, unixgram, websocket, zip"
)

ANOTHER_PLACE = (
    'the prefix "{}" stands where {} takes "{}": a string names one place to listen, '
    "so write another string for another place"
)
BRACKETS = "put an IPv6 address in brackets, or "
CUT = (
    'the value of "{}" ends at the colon after "{}": {}write a backslash before each colon '
    "that belongs to it"
)
ERRORS = {
    "": f'there is no prefix ""; {THERE_IS}',
    ":80": f'there is no prefix ""; {THERE_IS}',
    "127.0.0.1:80": (
        'there is no prefix "127.0.0.1"; an address goes after one, such as "tcp:127.0.0.1:80"'
    ),
    "80": 'there is no prefix; did you mean "tcp:80" or "udp:80"?',
    "8080:127.0.0.1": 'there is no prefix; did you mean "tcp:8080" or "udp:8080"?',
    "port=80": f'there is no prefix "port=80"; {THERE_IS}',
    "tpc:80": 'there is no prefix "tpc"; did you mean "tcp"?',
    "unxi:/x": 'there is no prefix "unxi"; did you mean "unix"?',
    "gopher:andromeda": f'there is no prefix "gopher"; {THERE_IS}',
    r"tcp\:80": 'there is no prefix "tcp\\:80"; did you mean "tcp"?',
    "tcp": "tcp: port: is required: the port; 0 lets the system choose",
    "tcp:": "tcp: port: '' is not a whole number",
    "tcp:http": "tcp: port: 'http' is not a whole number",
    "tcp:-1": "tcp: port: '-1' is too small: the least is 0",
    "tcp:65536": "tcp: port: '65536' is too large: the most is 65535",
    "tcp:80:backlgo=5": 'tcp has no key "backlgo"; did you mean "backlog"?',
    "tcp:80:reuse-port=1": 'tcp has no key "reuse-port"; did you mean "reusePort"?',
    "tcp:80:colour=5": 'tcp has no key "colour"; there is backlog, interface, port, reusePort',
    "tcp:80:backlog=-1": "tcp: backlog: '-1' is too small: the least is 0",
    "tcp:80:backlog=2147483648": (
        "tcp: backlog: '2147483648' is too large: the most is 2147483647"
    ),
    "tcp:80:reusePort=maybe": "tcp: reusePort: 'maybe' is not a boolean: write true or false",
    "tcp:x:backlog=y": (
        "tcp: port: 'x' is not a whole number\ntcp: backlog: 'y' is not a whole number"
    ),
    "tcp:80:127.0.0.256": (
        "tcp: the interface '127.0.0.256' is not an IP address: "
        'write one such as "127.0.0.1"'
    ),
    r"tcp:80:interface=\:\:g": (
        "tcp: the interface '::g' is not an IP address: write one such as \"127.0.0.1\""
    ),
    "tcp:80:interface=[[::1]]": (
        'tcp is given "interface" twice; an IPv6 address goes in brackets: "[::1]"'
    ),
    "tcp6:80:interface=localhost": (
        "tcp6: the interface 'localhost' is not an IP address: write one such as \"127.0.0.1\""
    ),
    "udp:80:localhost": (
        "udp: the interface 'localhost' is not an IP address: write one such as \"127.0.0.1\""
    ),
    "tcp:80:port=90": 'tcp is given "port" twice',
    "tcp:80:backlog=1:backlog=2": 'tcp is given "backlog" twice',
    "tcp:80:interface=::1": (
        'tcp is given "interface" twice; an IPv6 address goes in brackets: "[::1]"'
    ),
    "tcp:[::1]:80:interface=[::1]": 'tcp is given "interface" twice',
    "tcp:[::1]": "tcp: port: is required: the port; 0 lets the system choose",
    "tcp:80::5:extra:more": (
        'tcp does not know what to do with "extra": '
        "without a name it takes port, interface, backlog"
    ),
    "udp:80:backlog=5": (
        'udp has no key "backlog"; there is amplification, interface, port, reusePort'
    ),
    "unix": "unix: address: is required: the path of the socket file",
    "unix:": "unix: the path of the socket file is empty",
    "unix:/x:mode=rw": (
        "unix: the mode 'rw' is not octal permissions: write three digits, \"660\""
    ),
    "unix:/x:mode=1777": (
        "unix: the mode '1777' is not octal permissions: write three digits, \"660\""
    ),
    "unixgram:/x:mode=9": (
        "unixgram: the mode '9' is not octal permissions: write three digits, \"660\""
    ),
    "unixgram:": "unixgram: the path of the socket file is empty",
    "unix:/x:lockfile=maybe": "unix: lockfile: 'maybe' is not a boolean: write true or false",
    "fd:x": "fd: fd: 'x' is not a whole number",
    "fd:4294967296": "fd: fd: '4294967296' is too large: the most is 2147483647",
    "fd:3:type=dgram": "fd: type: 'dgram' is not a choice here; did you mean \"DGRAM\"?",
    "systemd:": 'systemd: give either "index" or "name"',
    "systemd:index=0:name=x": 'systemd: give either "index" or "name"',
    "systemd:domain=IPX:index=0": (
        "systemd: domain: 'IPX' is not a choice here; there is INET, INET6, UNIX"
    ),
    "systemd:index=-1": "systemd: index: '-1' is too small: the least is 0",
    "stdio:x": 'stdio does not know what to do with "x": without a name it takes nothing',
    "stdio:x=1": 'stdio has no key "x"; it takes none',
    "tls": "tls has to wrap a place to listen: end it in :tcp:PORT",
    "tls:certs=/x": "tls has to wrap a place to listen: end it in :tcp:PORT",
    "tls:certs=/x:zip": "zip has to wrap a place to listen: end it in :tcp:PORT",
    "tls:tcp:80": "tls: give either certs=DIRECTORY, cert=FILE or selfSigned=NAME",
    "tls:certs=/x:cert=/y:tcp:80": "tls: give either certs=DIRECTORY, cert=FILE or selfSigned=NAME",
    "tls:certs=/x:key=/y:tcp:80": "tls: key=FILE and ocsp=FILE go with cert=FILE",
    "tls:certs=:tcp:80": "tls: certs: '' is not a path",
    "tls:/x:443:certs=/y": 'tls is given "certs" twice',
    "tls:certs=/x:tpc:80": 'there is no prefix "tpc"; did you mean "tcp"?',
    "tls:cert=/x:tpc:80": 'there is no prefix "tpc"; did you mean "tcp"?',
    "tls:zipp:tcp:80": 'there is no prefix "zipp"; did you mean "zip"?',
    "tls:/x:https": "tcp6: port: 'https' is not a whole number",
    "tls:certs=/x:udp:80": "tls goes over streams, and udp receives datagrams",
    "dtls:certs=/x:tcp:80": "dtls goes over datagrams, and tcp receives streams",
    "zip:fd:3:type=DGRAM": "zip goes over streams, and fd receives datagrams",
    "zip:postcard:Bonn": "zip goes over streams, and postcard receives datagrams",
    "zip:levle=1:tcp:80": 'zip or tcp has no key "levle"; did you mean "level"?',
    "zip:level=10:tcp:80": "zip: level: '10' is too large: the most is 9",
    "chat:tcp:80": "chat: path: is required: where",
    "chat:/a:tcp:80": f'there is no prefix "/a"; {THERE_IS}',
    "chat:path=/a:zip:tcp:80:level=1": (
        'chat and zip both claim the key "level": write it right after the one that it is for'
    ),
    "chat:path=/a:zip:plain:level=1:tcp:80": (
        'chat and zip both claim the key "level": write it right after the one that it is for'
    ),
    "plain:plain:stdio:x=1": 'plain or stdio has no key "x"; it takes none',
    "strict:red:chairs=4": 'strict has no key "chairs"; there is room, seats',
    "postcard:Bonn:town=Ulm": 'postcard has no key "town"; there is stamp',
    "tls:cert=/x:tcp:80:tcp:81": ANOTHER_PLACE.format("tcp", "tcp", "interface"),
    "udp:80:udp:81": ANOTHER_PLACE.format("udp", "udp", "interface"),
    "tcp6:80:tls": ANOTHER_PLACE.format("tls", "tcp6", "backlog"),
    "tcp:tcp:80": ANOTHER_PLACE.format("tcp", "tcp", "port"),
    r"proxy:from=2001:db8\:\:/32:tcp:80": CUT.format("from", "2001", BRACKETS),
    "proxy:from=2001:db8::/32:tcp:80": CUT.format("from", "2001", BRACKETS),
    "proxy:from=10.0.0.0/8,::/0:tcp:80": CUT.format("from", "10.0.0.0/8,", BRACKETS),
    "proxy:from=10.0.0.1:80": 'there is no prefix; did you mean "tcp:80" or "udp:80"?',
    "chat:path=/a:level=80:80": 'there is no prefix; did you mean "tcp:80" or "udp:80"?',
    "chat:path=/a:origin=http://b:tcp:80": CUT.format("origin", "http", ""),
    r"chat:path=/a:origin=http\://b:8080:tcp:80": CUT.format("origin", "http://b", ""),
    "tcp:80\\": "'tcp:80\\\\' ends in a backslash that escapes nothing",
}  # fmt: skip


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(("text", "told"), ERRORS.items(), ids=list(ERRORS))
def test_errors(text: str, told: str) -> None:
    """Each says what is wrong, and what would be right where that is known."""
    assert refused(text) == told


def test_errorsAreOneLine() -> None:
    """Whatever the string holds, what is told of it is a line."""
    with pytest.raises(EndpointError) as caught:
        parseEndpoint("tcp\n:80\0")
    assert str(caught.value) == (
        r'in "tcp\n:80\u0000": there is no prefix "tcp\n"; did you mean "tcp"?'
    )


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("strict", "strict needs the parameter 'room'"),
        ("strict:none", "strict: KeyError"),
        ("strict:red:seats=many", "strict: invalid literal for int() with base 10: 'many'"),
        ("strict:red:room=blue", "strict was given twice: 'room'"),
        ("haproxy:tcp:80:reusePort=1", "haproxy: _parseTCP() has no key 'reusePort'"),
        ("haproxy:tpc:80", "haproxy: Unknown endpoint type: 'tpc'"),
        (
            "anystream:self=1",
            "anystream: AnyStreamParser.parseStreamServer() was given twice: 'self'",
        ),
        ("haproxy:tcp:80:reactor=1", "haproxy was given twice: 'reactor'"),
    ],
)
def test_parsersOfOthersRefuse(text: str, told: str) -> None:
    """When the endpoint is made, in words."""
    endpoint = parseEndpoint(text)
    with pytest.raises(EndpointError) as caught:
        endpoint.openStream(MemoryReactorClock())
    assert str(caught.value) == told


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("postcard", "postcard needs the parameter 'town'"),
        ("postcard:a:b", "postcard takes fewer parameters without a name"),
    ],
)
def test_datagramParsersOfOthersRefuse(text: str, told: str) -> None:
    """Just so."""
    endpoint = parseEndpoint(text)
    with pytest.raises(EndpointError, match=told):
        endpoint.openDatagram(MemoryReactorClock())


def test_anErrorOfOthersInOurWordsIsKept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A parser written for myserv may raise what myserv raises."""
    original = EndpointError("its own words")

    def refuse(reactor: Any) -> Any:
        raise original

    parser = StrictStreamParser()
    monkeypatch.setattr(parser, "parseStreamServer", refuse)
    place = ForeignPlace(parser, "strict", Kind.STREAM, (), ())
    with pytest.raises(EndpointError) as caught:
        place.open(None)
    assert caught.value is original


class Broken:
    """A plugin of another package that has a bug wherever it is told to."""

    description = "a layer"
    provesAddress = False

    def __init__(self, prefix: object, optionsType: object = ZipOptions) -> None:
        self._prefix, self._optionsType = prefix, optionsType

    @property
    def prefix(self) -> Any:
        """Tell it, or raise it."""
        if isinstance(self._prefix, BaseException):
            raise self._prefix
        return self._prefix

    @property
    def optionsType(self) -> Any:
        """Tell it, or raise it."""
        if isinstance(self._optionsType, BaseException):
            raise self._optionsType
        return self._optionsType

    def wrapFactory(self, context: object, options: object, factory: object) -> Any:
        """Leave."""
        raise SystemExit("no layer")

    def wrapProtocol(self, context: object, options: object, protocol: object) -> Any:
        """Leave."""
        raise GeneratorExit


@frozen
class BrokenOptions:
    """Options whose author forgot what may be raised."""

    level: int = option(1, help="how much")

    def __attrs_post_init__(self) -> None:
        raise SystemExit(self.level)


def plug(monkeypatch: pytest.MonkeyPatch, *plugins: object) -> None:
    """Install wrappers of another package."""
    known = {IEndpointWrapper: plugins}
    monkeypatch.setattr(prefixes, "getPlugins", lambda interface: known.get(interface, ()))


def test_prefixesThatCannotBeTold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of others can, and who looks for one in vain is told of the broken ones."""
    plug(monkeypatch, Broken(None), Broken(OSError("no\nprefix")), ZIP)
    assert "zip" in knownPrefixes()
    assert str(parseEndpoint("zip:tcp:80")) == "zip:tcp:80"
    name = f"{Broken.__module__}.Broken"
    assert brokenPlugins() == (
        f"the endpoint plugin {name} is broken: its prefix is NoneType, not text",
        f"the endpoint plugin {name} is broken: OSError: no prefix",
    )
    assert refused("zap:tcp:80") == (
        f'there is no prefix "zap"; did you mean "zip"?; {"; ".join(brokenPlugins())}'
    )


@pytest.mark.parametrize(
    ("plugin", "told"),
    [
        (Broken("b", int), "b is broken: it raised TypeError: int is not an attrs class"),
        (Broken("b", SystemExit("so")), "b is broken: it raised SystemExit: so"),
        (Broken("b", BrokenOptions), "b is broken: it raised SystemExit: 1"),
    ],
)
def test_optionsThatCannotBeTold(
    monkeypatch: pytest.MonkeyPatch, plugin: Broken, told: str
) -> None:
    """The plugin is named, and nothing else comes of it."""
    plug(monkeypatch, plugin)
    assert refused("b:tcp:80") == told


def test_layersThatCannotBePut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Just so."""
    stream, datagram = Broken("b"), Broken("d")
    alsoProvides(stream, IStreamWrapper)
    alsoProvides(datagram, IDatagramWrapper)
    plug(monkeypatch, stream, datagram)
    context: Any = None
    with pytest.raises(EndpointError, match=r"^b is broken: it raised SystemExit: no layer$"):
        parseEndpoint("b:tcp:80").wrapFactory(context, HELLO)
    with pytest.raises(EndpointError, match=r"^d is broken: it raised GeneratorExit$"):
        parseEndpoint("d:udp:80").wrapProtocol(context, DatagramProtocol())


# --- limits ---------------------------------------------------------------------


def test_theLongestString() -> None:
    """As long as a path may be, and its prefix with it."""
    text = "unix:/".ljust(MAXIMUM_STRING, "x")
    assert str(parseEndpoint(text)) == text
    assert refused(text + "x") == "an endpoint string may have 4096 characters at most"
    with pytest.raises(EndpointError) as caught:
        parseEndpoint("tls:" * 1_000_000 + "tcp:1")
    assert len(str(caught.value)) < 300


@pytest.mark.usefixtures("installed")
def test_theMostLayers() -> None:
    """More than anybody wants, and few enough to be put on a connection."""
    most = "zip:" * MAXIMUM_LAYERS + "tcp:80"
    assert len(parseEndpoint(most).layers) == MAXIMUM_LAYERS
    assert refused(f"zip:{most}") == "there may be 16 layers at most"


# --- properties ---------------------------------------------------------------

WORDS = st.sampled_from(
    [
        *BUILT_IN,
        *("tls", "chat", "zip", "plain", "haproxy", "anystream", "strict", "postcard", "Tcp", "tpc"),
        *("port", "interface", "backlog", "mode", "address", "certs", "cert", "key", "path", "level"),
        *("type", "name", "index", "domain", "reusePort", "lockfile", "fast", "fd", "privateKey"),
        *("80", "0", "-1", "443", "65536", "9" * 5000, "²", "٣", "1_0", "true", "600", "STREAM"),
        *("DGRAM", "INET", "", " ", "/x", "~nobody-of-that-name/x", "\0", "\n", "\ud800", "é"),
        *("[::1]", "::1", r"\:\:1", "127.0.0.1", "fe80::1%lo", "[", "]", "[::", "%", "localhost"),
    ]
)  # fmt: skip

STRINGS = st.lists(
    st.tuples(WORDS | st.text(max_size=5), st.sampled_from([":", ":", ":", "=", "\\", ""])),
    max_size=12,
).map(lambda parts: "".join(word + separator for word, separator in parts))
"""Like endpoint strings, and mostly wrong."""


@pytest.mark.usefixtures("installedForAll")
@settings(deadline=None, max_examples=400)
@given(STRINGS)
@example("tls:" * 2000 + "tcp:80")
def test_anyTextParsesOrIsRefusedInWords(text: str) -> None:
    """Nothing but EndpointError comes out, one line to a problem; what parses comes back."""
    problems: tuple[Problem, ...] = ()
    try:
        endpoint = parseEndpoint(text)
        assert parseEndpoint(str(endpoint)) == endpoint
    except EndpointError as error:
        problems = error.problems
    assert all(str(each).isprintable() for each in problems)


PATHS = st.text(
    st.sampled_from(":=\\[]~/. é%1\n") | st.characters(exclude_characters="\0", codec="utf-8"),
    min_size=1,
)
FILES = PATHS.filter(lambda path: not path.startswith("~") and not str(Path(path)).startswith("~"))
PORTS = st.integers(0, 65535).map(str)
COUNTS = st.integers(0, 2**31 - 1).map(str)
BOOLEANS = st.sampled_from(["true", "no", "1", "OFF"])
MODES = st.integers(0, 0o777).map(lambda mode: f"{mode:o}")
V4 = st.ip_addresses(v=4).map(str)
V6 = st.ip_addresses(v=6).map(str)
ADDRESSES = V4 | V6 | V6.map(lambda each: f"[{each}]") | V6.map(lambda each: f"{each}%eth0")
HOSTS = ADDRESSES | st.sampled_from(["", "localhost", "example.org"])
TYPES = st.sampled_from(["STREAM", "DGRAM"])
DOMAINS = st.sampled_from(["INET", "INET6", "UNIX"])

NEEDED: dict[str, dict[str, st.SearchStrategy[str]]] = {
    "tcp": {"port": PORTS},
    "tcp6": {"port": PORTS},
    "unix": {"address": PATHS},
    "ssl": {"port": PORTS},
    "stdio": {},
    "udp": {"port": PORTS},
    "udp6": {"port": PORTS},
    "unixgram": {"address": PATHS},
    "fd": {"fd": COUNTS},
    "systemd": {"name": PATHS},
    "tls": {"certs": FILES},
    "chat": {"path": PATHS},
    "zip": {},
    "anystream": {},
    "strict": {"room": PATHS},
}
SPARED: dict[str, dict[str, st.SearchStrategy[str]]] = {
    "tcp": {"interface": HOSTS, "backlog": COUNTS, "reusePort": BOOLEANS},
    "tcp6": {"interface": ADDRESSES, "backlog": COUNTS, "reusePort": BOOLEANS},
    "unix": {"mode": MODES, "backlog": COUNTS, "lockfile": BOOLEANS},
    "ssl": {
        **dict.fromkeys(("privateKey", "certKey", "sslmethod", "dhParameters"), PATHS),
        "interface": HOSTS,
        "backlog": COUNTS,
        "extraCertChain": PATHS,
    },
    "udp": {"interface": ADDRESSES | st.just(""), "reusePort": BOOLEANS},
    "udp6": {"interface": ADDRESSES, "reusePort": BOOLEANS},
    "unixgram": {"mode": MODES, "lockfile": BOOLEANS},
    "fd": {"type": TYPES},
    "systemd": {"domain": DOMAINS, "type": TYPES},
    "chat": {"origin": PATHS, "level": COUNTS},
    "zip": {"level": st.integers(0, 9).map(str), "fast": BOOLEANS},
    "anystream": {"any": PATHS, "other=:": PATHS},
    "strict": {"seats": COUNTS},
}


@st.composite
def segments(draw: st.DrawFn, prefix: str) -> tuple[Parameter, ...]:
    """A prefix with all that it needs, and some of what it may have, in any order."""
    values = draw(st.fixed_dictionaries(NEEDED[prefix], optional=SPARED.get(prefix, {})))
    named = [Parameter(value, key) for key, value in values.items()]
    return (Parameter(prefix), *draw(st.permutations(named)))


@st.composite
def chains(draw: st.DrawFn) -> tuple[str, ...]:
    """Prefixes that can stand in one string."""
    last = draw(st.sampled_from(sorted(set(NEEDED) - {"tls", "chat", "zip"})))
    if last in {"udp", "udp6", "unixgram", "fd", "systemd"}:
        return (last,)
    return (*draw(st.lists(st.sampled_from(["tls", "chat", "zip"]), max_size=3)), last)


@pytest.mark.usefixtures("installedForAll")
@settings(deadline=None, max_examples=400)
@given(st.data())
def test_whatParsesCanBeWritten(data: st.DataObject) -> None:
    """Every prefix, with any value it takes: its string parses to an equal endpoint."""
    prefixes = data.draw(chains())
    text = join(tuple(each for prefix in prefixes for each in data.draw(segments(prefix))))
    endpoint = parseEndpoint(text)
    assert [prefix for prefix, _ in layersOf(endpoint)] == list(prefixes[:-1])
    assert parseEndpoint(str(endpoint)) == endpoint
    assert str(parseEndpoint(str(endpoint))) == str(endpoint)


@given(st.sampled_from(["unix", "unixgram"]), PATHS)
def test_anyPathGetsThrough(prefix: str, path: str) -> None:
    """By position or by name, a path that is quoted arrives as it was."""
    for key in (None, "address"):
        assert options(join((Parameter(prefix), Parameter(path, key)))).address == path


@given(st.dictionaries(PATHS, PATHS), st.lists(PATHS))
def test_anythingGetsThroughToOthers(keys: dict[str, str], positionals: list[str]) -> None:
    """A parser that takes anything is given anything."""
    written = (
        Parameter("haproxy"),
        *map(Parameter, positionals),
        *(Parameter(value, key) for key, value in keys.items()),
    )
    place = parseEndpoint(join(written)).place
    assert isinstance(place, ForeignPlace)
    assert (place.positionals, dict(place.keys)) == (tuple(positionals), keys)
