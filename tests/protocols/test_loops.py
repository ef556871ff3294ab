"""Two of our own datagram services, and somebody who forges sources."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from myserv.interfaces import IDatagramProtocolPlugin
from myserv.options.structure import structure
from myserv.protocols.chargen.plugin import chargen
from myserv.protocols.daytime.plugin import daytime
from myserv.protocols.discard.plugin import discard
from myserv.protocols.echo.plugin import echo
from myserv.protocols.qotd.plugin import qotd
from myserv.protocols.time.plugin import time
from myserv.server.context import ServiceContext
from myserv.server.datagram import DatagramListener
from myserv.server.reflection import OwnSockets
from myserv.testing import MemoryDatagramEndpoint, SteppedReactor, hostPlugin

HOST = "192.0.2.1"
PLUGINS: list[Any] = [chargen, daytime, discard, echo, qotd, time]


def named(plugin: IDatagramProtocolPlugin) -> str:
    """How a test names its plugins."""
    return plugin.name


@pytest.mark.parametrize("second", PLUGINS, ids=named)
@pytest.mark.parametrize("first", PLUGINS, ids=named)
def test_aForgedDatagramStartsNoLoop(
    first: IDatagramProtocolPlugin, second: IDatagramProtocolPlugin, tmp_path: Path
) -> None:
    """
    It seems to come from our other service, and causes one more at most.
    """
    reactor = SteppedReactor()
    ownSockets = OwnSockets()
    # Not asked of the system: a test has no sockets.
    ownSockets._local[HOST] = True
    endpoints = []
    for port, plugin in zip((7007, 7019), (first, second), strict=True):
        context = ServiceContext(plugin.name, reactor, lambda event: None, tmp_path)
        options = structure(plugin.optionsType, {})
        endpoint = MemoryDatagramEndpoint(reactor, (HOST, port))
        DatagramListener(
            plugin.name,
            "memory",
            endpoint,
            plugin.buildDatagramProtocol(context, options),
            reactor,
            context.emit,
            answersAnything=plugin.answersAnything,
            ownSockets=ownSockets,
        ).start()
        endpoints.append(endpoint)
    here, there = endpoints

    here.peer(there.address).sendDatagram(b"x" * 100)
    caused = 0
    for sender, receiver in itertools.islice(itertools.cycle([(here, there), (there, here)]), 20):
        reactor.settle()
        for datagram, destination in sender.sent:
            assert destination == receiver.address
            receiver.peer(sender.address).sendDatagram(datagram)
            caused += 1
        sender.sent.clear()
    assert caused <= 1


@pytest.mark.parametrize("port", [0, 7, 13, 17, 19, 37, 53, 69, 1023, 11211])
@pytest.mark.parametrize("plugin", PLUGINS, ids=named)
def test_aServiceElsewhereIsNotAnswered(plugin: IDatagramProtocolPlugin, port: int) -> None:
    """
    The source's port tells: services listen there, clients do not send from it.
    """
    server = hostPlugin(plugin)
    server.datagramPeer((HOST, port)).sendDatagram(b"x" * 100)
    server.settle()
    assert server.datagramEndpoint.sent == []


@pytest.mark.parametrize("plugin", PLUGINS, ids=named)
@pytest.mark.parametrize("source", [None, "", b""])
def test_aSourceWithoutANameIsNotAnswered(
    plugin: IDatagramProtocolPlugin, source: str | bytes | None
) -> None:
    """
    A UNIX socket that was never bound; the next is served all the same.
    """
    server = hostPlugin(plugin)
    server.datagramPeer(source).sendDatagram(b"x" * 100)
    server.settle()
    assert server.datagramEndpoint.sent == []
    server.datagramPeer("/run/client").sendDatagram(b"x" * 100)
    server.settle()
    assert len(server.datagramEndpoint.sent) == (1 if plugin.answersAnything else 0)
