"""Networks that lose, double and delay."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.endpoints.dtls.stage import Client, Link, Stage, staged

BAD = {"loss": 0.2, "doubling": 0.1, "delay": 0.2}


def clientOver(stage: Stage, seed: int, **network: float) -> Client:
    """A client on a network of its own."""
    rng = random.Random(seed)
    return stage.client(out=Link(rng, **network), back=Link(rng, **network))


@pytest.mark.parametrize("seed", range(40))
def test_handshake(tmp_path: Path, seed: int) -> None:
    """A handshake succeeds where one datagram in five is lost, each way."""
    with staged(tmp_path, mtu=400) as stage:
        client = clientOver(stage, seed, loss=0.2)
        client.begin()
        stage.until(lambda: client.isOpen, 120)
        while not client.received:
            client.write(b"hello")
            stage.advance(0.5)
        assert set(client.received) == {b"hello"}


def test_doubled(tmp_path: Path) -> None:
    """Where every datagram comes twice there is one handshake, and each word is heard once."""
    with staged(tmp_path) as stage:
        client = clientOver(stage, 1, doubling=1.0)
        client.begin()
        stage.until(lambda: client.isOpen, 1)
        client.write(b"hello")
        stage.advance(1)
        assert client.received == [b"hello"]
        assert stage.layer.handshakesStarted == 1


@pytest.mark.parametrize("seed", range(20))
def test_reordered(tmp_path: Path, seed: int) -> None:
    """Where datagrams overtake each other a handshake succeeds at once."""
    with staged(tmp_path, mtu=300) as stage:
        client = clientOver(stage, seed, delay=0.5)
        client.begin()
        stage.until(lambda: client.isOpen, 5)
        assert stage.layer.handshakesStarted == 1


def test_crowd(tmp_path: Path) -> None:
    """Many clients at a time on a bad network, who all get through."""
    # A client that retransmits for longer than that mixes two handshakes up.
    with staged(tmp_path, mtu=500, handshakeTimeout="60s") as stage:
        clients = [clientOver(stage, seed, **BAD) for seed in range(60)]
        for client in clients:
            client.begin()
        stage.until(lambda: all(client.isOpen for client in clients), 120)
        for number in range(20):
            for client in clients:
                client.write(b"%d" % number)
            stage.advance(0.1)
        stage.advance(0.2)
        received = sum(len(client.received) for client in clients)
        # Four of five, twice.
        assert 0.55 < received / (60 * 20) < 0.75
        assert all(len(set(each.received)) == len(each.received) for each in clients)


def test_lastFlightLost(tmp_path: Path) -> None:
    """A client whose end of the handshake was lost is sent it again."""
    with staged(tmp_path) as stage:
        back = Link()
        client = stage.client(back=back)
        client.begin()
        stage.reactor.settle()
        while not stage.layer.associations:
            client.pump()
            stage.reactor.settle()
        client.peer.take()
        assert not client.isOpen
        stage.until(lambda: client.isOpen, 2)
        client.write(b"hello")
        stage.settle()
        assert client.received == [b"hello"]


def test_firstHelloLost(tmp_path: Path) -> None:
    """A client that had to ask for its cookie again loses no more time than that."""
    with staged(tmp_path) as stage:
        client = stage.client()
        client.begin()
        stage.endpoint.socket.incoming.clear()  # type: ignore[union-attr]
        stage.until(lambda: client.isOpen, 1.3)
