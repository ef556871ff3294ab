"""
Two services and an observer that counts their connections: twistd -ny tac/observed.tac
"""

from collections import Counter

from twisted.application import service
from zope.interface import implementer

from myserv.app import makeService
from myserv.events import ConnectionEnded, ConnectionStarted
from myserv.interfaces import IEventObserver


@implementer(IEventObserver)
class Census:
    """Prints how many connections each service has whenever that changes."""

    def __init__(self):
        self.open = Counter()

    def observe(self, event):
        match event:
            case ConnectionStarted():
                self.open[event.service] += 1
            case ConnectionEnded():
                self.open[event.service] -= 1
            case _:
                return
        print(", ".join(f"{name}: {count} open" for name, count in self.open.items()))


application = service.Application("observed")
census = Census()

for name, port in {"echo": 7007, "discard": 7009}.items():
    makeService(
        name, listen=f"tcp:{port}:interface=127.0.0.1", observers=[census]
    ).setServiceParent(application)
