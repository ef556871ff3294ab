"""A protocol described by its parts, and the interfaces that it then provides."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from zope.interface.verify import verifyObject

from myserv import plugin
from myserv.interfaces import IDatagramProtocolPlugin, IProtocolPlugin, IStreamProtocolPlugin
from myserv.plugin import (
    DatagramSession,
    DatagramSessions,
    ProtocolPlugin,
    ServiceFactory,
    SessionLimits,
    option,
)

ADDRESS = IPv4Address("TCP", "127.0.0.1", 7)


@attrs.frozen
class GreetingOptions:
    """One option."""

    text: str = option("hello", help="what to say")


class Plain(Protocol):
    """A protocol that needs nothing."""


class PlainDatagrams(DatagramProtocol):
    """The same over datagrams."""


class Demanding(DatagramProtocol):
    """A protocol that wants what options give."""

    def __init__(self, context: object, options: object) -> None:
        self.options = options


class PlainSession(DatagramSession):
    """The same for one peer."""


class GreetingSession(DatagramSession):
    """The same for one peer."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments


class Greeting(Protocol):
    """A protocol that keeps what it was made with."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments


class GreetingDatagrams(DatagramProtocol):
    """The same over datagrams."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments


@pytest.fixture
def context() -> Any:
    """Stand in for a service's context, which a plugin only hands on."""
    return object()


@pytest.mark.parametrize("name", ["echo", "a", "mqtt-5", "x9-y-z0", "s3"])
def test_namesThatAProtocolMayHave(name: str) -> None:
    """Lower case, digits and single hyphens: a word on a command line."""
    assert ProtocolPlugin(name, "x", stream=Plain).name == name


@pytest.mark.parametrize(
    "name", ["", "Echo", "9p", "-a", "a-", "a--b", "a_b", "a b", "a.b", "a:b", "é", "a\n"]
)
def test_namesThatNoProtocolMayHave(name: str) -> None:
    """Anything else is the author's mistake."""
    with pytest.raises(ValueError, match="cannot be a protocol's name: use lower case") as caught:
        ProtocolPlugin(name, "x", stream=Plain)
    assert str(caught.value).startswith(repr(name))


def test_aProtocolIsOfAtLeastOneKind() -> None:
    """A plugin that can build nothing is refused."""
    with pytest.raises(ValueError, match=r"^echo: give stream, factory, datagram or session$"):
        ProtocolPlugin("echo", "x")


def test_streamAndFactoryExclude() -> None:
    """There is one way to build a connection's protocol."""
    with pytest.raises(ValueError, match=r"^echo: give stream or factory, not both$"):
        ProtocolPlugin("echo", "x", stream=Plain, factory=lambda context, options: Factory())


@pytest.mark.parametrize(
    ("parts", "isStream", "isDatagram"),
    [
        ({"stream": Plain}, True, False),
        ({"factory": lambda context, options: Factory()}, True, False),
        ({"datagram": PlainDatagrams}, False, True),
        ({"stream": Plain, "datagram": PlainDatagrams}, True, True),
        ({"session": PlainSession}, False, True),
        (
            {"factory": lambda context, options: Factory(), "datagram": PlainDatagrams},
            True,
            True,
        ),
    ],
)
def test_interfacesSayWhatItCanBuild(
    parts: dict[str, Any], isStream: bool, isDatagram: bool
) -> None:
    """A plugin provides the interfaces of the kinds it was given, and keeps their promises."""
    echo = ProtocolPlugin("echo", "x", **parts)
    assert verifyObject(IProtocolPlugin, echo)
    assert IStreamProtocolPlugin.providedBy(echo) is isStream
    assert IDatagramProtocolPlugin.providedBy(echo) is isDatagram
    if isStream:
        assert verifyObject(IStreamProtocolPlugin, echo)
    if isDatagram:
        assert verifyObject(IDatagramProtocolPlugin, echo)


def test_onePluginsInterfacesAreItsOwn() -> None:
    """What one provides says nothing of the next."""
    ProtocolPlugin("both", "x", stream=Plain, datagram=PlainDatagrams)
    assert not IDatagramProtocolPlugin.providedBy(ProtocolPlugin("one", "x", stream=Plain))


def test_aPluginIsDescribed() -> None:
    """What was said of it can be read, and printed."""
    echo = ProtocolPlugin("echo", "says it back", datagram=Demanding, optionsType=GreetingOptions)
    assert echo.description == "says it back"
    assert echo.optionsType is GreetingOptions
    assert echo.answersAnything is False
    assert repr(echo) == "<ProtocolPlugin echo>"
    assert ProtocolPlugin("a", "x", stream=Plain).optionsType is None
    answering = ProtocolPlugin("a", "x", datagram=PlainDatagrams, answersAnything=True)
    assert answering.answersAnything is True


def test_aClassThatCannotBeCalled() -> None:
    """Is found when the plugin is made, not when the first peer connects."""
    with pytest.raises(
        ValueError,
        match=r"^echo: Demanding is called with nothing, for want of an optionsType: missing",
    ):
        ProtocolPlugin("echo", "x", datagram=Demanding)
    with pytest.raises(
        ValueError, match=r"^echo: Plain is called with the context and the options: too many"
    ):
        ProtocolPlugin("echo", "x", stream=Plain, optionsType=GreetingOptions)


def test_streamWithoutOptionsIsCalledWithNothing(context: Any) -> None:
    """Any Protocol class will do."""
    factory = ProtocolPlugin("greet", "x", stream=Greeting).buildFactory(context, None)
    protocol: Any = factory.buildProtocol(ADDRESS)
    assert isinstance(protocol, Greeting)
    assert protocol.arguments == ()


def test_streamWithOptionsIsCalledWithContextAndOptions(context: Any) -> None:
    """A protocol that states options gets them, once per connection."""
    options = GreetingOptions()
    greet = ProtocolPlugin("greet", "x", stream=Greeting, optionsType=GreetingOptions)
    factory = greet.buildFactory(context, options)
    first: Any = factory.buildProtocol(ADDRESS)
    second: Any = factory.buildProtocol(ADDRESS)
    assert isinstance(first, Greeting)
    assert first.arguments == (context, options)
    assert first.arguments[1] is options
    assert first is not second


def test_datagramIsCalledInTheSameWay(context: Any) -> None:
    """With nothing, or with context and options; once per listener."""
    options = GreetingOptions()
    plain = ProtocolPlugin("greet", "x", datagram=GreetingDatagrams)
    stated = ProtocolPlugin("greet", "x", datagram=GreetingDatagrams, optionsType=GreetingOptions)
    without = plain.buildDatagramProtocol(context, None)
    assert isinstance(without, GreetingDatagrams)
    assert without.arguments == ()
    first, second = (stated.buildDatagramProtocol(context, options) for _ in range(2))
    assert isinstance(first, GreetingDatagrams)
    assert first.arguments == (context, options)
    assert first is not second


def test_datagramAndSessionExclude() -> None:
    """A listener's datagrams go one way."""
    with pytest.raises(ValueError, match=r"^echo: give datagram or session, not both$"):
        ProtocolPlugin("echo", "x", datagram=PlainDatagrams, session=PlainSession)


def test_sessionIsCalledInTheSameWay(context: Any) -> None:
    """With nothing, or with context and options; once per peer."""
    options = GreetingOptions()
    plain = ProtocolPlugin("greet", "x", session=GreetingSession)
    stated = ProtocolPlugin("greet", "x", session=GreetingSession, optionsType=GreetingOptions)
    for plugin_, given, arguments in ((plain, None, ()), (stated, options, (context, options))):
        made: Any = plugin_.buildDatagramProtocol(context, given)
        assert isinstance(made, DatagramSessions)
        build: Any = made._build
        first, second = build(), build()
        assert first is not second
        assert first.arguments == arguments


def test_sessionLimits(context: Any) -> None:
    """The author's, or the operator's through the options, or the defaults."""
    limits = SessionLimits(idle=5)

    def limitsOf(options: GreetingOptions) -> SessionLimits:
        return SessionLimits(total=len(options.text))

    for given, expected in (
        (None, SessionLimits()),
        (limits, limits),
        (limitsOf, SessionLimits(total=2)),
    ):
        greet = ProtocolPlugin(
            "greet",
            "x",
            session=GreetingSession,
            optionsType=GreetingOptions,
            sessionLimits=given,
        )
        made: Any = greet.buildDatagramProtocol(context, GreetingOptions("hi"))
        assert made.limits == expected


@pytest.mark.parametrize(
    ("optionsType", "options"), [(None, None), (GreetingOptions, GreetingOptions("hi"))]
)
def test_factoryIsCalledOnceWithContextAndOptions(
    context: Any, optionsType: type | None, options: Any
) -> None:
    """The factory is the author's own, and always gets both."""
    calls: list[tuple[Any, ...]] = []
    made: Any = Factory.forProtocol(Plain)

    def make(*arguments: Any) -> Any:
        calls.append(arguments)
        return made

    chat = ProtocolPlugin("chat", "x", factory=make, optionsType=optionsType)
    assert chat.buildFactory(context, options) is made
    assert calls == [(context, options)]


def test_serviceFactory(context: Any) -> None:
    """The protocols of a service reach what they share through their factory."""
    options = GreetingOptions()
    greet = ProtocolPlugin("greet", "x", stream=Plain, optionsType=None)
    factory = greet.buildFactory(context, options)
    assert isinstance(factory, ServiceFactory)
    assert verifyObject(IProtocolFactory, factory)
    assert factory.context is context
    assert factory.options is options
    assert factory.noisy is False
    protocol: Any = factory.buildProtocol(ADDRESS)
    assert isinstance(protocol, Plain)
    assert protocol.factory is factory


def test_askingForWhatItIsNot(context: Any) -> None:
    """A kind that the plugin does not provide is the server's bug, not a None."""
    with pytest.raises(AssertionError, match="echo has no stream protocol"):
        ProtocolPlugin("echo", "x", datagram=PlainDatagrams).buildFactory(context, None)
    with pytest.raises(AssertionError, match="echo has no datagram protocol"):
        ProtocolPlugin("echo", "x", stream=Plain).buildDatagramProtocol(context, None)


def test_everythingPromisedIsThere() -> None:
    """Each name that an author may import can be imported, listed once and in order."""
    assert list(plugin.__all__) == sorted(set(plugin.__all__))
    for name in plugin.__all__:
        assert getattr(plugin, name) is not None
