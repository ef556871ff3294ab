"""What systemd handed over; the sockets are tested over the wire."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.internet.testing import MemoryReactor
from twisted.plugins.twisted_core import systemdEndpointParser
from twisted.python.systemd import ListenFDs

from myserv.endpoints import inherited
from myserv.endpoints.failure import describeListenError
from myserv.endpoints.parse import Place, parseEndpoint
from myserv.errors import EndpointError

HandOver = Callable[..., None]


@pytest.fixture
def handOver(monkeypatch: pytest.MonkeyPatch) -> HandOver:
    """Plays systemd, which hands over descriptors from 30 on, by name."""

    def play(*names: str) -> None:
        descriptors = range(30, 30 + len(names))
        monkeypatch.setattr(systemdEndpointParser, "_sddaemon", ListenFDs(descriptors, names))

    return play


@pytest.mark.parametrize(
    ("text", "descriptor"),
    [
        ("systemd:domain=INET:index=0", 30),
        ("systemd:INET6:1", 31),
        ("systemd:domain=INET6:index=1", 31),
        ("systemd:UNIX:name=admin", 31),
        ("systemd:domain=INET:name=web", 30),
    ],
)
def test_twistedsStrings(handOver: HandOver, text: str, descriptor: int) -> None:
    """They find the descriptor that Twisted finds."""
    handOver("web", "admin")
    place = parseEndpoint(text).place
    assert isinstance(place, Place)
    assert inherited._find(place.options) == descriptor
    assert serverFromString(MemoryReactor(), text).fileno == descriptor


@pytest.mark.parametrize(("text", "descriptor"), [("systemd:index=1", 31), ("systemd:name=b", 31)])
def test_theFamilyMayBeLeftOut(handOver: HandOver, text: str, descriptor: int) -> None:
    """The socket knows it."""
    handOver("a", "b", "c")
    place = parseEndpoint(text).place
    assert isinstance(place, Place)
    assert inherited._find(place.options) == descriptor


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({"LISTEN_PID": "7", "LISTEN_FDS": "2"}, "unknown:unknown"),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": ""}, "unknown:unknown"),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "web"}, "web:unknown"),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "web:dns"}, "web:dns"),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "0"}, None),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "x"}, None),
        ({"LISTEN_PID": "8", "LISTEN_FDS": "2"}, None),
        ({"LISTEN_FDS": "2"}, None),
        ({}, None),
    ],
)
def test_socketsWithoutNames(environ: dict[str, str], names: str | None) -> None:
    """Names are optional to systemd, and not to Twisted: a socket has one, then."""
    inherited.nameSockets(environ, 7)
    assert environ.get("LISTEN_FDNAMES") == names
    handed = ListenFDs.fromEnvironment({**environ, "LISTEN_PID": str(os.getpid())})
    assert len(handed.inheritedDescriptors()) == (2 if names else 0)


@pytest.mark.parametrize("kind", ["STREAM", "DGRAM"])
@pytest.mark.parametrize(
    ("names", "which", "told"),
    [
        ((), "index=0", "systemd handed over no sockets: is there a .socket unit for this?"),
        ((), "name=web", "systemd handed over no sockets: is there a .socket unit for this?"),
        (("a",), "index=1", "systemd handed over 1 socket(s): the last index is 0"),
        (("a", "b"), "index=7", "systemd handed over 2 socket(s): the last index is 1"),
        (("a", "b"), "name=web", 'systemd handed over no socket named "web": there is a, b'),
    ],
)
def test_whatWasNotHandedOver(
    handOver: HandOver, kind: str, names: tuple[str, ...], which: str, told: str
) -> None:
    """Fails the Deferred, in words."""
    handOver(*names)
    endpoint = parseEndpoint(f"systemd:{which}:type={kind}")
    listening: Any
    if kind == "STREAM":
        listening = endpoint.openStream(MemoryReactor()).listen(Factory())
    else:
        listening = endpoint.openDatagram(MemoryReactor()).listen(DatagramProtocol())
    failures: list[Any] = []
    listening.addErrback(failures.append)
    assert [describeListenError(each.value) for each in failures] == [told]


@pytest.mark.parametrize("text", ["fd:3:type=DGRAM", "systemd:index=0:type=DGRAM"])
def test_amplification(text: str) -> None:
    """Datagrams have the limit of C{udp:}, and an operator may set it."""
    place = parseEndpoint(f"{text}:amplification=0.0").place
    assert isinstance(place, Place)
    assert place.options.amplification == 0
    left = parseEndpoint(text).place
    assert isinstance(left, Place)
    assert left.options.amplification is None


@pytest.mark.parametrize("text", ["fd:3", "systemd:index=0", "systemd:INET:0:type=STREAM"])
def test_amplificationOfStreams(text: str) -> None:
    """There is none, so whoever sets it takes the socket for another."""
    with pytest.raises(EndpointError, match='"amplification" is for datagrams: write "type=DGRAM"'):
        parseEndpoint(f"{text}:amplification=3")
