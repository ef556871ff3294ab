"""What the tests of every built-in get: its two doors, opened in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import FakeDatagramTransport, StringTransport

from myserv.interfaces import IDatagramProtocolPlugin, IStreamProtocolPlugin
from myserv.options.structure import structure
from myserv.server.context import ServiceContext

CLIENT = ("192.0.2.7", 40000)
ADDRESS = IPv4Address("TCP", *CLIENT)

Connect = Callable[..., tuple[Any, StringTransport]]
Ask = Callable[..., bytes]


@pytest.fixture
def clock() -> Clock:
    """The time that the services tell."""
    return Clock()


@pytest.fixture
def context(clock: Clock, tmp_path: Path) -> ServiceContext:
    """What a plugin is handed."""
    return ServiceContext("service", clock, lambda event: None, tmp_path)


@pytest.fixture
def connect(context: ServiceContext) -> Connect:
    """Connect to a plugin: returns the protocol and its transport."""

    def connectTo(plugin: IStreamProtocolPlugin, **options: object) -> tuple[Any, StringTransport]:
        factory = plugin.buildFactory(context, structure(plugin.optionsType, options))
        protocol: Any = factory.buildProtocol(ADDRESS)
        transport = StringTransport()
        protocol.makeConnection(transport)
        return protocol, transport

    return connectTo


@pytest.fixture
def ask(context: ServiceContext) -> Ask:
    """Send a plugin one datagram: returns its answer."""

    def askIt(plugin: IDatagramProtocolPlugin, datagram: bytes, **options: object) -> bytes:
        protocol = plugin.buildDatagramProtocol(context, structure(plugin.optionsType, options))
        transport = FakeDatagramTransport()
        protocol.makeConnection(transport)
        protocol.datagramReceived(datagram, CLIENT)
        [(answer, address)] = transport.written
        assert address == CLIENT
        return bytes(answer)

    return askIt
