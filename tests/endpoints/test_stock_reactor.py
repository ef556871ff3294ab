"""Whose ports are used."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet import asyncioreactor, epollreactor, pollreactor, selectreactor
from twisted.internet.testing import MemoryReactor

from myserv.endpoints.stock_reactor import isMadeFromStock, isStock


@pytest.mark.parametrize(
    "kind",
    [
        epollreactor.EPollReactor,
        pollreactor.PollReactor,
        selectreactor.SelectReactor,
        asyncioreactor.AsyncioSelectorReactor,
    ],
)
def test_twistedsOwn(kind: Any) -> None:
    """Ours stand in for theirs."""
    # Without the descriptors that a reactor opens.
    assert isStock(object.__new__(kind))
    assert isMadeFromStock(object.__new__(kind))


def test_others() -> None:
    """One that brings its own ports, and one that has none."""

    class Native(epollreactor.EPollReactor):
        def listenTCP(self, *arguments: Any, **named: Any) -> Any:
            raise NotImplementedError

    assert not isStock(object.__new__(Native))
    # It watches sockets as they do.
    assert isMadeFromStock(object.__new__(Native))
    assert not isStock(MemoryReactor())
    assert not isMadeFromStock(MemoryReactor())
    assert not isStock(object())
