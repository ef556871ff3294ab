"""What differs between two configurations, and what of it takes a restart."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from attrs import evolve, frozen
from twisted.internet.protocol import DatagramProtocol, Protocol

from myserv.config.document import parseDocument
from myserv.errors import PluginError
from myserv.interfaces import IProtocolPlugin
from myserv.limits import Limits
from myserv.plugin import Duration, ProtocolPlugin, option
from myserv.server.changes import Changes, compareCode, comparePlans
from myserv.server.plan import ServerPlan, planServer


@frozen
class Options:
    """A secret, and what is none."""

    password: str = option("", help="what to say")
    times: int = option(1, help="how often")


class Registry:
    """Loads a plugin anew each time, as for a class that is named by its module."""

    def find(self, reference: str) -> IProtocolPlugin:
        """Find one."""
        if reference not in ("one", "two"):
            raise PluginError(f"there is no {reference}")
        return ProtocolPlugin(
            reference,
            "",
            stream=lambda context, options: Protocol(),
            datagram=lambda context, options: DatagramProtocol(),
            optionsType=Options,
        )


def plan(text: str) -> ServerPlan:
    """Give meaning to a configuration file."""
    return planServer(parseDocument("a.toml", text.encode()), Registry())


def service(name: str, *listen: str, protocol: str = "one", more: str = "") -> str:
    """The lines of one service."""
    return f'[services.{name}]\nprotocol = "{protocol}"\nlisten = {list(listen)}\n{more}\n'


def compare(before: str, after: str) -> Changes:
    """Find out what differs."""
    return comparePlans(plan(before), plan(after))


def said(changes: Changes) -> tuple[list[str], list[str]]:
    """What is different, and what takes a restart."""
    return list(changes.words), list(changes.pending)


TWO = service("a", "tcp:1") + service("b", "tcp:2", "udp:2")


def test_nothing() -> None:
    """The same text is no change, nor is another order or another spelling."""
    other = service("b", "tcp:2:backlog=4096", "udp:2") + "[server]\n" + service("a", "tcp:1")
    for after in (TWO, other):
        changes = compare(TWO, after)
        assert said(changes) == ([], [])
        assert not changes.started + changes.stopped
        assert not any(each.opened + each.closed for each in changes.services)
    assert [each.name for each in changes.after.services] == ["b", "a"]


def test_servicesComeAndGo() -> None:
    """By their names."""
    changes = compare(TWO, service("c", "tcp:1") + service("b", "tcp:2", "udp:2"))
    assert said(changes) == (["services.a: is gone", "services.c: is new"], [])
    assert [each.name for each in changes.stopped] == ["a"]
    assert [each.name for each in changes.started] == ["c"]
    assert [each.after.name for each in changes.services] == ["b"]


def test_endpointsComeAndGo() -> None:
    """By their canonical strings; one that is written twice counts twice."""
    changes = compare(
        service("a", "tcp:0", "tcp:0", "tcp:1", "tcp:2"),
        service("a", "tcp:0", "tcp:3", "tcp:2", "tcp:1:backlog=5"),
    )
    assert said(changes) == (
        [
            "services.a.listen: tcp:0 is gone",
            "services.a.listen: tcp:1 is gone",
            "services.a.listen: tcp:3 is new",
            "services.a.listen: tcp:1:backlog=5 is new",
        ],
        [],
    )
    [each] = changes.services
    assert [str(planned.endpoint) for planned in each.closed] == ["tcp:0", "tcp:1"]
    assert [planned.key[-1] for planned in each.opened] == [1, 3]


def test_limits() -> None:
    """A change of one service names it; a change of all is one line."""
    names = "abcdefg"
    before = "".join(service(each, f"tcp:{port}") for port, each in enumerate(names, 1))
    changes = compare(
        before,
        "[limits]\nidle = '5s'\n" + before + "limits = {allow = ['::1', '10.0.0.0/8']}\n",
    )
    assert said(changes) == (
        [
            "limits.idle: 5s instead of 10m for a, b, c, d, e and 2 more",
            "services.g.limits.allow: ::1/128, 10.0.0.0/8 instead of nothing",
        ],
        [],
    )
    assert changes.after.services[0].limits == evolve(Limits(), idle=Duration(5))
    changes = compare(
        service("a", "tcp:1", more="limits.maxConnectionsPerPeer = 3"),
        service("a", "tcp:1"),
    )
    assert said(changes)[0] == ["services.a.limits.maxConnectionsPerPeer: nothing instead of 3"]


def test_penaltiesAndKeys() -> None:
    """What holds for all services changes at once, or takes a restart."""
    changes = compare(
        TWO,
        """
        [server]
        directory = "/srv"
        maxConnections = 5
        logConnections = true
        workers = 2
        user = "chat"
        group = "chat"
        [penalties]
        enabled = false
        """
        + TWO,
    )
    assert said(changes) == (
        [
            "server.maxConnections: 5 instead of 0",
            "server.logConnections: true instead of false",
            "penalties.enabled: false instead of true",
        ],
        [
            "server.directory: /srv instead of nothing",
            "server.workers: 2 instead of 1",
            "server.user: chat instead of nothing",
            "server.group: chat instead of nothing",
        ],
    )
    keys = changes.after.keys
    assert (keys.maxConnections, keys.logConnections) == (5, True)
    assert (keys.directory, keys.workers, keys.user, keys.group) == (None, "1", None, None)
    assert not changes.after.penalties.enabled


def test_whatCanBeChangedIsTheCallers() -> None:
    """A supervisor starts other workers."""
    changes = comparePlans(plan(TWO), plan("[server]\nworkers = 2\n" + TWO), frozenset({"workers"}))
    assert said(changes) == (["server.workers: 2 instead of 1"], [])
    assert changes.after.keys.workers == "2"


def test_options() -> None:
    """They take a restart, and their values are not told; the rest is done."""
    before = plan(service("a", "tcp:1", more="options.password = 'old'"))
    after = plan(service("a", "tcp:2", more="options = {password = 'new', times = 2}"))
    changes = comparePlans(before, after)
    assert said(changes) == (
        ["services.a.listen: tcp:1 is gone", "services.a.listen: tcp:2 is new"],
        ["services.a.options.password", "services.a.options.times"],
    )
    [runs] = changes.after.services
    assert runs.options == Options("old", 1)
    assert runs.plugin is before.services[0].plugin
    assert [str(each.endpoint) for each in runs.endpoints] == ["tcp:2"]
    # What is pending is so until the restart.
    assert said(comparePlans(changes.after, after)) == ([], said(changes)[1])


def test_protocol() -> None:
    """Another protocol takes a restart; until then endpoints only go."""
    before = plan(service("a", "tcp:1", "tcp:2") + service("b", "tcp:4"))
    after = plan(
        service("a", "tcp:1", "tcp:3", protocol="two", more="limits.idle = '1s'")
        + service("b", "tcp:4", "tcp:2")
    )
    changes = comparePlans(before, after)
    assert said(changes) == (
        ["services.a.listen: tcp:2 is gone", "services.b.listen: tcp:2 is new"],
        ['services.a.protocol: "two" instead of "one"', "services.a.listen: tcp:3 is new"],
    )
    runs = changes.after.services[0]
    assert (runs.plugin.name, runs.limits) == ("one", Limits())
    assert [str(each.endpoint) for each in runs.endpoints] == ["tcp:1"]
    again = comparePlans(changes.after, after)
    assert said(again) == ([], said(changes)[1])


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ({}, {}, ()),
        ({"Python": "3.11"}, {"Python": "3.11", "new": "1"}, ()),
        ({"Python": "3.11", "gone": "1"}, {"Python": "3.11"}, ()),
        (
            {"Python": "3.11", "Twisted": "26.10.0"},
            {"Python": "3.12", "Twisted": "26.10.0"},
            ("Python: 3.12 is installed, 3.11 runs",),
        ),
    ],
)
def test_code(before: Mapping[str, str], after: Mapping[str, str], lines: tuple[str, ...]) -> None:
    """What is installed and does not run is told; what is in one only is no difference."""
    assert compareCode(before, after) == lines
