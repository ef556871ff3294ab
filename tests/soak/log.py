"""
A protocol that raises on each request: the log does not fill the disk.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from tests.soak.ground import ATTACKER, Ground, freePort, service, tcp, waitUntil

MOST: Final = 1024
"""KiB of log, of all requests."""

MOST_A_SECOND: Final = 10
"""KB of log a second, of datagrams; stock Twisted writes 21 MB."""

MODULE: Final = '''
from twisted.internet.protocol import DatagramProtocol, Protocol

class Bad(Protocol):
    """Has a bug."""
    def dataReceived(self, data):
        raise ValueError("a bug of the author's: " + data.hex())

class BadDatagrams(DatagramProtocol):
    """Has the same."""
    def datagramReceived(self, datagram, addr):
        raise ValueError("a bug of the author's: " + datagram.hex())
'''


@frozen
class Size:
    """
    @ivar requests: How many.
    @ivar seconds: How long datagrams come.
    """

    requests: int
    seconds: float


LONG: Final = Size(requests=20_000, seconds=10)
QUICK: Final = Size(requests=2_000, seconds=3)


def run(ground: Ground, size: Size) -> None:
    """
    Streams, then datagrams.
    """
    ground.write("mine.py", MODULE)
    port, udp = freePort(), freePort()
    for name, limits in (("streams", ""), ("streams, connections logged", LOGGED)):
        target = ground.serve(limits + service("bad", "mine:Bad", tcp(port)))
        before = len(target.log)
        result = ground.attack(
            *("cycle", "-p", port, "-c", size.requests, "-t", 60, "-e", "-s", ATTACKER),
            *("-b", ground.write("bad", b"\x00bad request\xff")),
        ).result()
        cut = result["reset"] + result["ended"]
        ground.atLeast("requests that ended", cut, size.requests)
        ground.note("a second", result["made"] / result["seconds"])
        finished = target.process.stop()
        ground.atMost("log", (len(finished.output) - before) / 1024, MOST, "KiB")
        ground.atLeast("tracebacks", finished.output.count("Traceback"), 1)
        ground.line(f"log, {name}")

    target = ground.serve(
        service("bad", "mine:BadDatagrams", f"udp:{udp}:interface=127.0.0.1")
        + service("echo", "echo", tcp(port)),
        2,
    )
    before = len(target.log)
    flood = ground.attack("flood", "-p", udp, "-t", size.seconds, "-s", ATTACKER).result()
    asked = ground.probe("tcp", port, seconds=1).result()
    waitUntil(lambda: False, 1)
    ground.note("datagrams a second", flood["made"] / flood["seconds"])
    ground.atMost("log", (len(target.log) - before) / 1000 / size.seconds, MOST_A_SECOND, "KB/s")
    ground.atLeast("tracebacks", target.log.count("Traceback"), 1)
    ground.atMost("another client's failures", asked["failed"], 0)
    target.process.stop()
    ground.line("log, datagrams")


LOGGED: Final = "[server]\nlogConnections = true\n"
