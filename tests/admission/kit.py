"""What the tests of admission share: a server with a clock that they turn."""

from __future__ import annotations

from typing import Any, TypeVar

from attrs import evolve
from twisted.internet.address import IPv4Address, IPv6Address

from myserv.admission.arrival import Arrival
from myserv.admission.server import DEFAULT_PENALTIES, ServerAdmission
from myserv.admission.service import Admission
from myserv.events import Event
from myserv.limits import Limits, PenaltyLimits, structureLimits

E = TypeVar("E")

AT = "tcp:7000"


def limitsOf(**keys: object) -> Limits:
    """Limits, as an operator would write them."""
    if not keys.get("acceptRatePerPeer"):
        # It would have no meaning, and be refused.
        keys.pop("acceptBurstPerPeer", None)
    return structureLimits(keys)


def penaltiesOf(**keys: Any) -> PenaltyLimits:
    """Penalties, as a program would write them."""
    return evolve(DEFAULT_PENALTIES, **keys)


def host(text: str) -> IPv4Address | IPv6Address:
    """A peer at an address."""
    if ":" in text:
        return IPv6Address("TCP", text, 50000)
    return IPv4Address("TCP", text, 50000)


class Hall:
    """A server's admission, its clock, and what it said."""

    def __init__(self, **arguments: Any) -> None:
        self.now = 1000.0
        self.events: list[Event] = []
        self.server = ServerAdmission(lambda: self.now, self.events.append, **arguments)

    def service(self, name: str = "echo", extra: Any = (), **keys: object) -> Admission:
        """A service with some limits."""
        return self.server.service(name, limitsOf(**keys), extra)

    def said(self, kind: type[E]) -> list[E]:
        """The events of a kind, so far."""
        return [event for event in self.events if isinstance(event, kind)]


def letIn(admission: Admission, peer: Any = "192.0.2.1", credentials: Any = None) -> Arrival:
    """Admit somebody who has to be admitted."""
    arrival = tryIn(admission, peer, credentials)
    assert isinstance(arrival, Arrival), arrival
    return arrival


def tryIn(admission: Admission, peer: Any = "192.0.2.1", credentials: Any = None) -> Arrival | str:
    """Ask for somebody to be admitted."""
    address = host(peer) if isinstance(peer, str) else peer
    return admission.admit(address, AT, credentials)
