"""
Whom one service lets in.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IAddress

from myserv.admission.access import CredentialsRule, NetworkRule
from myserv.admission.addresses import PeerNumbers, hostOf
from myserv.admission.arrival import Arrival
from myserv.admission.counting import Places
from myserv.admission.penalties import Penalties, PenaltyRule
from myserv.admission.rates import AcceptRate, PeerAcceptRate
from myserv.admission.reasons import DATAGRAM_PEER_RATE, DATAGRAM_RATE, OTHER, PENALIZED
from myserv.admission.room import KEY as ROOM_KEY
from myserv.admission.room import Room
from myserv.admission.rule import ForeignRule, Rule
from myserv.admission.waiting import Waiting
from myserv.events import Event
from myserv.interfaces import IAdmissionRule, IPeerCredentials
from myserv.limits import Limits, WhenFull

COUNTED_REASONS: Final = 64
"""Reasons that are counted each on its own.  Ours are a dozen; a third party's rule
that puts an address into each of its sentences must not fill the memory."""

R = TypeVar("R")


class Admission:
    """
    The rules of one service, which all of its listeners share.

    The rules are asked in this order: the network, the credentials, penalties, the
    rate of the peer, the rate of all, the connections of the peer, of the service
    and of the server, and then those of third parties.  When one refuses, those
    before it take back what they gave.  A rule that is off is not asked.

    @ivar name: The service's.
    @ivar limits: Those in force.
    @ivar needsCredentials: L{admit} has to be given credentials, where there are any.
    @ivar ratesDatagrams: L{refusalOfDatagram} may refuse.
    @ivar refusals: How many arrivals were refused, by reason.
    @ivar version: Goes up when L{refusalOfSource} may answer otherwise than before,
        except that a penalty has worn off: who keeps its answers asks again after a
        while about those that were refused.
    """

    def __init__(
        self,
        name: str,
        limits: Limits,
        room: Room,
        penalties: Penalties,
        seconds: Callable[[], float],
        emit: Callable[[Event], None],
        share: float,
        extra: Sequence[IAdmissionRule],
    ) -> None:
        """
        Args:
            name: The service's.
            limits: Those in force.
            room: What the server has room for.
            penalties: Those of all peers.
            seconds: Tells the time.
            emit: Told when it is full, and when a third party's rule raises.
            share: The part of each rate that is this process's.
            extra: The rules of third parties.

        Raises:
            ConfigurationError: The limits name a user or a group that is not there.
        """
        self.name = name
        self.refusals: Counter[str] = Counter()
        self.version = 0
        self._room = room
        self._all = room.tallies
        self._tally = room.tallies.service(name)
        self._penalties = penalties
        self._seconds = seconds
        self._share = share
        self._waiting = Waiting(name, seconds, emit)
        self._datagram = Arrival(None, name, "", None, None)
        self._extra = [ForeignRule(rule, emit) for rule in extra]
        self._take(limits)

    @property
    def connections(self) -> int:
        """How many there are now, in this process."""
        return self._tally.here

    @property
    def full(self) -> str | None:
        """
        The key of the limit because of which arrivals are to wait.

        C{None} if there is room, or if they are to be refused instead.
        """
        return self._waiting.full

    def admit(
        self,
        address: IAddress | None,
        endpoint: str,
        credentials: IPeerCredentials | None = None,
    ) -> Arrival | str:
        """
        Let a connection in, or not.

        Args:
            address: Its C{getPeer()}.
            endpoint: The endpoint string where it arrived, in its canonical form.
            credentials: Who it is, over a UNIX socket.

        Returns:
            What to give to L{release} when it is gone; or why it is refused.
        """
        kind: Any = type(address)
        # Most are such; the others are asked in more ways.
        host = address.host if kind is IPv4Address else hostOf(address)  # type: ignore[union-attr]
        peer = self._peerOf[host]
        arrival = Arrival(address, self.name, endpoint, peer, credentials)
        # All at once: a third party's rule may have other limits applied meanwhile.
        admits, withdraws, releases = self._steps
        for admit in admits:
            reason = admit(arrival)
            if reason is not None:
                for withdraw in withdraws[len(admits) - admits.index(admit) :]:
                    withdraw(arrival)
                self._countRefusal(reason)
                break
        else:
            arrival.held = releases
        if (
            self._tally.total >= self._cap
            or self._all.total >= self._room.limit
            or self._waiting.isUnsettled
            or self._room.isFull
        ):
            self._settle()
        return arrival if reason is None else reason

    def release(self, arrival: Arrival) -> None:
        """
        A connection is gone.  To say so again does nothing.
        """
        held = arrival.held
        if held is None:
            return
        arrival.held = None
        for release in held:
            release(arrival)
        if self._waiting.isUnsettled or self._room.isFull:
            self._settle()

    def refusalOfSource(self, address: tuple[str, int]) -> str | None:
        """
        Say why the datagrams of a source are not taken; C{None}: they are.

        Only its network and its penalties count.  It is not among C{refusals}.
        """
        host = hostOf(address)
        if host is None:
            # Only the sockets of UNIX have sources without one.
            return None
        if self._networks is not None:
            reason = self._networks.refusalOf(host)
            if reason is not None:
                return reason
        if self._penalties.refused and self._penalties.isRefused(host):
            return PENALIZED
        return None

    def refusalOfDatagram(self, address: Any) -> str | None:
        """
        Take the tokens for a datagram, its source's and the service's.

        Args:
            address: Its source; a UNIX socket's path has no rate of its own.

        Returns:
            Why it is dropped; C{None}: it is not.
        """
        # One for all datagrams: the rates only look at whose it is.
        arrival = self._datagram
        arrival.peer = self._peerOf[hostOf(address)]
        ofPeer, ofAll = self._datagramPeerRate, self._datagramRate
        if ofPeer is not None and ofPeer.admit(arrival) is not None:
            return DATAGRAM_PEER_RATE
        if ofAll is not None and ofAll.admit(arrival) is not None:
            if ofPeer is not None:
                ofPeer.withdraw(arrival)
            return DATAGRAM_RATE
        return None

    def apply(self, limits: Limits) -> tuple[str, ...]:
        """
        Let other limits be in force.

        Connections that are over a lower limit stay.  Users and groups are looked up
        again, even if their names are the same.

        Returns:
            The keys that changed.

        Raises:
            ConfigurationError: The limits name a user or a group that is not there;
                nothing was changed.
        """
        before = self.limits
        changed = tuple(
            field.name
            for field in attrs.fields(Limits)
            if getattr(before, field.name) != getattr(limits, field.name)
        )
        if changed or self.needsCredentials:
            self._take(limits)
        return changed

    def watch(self, pause: Callable[[], None], resume: Callable[[], None]) -> Callable[[], None]:
        """
        Tell a listener when arrivals are to wait, and when no longer.

        Args:
            pause: Called when C{full} becomes true, from within L{admit}; and at once
                if it is.
            resume: Called when there is room again.

        Returns:
            What ends it.
        """
        return self._waiting.watch(pause, resume)

    # What the server asks of it.

    def recompose(self) -> None:
        """
        What it shares with other services has other limits.
        """
        limits, room = self.limits, self._room
        ofPeer: float | None = limits.maxConnectionsPerPeer
        ofService = limits.maxConnections or math.inf
        if ofPeer is None:
            most = min(ofService, room.limit)
            ofPeer = most if most == math.inf else math.ceil(most / 2)
        isUnaware = self._isUnaware if limits.whenFull is WhenFull.WAIT else None
        rules: list[Rule | None] = [
            self._networks,
            self._credentials,
            PenaltyRule(self._penalties) if self._penalties.limits.enabled else None,
            self._peerRate,
            self._rate,
            # Before those of third parties, who might let somebody else in meanwhile.
            Places(self._tally, self._all, ofPeer or math.inf, ofService, room.limit, isUnaware),
        ]
        rules += self._extra
        on = [rule for rule in rules if rule is not None]
        self._steps = (
            tuple(rule.admit for rule in on),
            # From the last to the first.
            tuple(rule.withdraw for rule in reversed(on)),
            # What an arrival holds is given back by these, whatever is in force then.
            tuple(rule.release for rule in reversed(on) if isinstance(rule, _HOLDING)),
        )
        self._cap = ofService if limits.whenFull is WhenFull.WAIT else math.inf
        self.version += 1
        self._settle()

    def lookAgain(self) -> None:
        """
        There may be room, or none, because of others.
        """
        tally = self._tally
        limit = None
        if self.limits.whenFull is WhenFull.WAIT:
            if tally.isShared and self._cap < math.inf:
                tally.look()
            if tally.total >= self._cap:
                limit = "maxConnections"
            elif self._room.isFull:
                limit = ROOM_KEY
        connections = self._all.total if limit == ROOM_KEY else tally.total
        self._waiting.settle(limit, connections)

    def leave(self) -> None:
        """
        The service is going: its listeners are told nothing more, and nobody of it.
        """
        self._waiting = Waiting(self.name, self._seconds, lambda event: None)

    # Our own.

    def _take(self, limits: Limits) -> None:
        # What may raise comes first.
        credentials = None
        if limits.users or limits.groups:
            credentials = CredentialsRule(limits.users, limits.groups)
        self._credentials = credentials
        self.needsCredentials = credentials is not None
        self._networks = None
        if limits.allow or limits.deny:
            self._networks = NetworkRule(limits.allow, limits.deny)
        self._takeRates(limits)
        self._peerOf = PeerNumbers(limits.peerPrefix4, limits.peerPrefix6).of
        self.limits = limits
        self.recompose()

    def _takeRates(self, limits: Limits) -> None:
        # Buckets whose limits stay the same stay as empty as they are.
        before: Limits | None = getattr(self, "limits", None)

        def changed(*keys: str) -> bool:
            return before is None or any(
                getattr(before, key) != getattr(limits, key) for key in keys
            )

        if changed("acceptRate", "acceptBurst"):
            self._rate = self._bucketOf(AcceptRate, limits.acceptRate, limits.acceptBurst)
        if changed("acceptRatePerPeer", "acceptBurstPerPeer"):
            self._peerRate = self._bucketOf(
                PeerAcceptRate, limits.acceptRatePerPeer, limits.acceptBurstPerPeer
            )
        if changed("datagramRate"):
            self._datagramRate = self._bucketOf(AcceptRate, limits.datagramRate, 0)
        if changed("datagramRatePerPeer", "datagramBurstPerPeer"):
            self._datagramPeerRate = self._bucketOf(
                PeerAcceptRate, limits.datagramRatePerPeer, limits.datagramBurstPerPeer
            )
        self.ratesDatagrams = bool(limits.datagramRate or limits.datagramRatePerPeer)

    def _bucketOf(self, kind: Callable[..., R], rate: float, burst: int) -> R | None:
        return kind(self._seconds, *self._shareOf(rate, burst)) if rate else None

    def _shareOf(self, rate: float, burst: float) -> tuple[float, float]:
        return rate * self._share, max(1.0, (burst or rate) * self._share)

    def _isUnaware(self) -> bool:
        return self._waiting.full is None

    def _countRefusal(self, reason: str) -> None:
        if reason not in self.refusals and len(self.refusals) >= COUNTED_REASONS:
            reason = OTHER
        self.refusals[reason] += 1

    def _settle(self) -> None:
        self._room.settle()
        self.lookAgain()


_HOLDING: Final = (Places, ForeignRule)
"""The rules that an arrival holds something of for as long as it is there."""
