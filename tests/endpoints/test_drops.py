"""Counting what is thrown away."""

from __future__ import annotations

from twisted.internet.task import Clock

from myserv.endpoints.bare import BareContext
from myserv.endpoints.drops import REPORT_INTERVAL, Drops
from myserv.events import DatagramsDropped
from myserv.testing import RecordingObserver


def test_drops() -> None:
    """The first is told of at once, the next ones together, each reason by itself."""
    clock, observer = Clock(), RecordingObserver()
    context = BareContext(clock, "dtls:udp:1")
    context.emit = observer.observe  # type: ignore[method-assign]
    drops = Drops(context)

    def told() -> list[tuple[str, int, object]]:
        events = observer.ofType(DatagramsDropped)
        observer.take()
        return [(each.reason, each.count, each.peer) for each in events]

    drops.add("junk", ("192.0.2.1", 1))
    assert told() == [("junk", 1, ("192.0.2.1", 1))]
    drops.add("junk", ("192.0.2.1", 2))
    drops.add("full", ("192.0.2.1", 3))
    assert told() == [("full", 1, ("192.0.2.1", 3))]
    clock.advance(REPORT_INTERVAL)
    drops.add("junk", ("192.0.2.1", 4))
    assert told() == [("junk", 2, ("192.0.2.1", 4))]
    drops.add("junk", ("192.0.2.1", 5))
    drops.report()
    drops.report()
    assert told() == [("junk", 1, ("192.0.2.1", 5))]
    assert drops.total == {"junk": 4, "full": 1}
