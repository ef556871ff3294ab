"""The whole of it, hosted in memory."""

from __future__ import annotations

from myserv_gauges.plugin import gauges

from myserv.discovery import installedPlugins
from myserv.testing import (
    Exchange,
    MemoryServer,
    checkDatagramPlugin,
    checkStreamPlugin,
    hostPlugin,
)

TOO_LONG = b"x" * 81
USE = b"error use: set NAME NUMBER, get NAME, list [PREFIX], watch [PREFIX]\n"


def host(**options: object) -> MemoryServer:
    """Serve it with what an operator would write."""
    return hostPlugin(gauges, options)


def test_it_is_installed() -> None:
    """Where the package is installed, every myserv knows the protocol."""
    found = installedPlugins().find("gauges")
    assert found is gauges


def test_stream() -> None:
    """A conversation works however it arrives, and leaves nothing behind."""
    checkStreamPlugin(
        gauges,
        [
            Exchange(b"set a 1\n", b"ok\n"),
            Exchange(b"get a\r\n", b"a 1\n"),
            Exchange(b"get b\n", b"none\n"),
            Exchange(b"list\n", b"a 1\nend\n"),
            Exchange(b"what?\n", USE),
            Exchange(b"watch a\n", b"ok\n"),
            Exchange(b"set a 2\n", b"a 2\nok\n"),
            Exchange(TOO_LONG, b"error a line may have 80 bytes\n", closes=True),
        ],
        {"maxLine": "80B"},
        # Who connects later finds what the first has set.
        isolated=False,
    )


def test_datagram() -> None:
    """Nothing that a sensor sends is answered, and nothing raises."""
    checkDatagramPlugin(gauges, [Exchange(b"set a 1"), Exchange(b"get a"), Exchange(TOO_LONG)])


def test_sensors_and_watchers() -> None:
    """What one reports in a datagram another hears over its connection."""
    server = host()
    watcher, asker = server.connect(), server.connect()
    watcher.send(b"watch boiler.\n")
    server.settle()
    server.datagramPeer().sendDatagram(b"set boiler.x 1\nnonsense\nset lake.x 2\nset boiler.y 3\n")
    server.settle()
    asker.send(b"list\n")
    server.settle()
    assert watcher.take() == b"ok\nboiler.x 1\nboiler.y 3\n"
    assert asker.take() == b"boiler.x 1\nboiler.y 3\nlake.x 2\nend\n"


def test_services_are_apart() -> None:
    """Two services of this protocol in one server have nothing in common."""
    first, second = host(), host()
    first.datagramPeer().sendDatagram(b"set a 1")
    first.settle()
    peer = second.connect()
    peer.send(b"list\n")
    second.settle()
    assert peer.take() == b"end\n"


def test_full() -> None:
    """Whoever sets one gauge too many is told so over a connection."""
    server = host(maxGauges=1)
    server.datagramPeer().sendDatagram(b"set a 1\nset b 1\n")
    server.settle()
    peer = server.connect()
    peer.send(b"set b 1\nset a 2\nlist\n")
    server.settle()
    assert peer.take() == b"error there is no room for another gauge\nok\na 2\nend\n"


def test_slow_watcher() -> None:
    """A watcher that does not read costs a bounded amount, and learns how much it missed."""
    server = host()
    slow, asker = server.connect(), server.connect()
    slow.send(b"watch\n")
    server.settle()
    assert slow.take() == b"ok\n"
    slow.pauseReading()
    sensor = server.datagramPeer()
    for number in range(300):
        sensor.sendDatagram(b"".join(b"set a%d %d\n" % (i, number) for i in range(100)))
        server.settle()
    slow.resumeReading()
    server.settle()
    *told, missed = slow.take().splitlines()
    assert missed == b"missed %d" % (30_000 - len(told))
    assert len(told) < 20_000
    asker.send(b"get a0\n")
    server.settle()
    assert asker.take() == b"a0 299\n"


def test_slow_asker() -> None:
    """Requests of a peer that does not read its answers wait, and are answered when it does."""
    server = host()
    server.datagramPeer().sendDatagram(b"".join(b"set a%d 1\n" % i for i in range(1000)))
    peer = server.connect()
    server.settle()
    peer.pauseReading()
    peer.send(b"list\n" * 100)
    peer.closeWrite()
    server.settle()
    assert server.streamListener is not None
    (connection,) = server.streamListener.connections
    assert connection.bytesSent < 300_000
    peer.resumeReading()
    server.settle()
    assert peer.take().count(b"end\n") == 100
    assert peer.closed


def test_drain() -> None:
    """Whoever watches is told that it is over."""
    server = host()
    peer = server.connect()
    peer.send(b"watch\n")
    server.settle()
    server.stop()
    assert peer.take() == b"ok\nbye\n"
    assert peer.closed
