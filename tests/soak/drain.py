"""
SIGTERM while requests are under way: every one of them is served.
"""

from __future__ import annotations

import signal
import time
from typing import Final

from attrs import frozen

from tests.soak.ground import HONEST, Ground, freePort, service, tcp, waitUntil

MODULE: Final = '''
from twisted.internet import reactor
from twisted.internet.protocol import Protocol

class Late(Protocol):
    """Answers after a second."""
    def dataReceived(self, data):
        reactor.callLater(1, self.transport.write, data)
'''


@frozen
class Size:
    """
    @ivar requests: How many are under way.
    """

    requests: int


LONG: Final = Size(requests=50)
QUICK: Final = Size(requests=20)


def run(ground: Ground, size: Size) -> None:
    """
    Over TCP, in one process and in two.
    """
    ground.write("mine.py", MODULE)
    for name, server in (("", ""), (", two workers", "[server]\nworkers = 2\n")):
        port = freePort()
        target = ground.launch(server + service("late", "mine:Late", tcp(port)))
        # Each worker says so.
        waitUntil(lambda: target.log.count(": serving\n") >= 1 + bool(server), 20)  # noqa: B023
        load = ground.attack(
            *("cycle", "-p", port, "-c", size.requests, "-k", size.requests, "-t", 20),
            *("-s", HONEST, "-b", ground.write("request", "a request")),
        )
        # They are connected, and have sent their requests, in much less.
        time.sleep(0.6)
        began = time.monotonic()
        target.process.send(signal.SIGTERM)
        result = load.result()
        finished = target.process.ended(60)
        ground.atLeast("served", result["answered"], size.requests)
        ground.atMost("the slowest", result["worst"], 3000, "ms", isTime=True)
        ground.atMost("ended after", time.monotonic() - began, 5, "s", isTime=True)
        ground.atMost("tracebacks", finished.output.count("Traceback"), 0)
        ground.line(f"drain{name}")
