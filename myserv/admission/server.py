"""
What all services of a process share: how much room there is, and who misbehaved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from myserv.admission.addresses import hostOf
from myserv.admission.local import LocalTallies
from myserv.admission.penalties import Penalties
from myserv.admission.room import Room
from myserv.admission.service import Admission
from myserv.admission.tallies import Tallies
from myserv.events import Event, Offence, Peer, PeerPenalized
from myserv.interfaces import IAdmissionRule
from myserv.limits import Limits, PenaltyLimits

DEFAULT_PENALTIES: Final = PenaltyLimits()
"""With nothing configured."""


class ServerAdmission:
    """
    Whom a server lets in.

    @ivar penalized: Called with the peer's number and the seconds of each penalty
        that was given here, for whoever tells other processes; they call
        L{learnPenalty}.
    """

    def __init__(
        self,
        seconds: Callable[[], float],
        emit: Callable[[Event], None],
        *,
        room: int = 0,
        penalties: PenaltyLimits = DEFAULT_PENALTIES,
        tallies: Tallies | None = None,
        share: float = 1.0,
    ) -> None:
        """
        Args:
            seconds: Tells the time.
            emit: Where facts go.
            room: Connections at once of all services, in all processes; 0: no limit.
            penalties: What misbehaviour costs.
            tallies: Where connections are counted; C{None}: this process serves alone.
            share: The part of each rate that is this process's: one of eight
                processes lets in an eighth.
        """
        self._seconds = seconds
        self._emit = emit
        self._share = share
        self._room = Room(LocalTallies() if tallies is None else tallies, room)
        self._penalties = Penalties(seconds, penalties)
        self._services: dict[str, Admission] = {}
        self.penalized: Callable[[int, float], None] | None = None

    @property
    def connections(self) -> int:
        """How many there are now, of all services, in this process."""
        return self._room.tallies.here

    def service(self, name: str, limits: Limits, extra: Sequence[IAdmissionRule] = ()) -> Admission:
        """
        Make the rules of a service.

        Args:
            name: Its name.  If there is one of this name, this one takes its place,
                and goes on with its counts.
            limits: Its limits.
            extra: Third parties' rules, which are asked last.

        Raises:
            ConfigurationError: The limits name a user or a group that is not there.
        """
        admission = Admission(
            name,
            limits,
            self._room,
            self._penalties,
            self._seconds,
            self._emit,
            self._share,
            extra,
        )
        self._services[name] = admission
        self._room.settlers[name] = admission.lookAgain
        return admission

    def forget(self, name: str) -> None:
        """
        A service is going.  Those of its connections that are left stay counted, but
        nobody waits for it any more.
        """
        admission = self._services.pop(name, None)
        self._room.settlers.pop(name, None)
        if admission is not None:
            admission.leave()

    def penalize(self, service: str, peer: Peer, reason: str, offence: Offence) -> None:
        """
        Count misbehaviour against a peer.

        Args:
            service: Where it misbehaved.
            peer: Who; one without an IP address is not penalized, but it is told of.
            reason: What it did, in a few words.
            offence: What kind of misbehaviour it is.
        """
        refusedFor = 0.0
        limits = self._penalties.limits
        cost = limits.costOf(offence)
        number = self._penalties.peerOf(hostOf(peer)) if limits.enabled and cost > 0 else None
        if number is not None:
            refusedFor = self._add(number, cost)
            if self.penalized is not None:
                self.penalized(number, cost)
        self._emit(PeerPenalized(service, peer, reason, offence, refusedFor))

    def learnPenalty(self, key: int, seconds: float) -> None:
        """
        Another process penalized a peer: count it here, too.

        Args:
            key: The peer's number, as C{penalized} was told.
            seconds: What it cost.
        """
        if self._penalties.limits.enabled:
            self._add(key, seconds)

    def _add(self, number: int, cost: float) -> float:
        wasRefused = number in self._penalties.refused
        refusedFor = self._penalties.add(number, cost)
        if refusedFor and not wasRefused:
            for service in self._services.values():
                service.version += 1
        return refusedFor

    def apply(self, room: int, penalties: PenaltyLimits) -> None:
        """
        Let other limits be in force.

        Args:
            room: Connections at once of all services; 0: no limit.
            penalties: What misbehaviour costs.  What was collected stays.
        """
        self._penalties.apply(penalties)
        self._room.setLimit(room)
        for service in tuple(self._services.values()):
            service.recompose()

    def lookAgain(self) -> None:
        """
        Let those go on who waited for room that another process made.

        Call it about once a second where several processes serve; alone it does
        nothing but say sooner that a service has room.
        """
        self._room.settle()
        for service in tuple(self._services.values()):
            service.lookAgain()
