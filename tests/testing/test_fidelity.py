"""The memory transport does what every scenario asks."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from myserv.testing import MemoryEndpoint, MemoryPeer, SteppedReactor
from tests.testing.scenarios import SCENARIOS, Scenario


class MemoryWire:
    """Plays scenarios in memory."""

    def __init__(self) -> None:
        self.reactor = SteppedReactor()

    async def connect(self, protocol: Protocol) -> MemoryPeer:
        """Connect a client to a server that serves it with this protocol."""
        endpoint = MemoryEndpoint(self.reactor)
        await endpoint.listen(Factory.forProtocol(lambda: protocol))
        client = endpoint.connect()
        client.stay()
        client.stay()
        await self.settle()
        return client

    async def settle(self) -> None:
        """Wait until nothing more happens."""
        assert self.reactor.settle()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_memoryPlaysScenario(scenario: Scenario) -> None:
    """What has to happen happens, in its order."""
    wire = MemoryWire()
    played: list[list[str]] = []
    Deferred.fromCoroutine(scenario.play(wire)).addCallback(played.append)  # type: ignore[arg-type]
    assert played == [list(scenario.expected)]
    assert wire.reactor.getDelayedCalls() == []
