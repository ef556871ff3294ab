"""The sockets that workers share: real ones."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from myserv.errors import ListenError
from myserv.workers.bank import Bank, adoptGroups, describeGroups
from myserv.workers.blueprint import WantedPlace
from myserv.workers.shareable import Sharing
from tests.wire.processes import freePort

pytestmark = pytest.mark.wire


def place(text: str, service: str = "echo", index: int = 0) -> WantedPlace:
    """A place that somebody wants."""
    prefix = text.partition(":")[0]
    sharing = Sharing.GROUP
    if prefix in ("unix", "fd"):
        sharing = Sharing.FIRST if "DGRAM" in text else Sharing.COMMON
    elif prefix == "unixgram":
        sharing = Sharing.FIRST
    return WantedPlace(service, index, text, text, sharing.value, "a.toml:4:1", (service, index))


@pytest.fixture
def bank() -> Iterator[Bank]:
    """One with nothing in it."""
    made = Bank()
    yield made
    made.close()


def connects(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody listens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as client:
        return client.connect_ex((host, port)) == 0


@pytest.mark.parametrize("prefix", ["tcp", "udp"])
def test_aGroup(bank: Bank, prefix: str) -> None:
    """A socket for each worker, on one port; all get some."""
    opening = bank.open([place(f"{prefix}:0:interface=127.0.0.1")], 3)
    opening.keep()
    [group] = opening.groups.values()
    ports = {each.getsockname()[1] for each in group.sockets}
    assert len(ports) == 1
    [port] = ports
    kind = socket.SOCK_STREAM if prefix == "tcp" else socket.SOCK_DGRAM
    clients = [socket.socket(socket.AF_INET, kind) for _ in range(60)]
    for each in clients:
        each.connect(("127.0.0.1", port))
        if prefix == "udp":
            each.send(b"?")
    for each in group.sockets:
        if prefix == "tcp":
            accepted, _ = each.accept()
            accepted.close()
        else:
            assert each.recv(10) == b"?"
    for each in clients:
        each.close()
    assert [group.descriptorsFor(worker, 3) for worker in (1, 2, 3)] == [
        [each.fileno()] for each in group.sockets
    ]


def test_moreAndFewerWorkers(bank: Bank) -> None:
    """A group grows, and never shrinks: some then serve several sockets."""
    wanted = place(f"tcp:{freePort()}:interface=127.0.0.1")
    bank.open([wanted], 2).keep()
    opening = bank.open([wanted], 3)
    opening.keep()
    [group] = opening.groups.values()
    first, second, third = [each.fileno() for each in group.sockets]
    again = bank.open([wanted], 2)
    assert again.keep() == []
    [same] = again.groups.values()
    assert same is group
    assert group.descriptorsFor(1, 2) == [first, third]
    assert group.descriptorsFor(2, 2) == [second]


def test_whatIsTaken(bank: Bank) -> None:
    """Another server's port is noticed, shared or not, and nothing stays open."""
    with socket.socket() as other, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        for each in (other, datagrams):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            each.bind(("127.0.0.1", 0))
        other.listen()
        free = freePort()
        wanted = [
            place(f"tcp:{free}:interface=127.0.0.1"),
            place(f"tcp:{other.getsockname()[1]}:interface=127.0.0.1", index=1),
            place(f"udp:{datagrams.getsockname()[1]}:interface=127.0.0.1", index=2),
        ]
        with pytest.raises(ListenError) as raised:
            bank.open(wanted, 2)
        assert len(raised.value.problems) == 2
        assert str(raised.value.problems[0]).startswith("a.toml:4:1: echo[1]: cannot listen on tcp")
        assert bank.groups == {}
        assert not connects(free)
        shared = place(f"tcp:{other.getsockname()[1]}:interface=127.0.0.1:reusePort=true")
        bank.open([shared], 2).keep()


def test_anInterfaceBesideAllOfThem(bank: Bank) -> None:
    """A reload may go from one interface to all of them, and back."""
    port = freePort()
    one, everywhere = place(f"tcp:{port}:interface=127.0.0.1"), place(f"tcp:{port}")
    for before, after in ((one, everywhere), (everywhere, one)):
        bank.open([before], 2).keep()
        dropped = bank.open([after], 2).keep()
        assert [each.key for each in dropped] != [*bank.groups]
        for each in dropped:
            each.close()
        assert connects(port)


def test_aReloadThatFails(bank: Bank) -> None:
    """What was opened for it is closed again, and only that."""
    port, other = freePort(), freePort()
    wanted = place(f"tcp:{port}:interface=127.0.0.1")
    bank.open([wanted], 2).keep()
    opening = bank.open([wanted, place(f"tcp:{other}:interface=127.0.0.1", index=1)], 3)
    assert connects(other)
    opening.undo()
    assert not connects(other)
    assert connects(port)
    [group] = bank.groups.values()
    assert len(group.sockets) == 2


def test_ipv6(bank: Bank) -> None:
    """An address may name its link."""
    opening = bank.open([place("tcp6:0:interface=\\:\\:1"), place("udp6:0", index=1)], 2)
    group = opening.groups["echo", 0]
    assert connects(group.sockets[1].getsockname()[1], "::1")


def test_socketFiles(bank: Bank, tmp_path: Path) -> None:
    """All workers accept from one; the mode may change; the file goes with the socket."""
    path, datagrams = tmp_path / "a.sock", tmp_path / "b.sock"
    wanted = [place(f"unix:{path}:mode=600"), place(f"unixgram:{datagrams}:mode=600", index=1)]
    opening = bank.open(wanted, 2)
    opening.keep()
    stream, datagram = opening.groups.values()
    assert path.stat().st_mode & 0o777 == 0o600
    assert stream.descriptorsFor(1, 2) == stream.descriptorsFor(2, 2) != []
    assert datagram.descriptorsFor(1, 2) != datagram.descriptorsFor(2, 2) == []
    bank.open([place(f"unix:{path}:mode=660"), wanted[1]], 2).keep()
    assert path.stat().st_mode & 0o777 == 0o660
    datagrams.unlink()
    [gone] = bank.open(wanted[:1], 2).keep()
    gone.close()
    bank.close()
    assert not path.exists()


def test_aSocketFileThatSomebodyRemoved(bank: Bank, tmp_path: Path) -> None:
    """Nobody can reach its socket any more: the next reload makes another."""
    path = tmp_path / "a.sock"
    wanted = place(f"unix:{path}")
    bank.open([wanted], 2).keep()
    path.unlink()
    opening = bank.open([wanted], 2)
    [lost] = opening.keep()
    lost.close()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    bank.close()
    assert not path.exists()


def test_anInheritedSocket(bank: Bank) -> None:
    """It is used as it is, and stays the next time."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        wanted = place(f"fd:{listening.fileno()}")
        opening = bank.open([wanted], 2)
        opening.keep()
        [group] = opening.groups.values()
        assert group.sockets[0].getsockname() == listening.getsockname()
        assert bank.open([wanted], 2).keep() == []


def test_theNextProgram(bank: Bank, tmp_path: Path) -> None:
    """It finds the same sockets, and knows which is which."""
    wanted = [place("tcp:0:interface=127.0.0.1"), place(f"unix:{tmp_path / 'a.sock'}", index=1)]
    bank.open(wanted, 2).keep()
    described = describeGroups(bank.groups)
    for each in described:
        each["descriptors"] = [os.dup(number) for number in each["descriptors"]]
    again = adoptGroups(described)
    assert again.open(wanted, 2).keep() == []
    assert again.groups.keys() == bank.groups.keys()
    port = next(iter(bank.groups.values())).sockets[0].getsockname()[1]
    for group in bank.groups.values():
        group.sockets[0].close()
    again.close()
    assert not connects(port) or len(bank.groups) == 2
    assert not (tmp_path / "a.sock").exists()
