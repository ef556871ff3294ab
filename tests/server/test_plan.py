"""Giving meaning to what somebody asked for, and finding everything wrong with it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from ipaddress import ip_network

import pytest
from attrs import evolve, frozen
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from zope.interface import implementer

from myserv.config.model import ServiceConfig
from myserv.endpoints.kind import Kind
from myserv.endpoints.parse import parseEndpoint
from myserv.errors import ConfigurationError, KeyPath, PluginError
from myserv.interfaces import IMessageProtocol, IProtocolPlugin
from myserv.limits import Limits
from myserv.plugin import Duration, ProtocolPlugin, Size, option
from myserv.server.plan import OnePlugin, ServicePlan, planServices


@frozen
class Options:
    """What may be said of a quote."""

    times: int = option(1, help="how often", minimum=1)
    colour: str = option("", help="in which")

    def __attrs_post_init__(self) -> None:
        if self.times == 13:
            raise ValueError("thirteen brings bad luck")
        if self.times == 99:
            raise TypeError("two\nlines")
        if self.times == 98:
            raise SystemExit(self.times)


@implementer(IMessageProtocol)
class Messages(Protocol):
    """Takes nothing but messages."""

    def messageReceived(self, message: bytes | str) -> None:
        """A message came."""


class MessagesOrBytes(Messages):
    """Takes bytes, too."""

    def dataReceived(self, data: bytes) -> None:
        """Bytes came."""


BOTH = ProtocolPlugin("both", "", stream=Protocol, datagram=DatagramProtocol)
STREAM = ProtocolPlugin("stream", "", stream=Protocol)
DATAGRAM = ProtocolPlugin("datagram", "", datagram=DatagramProtocol)
MESSAGES = ProtocolPlugin("messages", "", stream=Messages, datagram=DatagramProtocol)
EITHER = ProtocolPlugin("either", "", stream=MessagesOrBytes)
OPTIONS = ProtocolPlugin(
    "options", "", factory=lambda context, options: Factory(), optionsType=Options
)


class Known:
    """Finds the plugins above."""

    def find(self, reference: str) -> IProtocolPlugin:
        """Find one by its name."""
        for plugin in (BOTH, STREAM, DATAGRAM, MESSAGES, EITHER, OPTIONS):
            if plugin.name == reference:
                return plugin
        raise PluginError(f"there is no {reference}")


def ask(
    protocol: str,
    *listen: str,
    name: str = "a",
    options: Mapping[str, object] | None = None,
    key: KeyPath | None = None,
) -> ServiceConfig:
    """Ask for a service as a configuration file does."""
    key = ("services", name) if key is None else key
    return ServiceConfig(name, protocol, listen, options or {}, key)


def problems(*requests: ServiceConfig) -> list[str]:
    """What is wrong with services, each problem under its key."""
    with pytest.raises(ConfigurationError) as raised:
        planServices(requests, Known())
    return [str(problem) for problem in raised.value.problems]


def test_plan() -> None:
    """A plan has the plugin, typed options and endpoints that know where they were asked for."""
    plans = planServices(
        [
            ask("both", "tcp:7", "udp:7:interface=127.0.0.1"),
            ask("options", "tcp6:8", name="b", options={"times": "3"}),
        ],
        Known(),
    )
    first, second = plans
    assert (first.name, first.plugin, first.options) == ("a", BOTH, None)
    assert first.key == ("services", "a")
    assert [(each.endpoint.kind, str(each.endpoint)) for each in first.endpoints] == [
        (Kind.STREAM, "tcp:7"),
        (Kind.DATAGRAM, "udp:7:interface=127.0.0.1"),
    ]
    assert [each.key for each in first.endpoints] == [
        ("services", "a", "listen", 0),
        ("services", "a", "listen", 1),
    ]
    assert second.options == Options(times=3)


def test_planOfNothing() -> None:
    """No services are no plans."""
    assert planServices([], Known()) == ()


def test_onePlugin() -> None:
    """A plugin in hand is found whatever it is called."""
    [plan] = planServices([ask("mymodule:Mine", "tcp:7", key=())], OnePlugin(BOTH))
    assert isinstance(plan, ServicePlan)
    assert plan.plugin is BOTH
    assert plan.endpoints[0].key == ("listen", 0)


def test_everyProblemOfEveryService() -> None:
    """One run tells everything, each problem under the key that holds it."""
    assert problems(
        ask("nope", "tcp:x", "tpc:7"),
        ask("options", "tcp:7", "udp:7", name="b", options={"times": 0, "color": "red"}),
        ask("datagram", "tcp:8", "udp:8", name="c"),
    ) == [
        "services.a.protocol: there is no nope",
        "services.a.listen[0]: in \"tcp:x\": tcp: port: 'x' is not a whole number",
        ('services.a.listen[1]: in "tpc:7": there is no prefix "tpc"; did you mean "tcp"?'),
        'services.b.options.color: unknown option; did you mean "colour"?',
        "services.b.options.times: 0 is too small: the least is 1",
        (
            'services.b.listen[1]: "udp:7" is a datagram endpoint, and options is a protocol '
            "over streams only"
        ),
        (
            'services.c.listen[0]: "tcp:8" is a stream endpoint, and datagram is a protocol '
            "over datagrams only"
        ),
    ]


def test_messagesOverAPlainStream() -> None:
    """A protocol of messages only is refused where none come; not where they do, or may."""
    assert problems(
        ask("messages", "udp:7", "tcp:7", "websocket:tcp:8", "tls:selfSigned=a:tcp:9"),
        ask("either", "tcp:10", name="b"),
    ) == [
        (
            'services.a.listen[1]: "tcp:7" carries bytes, and messages takes whole messages only: '
            "put websocket: before it"
        ),
        (
            'services.a.listen[3]: "tls:selfSigned=a:tcp:9" carries bytes, and messages takes '
            "whole messages only: put websocket: before it"
        ),
    ]
    listen = ("websocket:tls:selfSigned=a:tcp:7", "haproxy:tcp:8", "udp:7")
    [plan] = planServices([ask("messages", *listen)], Known())
    assert len(plan.endpoints) == 3


def test_validatorOfOptions() -> None:
    """What an author's validator refuses is the operator's; what else it raises is a bug."""
    assert problems(ask("options", "tcp:7", options={"times": 13})) == [
        "services.a.options: thirteen brings bad luck"
    ]
    assert problems(ask("options", "tcp:7", options={"times": 99})) == [
        (
            "services.a.options: the protocol options is broken: "
            "its options raised TypeError: two lines"
        )
    ]
    assert problems(ask("options", "tcp:7", options={"times": 98})) == [
        "services.a.options: the protocol options is broken: its options raised SystemExit: 98"
    ]


TWICE = {
    "in one service": ([ask("both", "tcp:7", "tcp:7")], ["services.a.listen[1]"]),
    "in two": ([ask("both", "tcp:7"), ask("both", "tcp:7", name="b")], ["services.b.listen[0]"]),
    "in other words": (
        [ask("both", "tcp:7:127.0.0.1", "tcp:interface=127.0.0.1:port=7")],
        ["services.a.listen[1]"],
    ),
    "three times": (
        [ask("both", "unix:/a", "unix:/a", "unix:/a")],
        ["services.a.listen[1]", "services.a.listen[2]"],
    ),
}


@pytest.mark.parametrize(("requests", "keys"), TWICE.values(), ids=TWICE)
def test_oneEndpointTwice(requests: list[ServiceConfig], keys: list[str]) -> None:
    """An endpoint that is asked for again is told with the place of the first."""
    said = problems(*requests)
    assert [each.partition(":")[0] for each in said] == keys
    for each in said:
        assert each.endswith(" is asked for twice; see services.a.listen[0]")


def test_oneEndpointTwiceBesideOtherMistakes() -> None:
    """A service that is wrong in other ways is no exception."""
    assert problems(ask("nope", "tcp:7"), ask("both", "tcp:7", name="b")) == [
        "services.a.protocol: there is no nope",
        'services.b.listen[0]: "tcp:7" is asked for twice; see services.a.listen[0]',
    ]


def test_manyEndpoints() -> None:
    """Whether thousands overlap is found out while the operator waits."""
    listen = [f"tcp:{port}" for port in range(1, 20_000)]
    before = time.process_time()
    said = problems(ask("both", *listen, "tcp:12345"))
    assert time.process_time() - before < 30
    assert said == [
        'services.a.listen[19999]: "tcp:12345" is asked for twice; see services.a.listen[12344]'
    ]


@pytest.mark.parametrize(
    "listen",
    [
        ("tcp:0", "tcp:0"),
        ("udp:0", "udp:0"),
        ("tcp:7:reusePort=true", "tcp:7:reusePort=true"),
        ("tcp:7", "udp:7", "tcp:[::1]:7", "unix:/a", "unix:/b"),
        ("tcp:7:interface=127.0.0.1", "tcp:7:interface=127.0.0.2", "tcp:[::1]:7", "tcp:8"),
        ("udp6:7:interface=[::1]", "udp:7"),
    ],
)
def test_sharedPorts(listen: tuple[str, ...]) -> None:
    """What the system shares out, or is another endpoint, may be asked for."""
    [plan] = planServices([ask("both", *listen)], Known())
    assert len(plan.endpoints) == len(listen)


@pytest.mark.parametrize(
    ("listen", "what"),
    [
        (("tcp:7", "tcp:7:interface=127.0.0.1"), "port"),
        (("tcp:7:interface=127.0.0.1", "ssl:7"), "port"),
        (("tcp6:7", "tcp:7"), "port"),
        (("tcp6:7", "tls:selfSigned=a:tcp:[::1]:7"), "port"),
        (("udp:7:reusePort=true", "udp:7"), "port"),
        (("unix:/a", "unixgram:/b/../a"), "path"),
    ],
)
def test_endpointsThatOverlap(listen: tuple[str, str], what: str) -> None:
    """Two that the system would not open both are found before it is asked."""
    earlier, later = (str(parseEndpoint(text)) for text in listen)
    assert problems(ask("both", *listen)) == [
        (
            f'services.a.listen[1]: "{later}" cannot listen beside "{earlier}": '
            f"they want the same {what}; see services.a.listen[0]"
        )
    ]


def test_endpointsOfOthersTwice() -> None:
    """An endpoint of another package's, whose words nobody here knows, is compared as it stands."""
    assert problems(ask("both", "haproxy:tcp:7", "haproxy:tcp:7")) == [
        'services.a.listen[1]: "haproxy:tcp:7" is asked for twice; see services.a.listen[0]'
    ]


def test_limitsOfTheUnestablished() -> None:
    """Only a protocol that says when a client is established can have them; lists do not add up."""
    plugin = ProtocolPlugin(
        "p", "", stream=Protocol, limits={"idle": "1h"}, establishesClients=True
    )
    request = evolve(
        ask("p", "tcp:7"),
        limits={"establish": "5s"},
        generalLimits={"establish": "1s", "maxUnestablished": 9, "deny": "::1"},
    )
    [plan] = planServices([request], OnePlugin(plugin))
    assert plan.limits == evolve(
        Limits(),
        idle=Duration(3600),
        establish=Duration(5),
        maxUnestablished=Size(9),
        deny=(ip_network("::1"),),
    )
    assert plan.generalLimits == {"maxUnestablished", "deny"}
    plugin = ProtocolPlugin("p", "", stream=Protocol)
    with pytest.raises(ConfigurationError) as caught:
        planServices([request], OnePlugin(plugin))
    assert str(caught.value) == (
        "services.a.limits.establish: the protocol p never says that a client is established: "
        "remove 'establish'"
    )


@pytest.mark.parametrize("key", ["users", "groups"])
def test_whoComesOverTheNetworkHasNoUser(key: str) -> None:
    """Users can be told of UNIX sockets only, and nobody is let in because of that."""
    limits = {key: ["0"]}
    request = ServiceConfig("s", "both", ("unix:/run/s", "tcp:7"), {}, ("services", "s"), limits)
    with pytest.raises(ConfigurationError) as caught:
        planServices([request], OnePlugin(BOTH))
    [problem] = caught.value.problems
    assert problem.key == ("services", "s", "limits", key)
    assert problem.message == '"tcp:7" cannot tell: only a UNIX socket can'
    with pytest.raises(ConfigurationError) as caught:
        planServices([evolve(request, limits={}, generalLimits=limits)], OnePlugin(BOTH))
    assert [each.key for each in caught.value.problems] == [("limits", key)]
    assert planServices([evolve(request, listen=("unix:/run/s",))], OnePlugin(BOTH))


@pytest.mark.parametrize(
    ("limits", "key", "message"),
    [
        ({"acceptBurst": 5}, "acceptBurst", 'has no meaning without "acceptRate"'),
        ({"maxUnsent": "1KiB"}, "maxUnsent", "is less than writeBuffer, 64KiB"),
    ],
)
def test_limitsThatContradictEachOther(
    limits: Mapping[str, object], key: str, message: str
) -> None:
    """What was meant is not known, so it is asked."""
    request = ServiceConfig("s", "both", ("tcp:7",), {}, ("services", "s"), limits)
    with pytest.raises(ConfigurationError) as caught:
        planServices([request], OnePlugin(BOTH))
    assert [(each.key[-1], each.message) for each in caught.value.problems] == [(key, message)]


def test_oneTableMayCompleteTheOther() -> None:
    """A burst may be said of a service, and the rate of all of them."""
    request = ServiceConfig(
        "s", "both", ("tcp:7",), {}, ("services", "s"), {"acceptBurst": 5}, {"acceptRate": 2}
    )
    [plan] = planServices([request], OnePlugin(BOTH))
    assert (plan.limits.acceptRate, plan.limits.acceptBurst) == (2, 5)
