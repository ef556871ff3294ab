"""
What an operator may limit: every key, its unit, its default and where that comes from.

A service's limits come from four places.  The last that says something counts:
the defaults here, what the protocol's plugin recommends, the table C{[limits]} for
all services, and C{[services.NAME.limits]} for one.  docs/discussion/limits.md says
what each looks like to a peer.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final

from attrs import frozen

from myserv.errors import ConfigurationError, Problem
from myserv.events import Offence
from myserv.options.declare import option
from myserv.options.structure import structure
from myserv.options.values import Duration, IPNetwork, Size


class WhenFull(enum.Enum):
    """What becomes of an arrival when there is no room for it."""

    WAIT = "wait"
    """It waits in the kernel's backlog until somebody leaves (Ranch)."""

    REFUSE = "refuse"
    """It is closed at once."""


_BURSTS: Final = {
    "acceptBurst": "acceptRate",
    "acceptBurstPerPeer": "acceptRatePerPeer",
    "datagramBurstPerPeer": "datagramRatePerPeer",
}


@frozen
class Limits:
    """
    The limits of one service.  A number or a duration of 0 means: no limit.
    """

    # Who may come in.

    allow: tuple[IPNetwork, ...] = option((), help="networks that are let in, and no other")
    deny: tuple[IPNetwork, ...] = option(
        (), help="networks that are not let in; where both match, the longer prefix decides"
    )
    users: tuple[str, ...] = option(
        (), help="of a UNIX socket, the users that are let in, by name or number"
    )
    groups: tuple[str, ...] = option(
        (), help="of a UNIX socket, the groups that are let in, by name or number"
    )

    # How many.

    maxConnections: int = option(0, minimum=0, help="connections at once")
    whenFull: WhenFull = option(
        WhenFull.WAIT, help="at maxConnections: let arrivals wait, or refuse them"
    )
    maxConnectionsPerPeer: int | None = option(
        None,
        minimum=0,
        help="connections at once of one peer (half of what there is room for)",
    )
    peerPrefix4: int = option(
        32, minimum=0, maximum=32, help="IPv4 addresses with this prefix in common are one peer"
    )
    peerPrefix6: int = option(
        64, minimum=0, maximum=128, help="IPv6 addresses with this prefix in common are one peer"
    )

    # How fast.

    acceptRate: float = option(0.0, minimum=0, help="new connections a second")
    acceptBurst: int = option(0, minimum=0, help="as many at once (one second's worth)")
    acceptRatePerPeer: float = option(0.0, minimum=0, help="new connections a second of one peer")
    acceptBurstPerPeer: int = option(0, minimum=0, help="as many at once (one second's worth)")
    datagramRate: float = option(0.0, minimum=0, help="datagrams a second")
    datagramRatePerPeer: float = option(0.0, minimum=0, help="datagrams a second of one source")
    datagramBurstPerPeer: int = option(0, minimum=0, help="as many at once (one second's worth)")
    shedFloods: bool = option(
        True, help="when datagrams come faster than they are read, drop those of the worst source"
    )
    maxDatagram: Size = option(Size(65535), help="bytes of a datagram; larger ones are dropped")

    # How long.

    firstByte: Duration = option(Duration(60), help="until the first byte, in either direction")
    idle: Duration = option(Duration(600), help="without a byte in either direction")
    lifetime: Duration = option(Duration(0), help="a whole connection")
    establish: Duration = option(
        Duration(0), help="until the protocol says that its client is established (logged in, say)"
    )
    minimumRate: Size = option(
        Size(0), help="bytes a second, both directions together, until the client is established"
    )
    maxUnestablished: Size = option(
        Size(0), help="bytes that a client may send before it is established"
    )

    # How much memory.

    writeBuffer: Size = option(
        Size(64 * 1024),
        help="unsent bytes at which the protocol's producer is paused, or reading is",
    )
    maxUnsent: Size = option(
        Size(64 * 1024 * 1024), help="unsent bytes at which a connection is cut"
    )
    writeTimeout: Duration = option(
        Duration(60), help="without the peer taking a byte of what waits for it"
    )

    # How it ends.

    drain: Duration = option(Duration(30), help="for connections to end when the service goes away")


@frozen
class PenaltyLimits:
    """
    The table C{[penalties]}: what misbehaviour costs a peer, in all services.

    A penalty is a number of seconds that wears off as time passes.  A peer that has
    collected C{threshold} of them is refused until they have worn off (OpenSSH's
    PerSourcePenalties).
    """

    enabled: bool = option(True, help="refuse peers that have misbehaved too much")
    threshold: Duration = option(Duration(15), help="penalties from which a peer is refused")
    maximum: Duration = option(Duration(600), help="penalties that a peer collects at most")
    maxPeers: int = option(65_536, minimum=1, help="peers that are remembered")
    exempt: tuple[IPNetwork, ...] = option(
        (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")),
        help="networks that are never penalized",
    )
    peerPrefix4: int = option(
        32, minimum=0, maximum=32, help="IPv4 addresses with this prefix in common are one peer"
    )
    peerPrefix6: int = option(
        64, minimum=0, maximum=128, help="IPv6 addresses with this prefix in common are one peer"
    )
    authentication: Duration = option(Duration(5), help="for a failed login")
    protocol: Duration = option(Duration(1), help="for breaking the protocol's rules")
    handshake: Duration = option(Duration(1), help="for a handshake that failed")
    timeout: Duration = option(Duration(10), help="for a deadline that passed")
    abuse: Duration = option(Duration(90), help="for what no client does by mistake")

    def __attrs_post_init__(self) -> None:
        if self.maximum < self.threshold:
            message = f"is less than threshold, {self.threshold}: nobody would ever be refused"
            raise ConfigurationError(Problem(message, ("maximum",)))

    def costOf(self, offence: Offence) -> float:
        """
        Say what an offence costs, in seconds.
        """
        return float(getattr(self, offence.value))


DEFAULT_LIMITS: Final = Limits()
"""With nothing configured and nothing recommended."""


NO_DEADLINES: Final[Mapping[str, object]] = {
    "firstByte": "0s",
    "idle": "0s",
    "lifetime": "0s",
    "establish": "0s",
    "writeTimeout": "0s",
}
"""What an operator would write to let peers take as long as they like."""


def structureLimits(*given: Mapping[str, object]) -> Limits:
    """
    Make the limits of a service.

    Args:
        given: What was said, by key; a later mapping goes before an earlier one.

    Raises:
        ConfigurationError: Something is wrong with what was said.
    """
    merged: dict[str, Any] = {}
    for each in given:
        merged.update(each)
    limits = structure(Limits, merged)
    assert limits is not None
    problems = [
        Problem(f'has no meaning without "{rate}"', (burst,))
        for burst, rate in _BURSTS.items()
        if getattr(limits, burst) and not getattr(limits, rate)
    ]
    if 0 < limits.maxUnsent < limits.writeBuffer:
        message = f"is less than writeBuffer, {limits.writeBuffer}"
        problems.append(Problem(message, ("maxUnsent",)))
    if problems:
        raise ConfigurationError(problems)
    return limits
