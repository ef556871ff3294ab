"""
What the log says of each event.

A line is about the server, or about what peers cause; of the latter there may be
any number, and each has a kind, by which they are counted.  No line quotes what
peers sent, and what peers chose (names, reasons) is cut and made printable.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar

from attrs import frozen
from twisted.logger import LogLevel

from myserv.errors import MAXIMUM_QUOTED, printable, shorten
from myserv.events import (
    AcceptFailed,
    AssociationEnded,
    AssociationStarted,
    CertificateExpiring,
    CertificateLoaded,
    CertificateRejected,
    ConfigurationApplied,
    ConfigurationRejected,
    ConnectionCut,
    ConnectionEnded,
    ConnectionRefused,
    ConnectionStarted,
    DatagramsDropped,
    DrainEnded,
    DrainProgressed,
    DrainStarted,
    Event,
    HandshakeFailed,
    LimitsChanged,
    ListenerFailed,
    ListenerResumed,
    ListenerStarted,
    ListenerStopped,
    ListenerSuspended,
    PeerPenalized,
    ProtocolEvent,
    ProtocolRaised,
    ServiceFull,
    ServiceHasRoom,
    ServiceStarted,
    ServiceStopped,
    WorkerEnded,
    WorkerStarted,
)
from myserv.observe.addresses import formatAddress

MAXIMUM_MESSAGE: Final = 500
"""Characters of a protocol's own message: five lines of a terminal."""

CONNECTION_EVENTS: Final[frozenset[type]] = frozenset(
    (ConnectionStarted, ConnectionEnded, AssociationStarted, AssociationEnded)
)
"""Events of single peers' comings and goings: most lines, if they are written."""

E = TypeVar("E", bound=Event)


@frozen
class Line(Generic[E]):
    """
    What is said of one type of event.

    @ivar level: How bad it is.
    @ivar text: The words, without the name of the service; several: a line each.
    @ivar kind: Of what peers cause, which lines are alike, among those of one type
        of event and one service; C{None} of what they do not cause.
    @ivar amount: How many things an event tells of.
    """

    level: Callable[[E], LogLevel]
    text: Callable[[E], str | tuple[str, ...]]
    kind: Callable[[E], Hashable] | None = None
    amount: Callable[[E], int] | None = None


_LINES: Final[dict[type, Line[Any]]] = {}

LINES: Final[Mapping[type, Line[Any]]] = _LINES
"""What is said of each type of event."""


def _always(level: LogLevel) -> Callable[[object], LogLevel]:
    return lambda event: level


_info: Final = _always(LogLevel.info)
_warn: Final = _always(LogLevel.warn)
_error: Final = _always(LogLevel.error)
_critical: Final = _always(LogLevel.critical)


def _alike(event: object) -> Hashable:
    return None


def _say(
    eventType: type[E],
    level: Callable[[E], LogLevel],
    text: Callable[[E], str | tuple[str, ...]],
    kind: Callable[[E], Hashable] | None = None,
    amount: Callable[[E], int] | None = None,
) -> None:
    _LINES[eventType] = Line(level, text, kind, amount)


def cut(text: str, most: int = MAXIMUM_QUOTED) -> str:
    """
    Make text that may be a peer's short, and such that it prints.

    Args:
        text: Any text.
        most: Characters that may be left.
    """
    text = shorten(text, most)
    # What does not print gets longer.
    return text if text.isprintable() else shorten(printable(text), most)


def _seconds(duration: float) -> str:
    return f"{duration:,.1f}".removesuffix(".0") + " s"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


# Services and listeners.

_say(ServiceStarted, _info, lambda event: "serving")
_say(ServiceStopped, _info, lambda event: "stopped")


def _listenerStarted(event: ListenerStarted) -> str:
    bound = f" ({formatAddress(event.address)})" if event.address is not None else ""
    return f"listening on {event.endpoint}{bound}"


_say(ListenerStarted, _info, _listenerStarted)
_say(ListenerSuspended, _info, lambda event: f"{event.endpoint} is suspended")
_say(ListenerResumed, _info, lambda event: f"{event.endpoint} is resumed")
_say(ListenerStopped, _info, lambda event: f"{event.endpoint} is closed")
_say(ListenerFailed, _error, lambda event: f"cannot listen on {event.endpoint}: {event.reason}")

# Connections.

_say(
    ConnectionStarted,
    _info,
    lambda event: f"connection {event.number} from {formatAddress(event.peer)}",
    _alike,
)


def _ended(event: ConnectionEnded | AssociationEnded) -> str:
    return (
        f"ended after {event.duration:.3f} s, "
        f"{event.bytesReceived} B in, {event.bytesSent} B out: {cut(event.reason)}"
    )


_say(
    ConnectionEnded,
    _info,
    lambda event: f"connection {event.number} from {formatAddress(event.peer)} {_ended(event)}",
    _alike,
)


def _refused(event: ConnectionRefused) -> str:
    identity = f" ({cut(event.identity)})" if event.identity else ""
    return f"refused {formatAddress(event.peer)}{identity}: {cut(event.reason)}"


_say(
    ConnectionRefused,
    _warn,
    _refused,
    lambda event: event.reason[:MAXIMUM_QUOTED],
)
_say(
    ConnectionCut,
    _warn,
    lambda event: (
        f"cut connection {event.number} from {formatAddress(event.peer)}: "
        f"{cut(event.reason)} ({event.limit})"
    ),
    lambda event: event.limit,
)
_say(
    AcceptFailed,
    _warn,
    lambda event: (
        f"{event.endpoint} cannot accept: {cut(event.reason)}; "
        f"trying again in {_seconds(event.wait)}"
    ),
    lambda event: (event.endpoint, event.reason[:MAXIMUM_QUOTED]),
)

# Limits, drains.

_say(
    ServiceFull,
    _warn,
    lambda event: (
        f"full: {event.limit} is reached with {_count(event.connections, 'connection')}, "
        "arrivals wait"
    ),
)
_say(ServiceHasRoom, _info, lambda event: "arrivals are accepted again")
_say(LimitsChanged, _info, lambda event: f"limits changed: {', '.join(event.keys) or 'none'}")
_say(
    DrainStarted,
    _info,
    lambda event: (
        f"draining {_count(event.connections, 'connection')}, "
        f"to be cut in {_seconds(event.deadline)}"
    ),
)
_say(
    DrainProgressed,
    _info,
    lambda event: (
        f"draining, {_count(event.left, 'connection')} left, to be cut in {_seconds(event.deadline)}"
    ),
)
_say(
    DrainEnded,
    _info,
    lambda event: f"drained in {_seconds(event.duration)}, {_count(event.cut, 'connection')} cut",
)

# The server's configuration and its workers.


def _applied(event: ConfigurationApplied) -> str:
    number = event.generation
    how = f" by new workers (generation {number})" if number is not None else ""
    text = f"{event.file} is applied{how}: {'; '.join(event.changes) or 'nothing changed'}"
    return f"{text}; after a restart: {'; '.join(event.pending)}" if event.pending else text


def _rejected(event: ConfigurationRejected) -> tuple[str, ...]:
    if not event.isChecked:
        what = "was not checked"
    else:
        what = "is wrong" if event.isWrong else "is not in force"
    text = f"{event.file} {what}, nothing was changed"
    return tuple(f"{text}: {reason}" for reason in event.reasons) or (text,)


def _workerStarted(event: WorkerStarted) -> str:
    reactor = f", {cut(event.reactor)} reactor" if event.reactor else ""
    return (
        f"worker {event.worker} of generation {event.generation} serves "
        f"(process {event.pid}{reactor})"
    )


def _workerEnded(event: WorkerEnded) -> str:
    text = (
        f"worker {event.worker} of generation {event.generation} ended "
        f"(process {event.pid}): {event.reason}"
    )
    if event.wait is not None:
        return f"{text}; another starts in {_seconds(event.wait)}"
    return text if event.expected else f"{text}; no other takes its place"


_say(ConfigurationApplied, _info, _applied)
_say(ConfigurationRejected, _warn, _rejected)
_say(WorkerStarted, _info, _workerStarted)
_say(
    WorkerEnded,
    lambda event: LogLevel.info if event.expected else LogLevel.warn,
    _workerEnded,
)

# Layers.

_say(
    HandshakeFailed,
    _warn,
    lambda event: (
        f"{formatAddress(event.peer)} did not get through {event.layer}: {cut(event.reason)}"
    ),
    lambda event: event.layer,
)


def _certificateLoaded(event: CertificateLoaded) -> str:
    names = ", ".join(event.names) or "no name"
    until = datetime.fromtimestamp(event.notAfter, UTC).strftime("%Y-%m-%d %H:%M")
    return f"{event.endpoint}: certificate {event.file} for {names}, until {until} UTC"


def _certificateExpiring(event: CertificateExpiring) -> str:
    days = f"{abs(event.left) / 86400:.1f} days"
    expires = f"expires in {days}" if event.left > 0 else f"expired {days} ago"
    return f"{event.endpoint}: the certificate {event.file} {expires}"


_say(CertificateLoaded, _info, _certificateLoaded)
_say(
    CertificateRejected,
    _warn,
    lambda event: f"{event.endpoint}: a certificate was not taken: {event.reason}",
)
_say(CertificateExpiring, _warn, _certificateExpiring)

# Datagrams.

_say(
    AssociationStarted,
    _info,
    lambda event: f"association {event.number} with {formatAddress(event.peer)}",
    _alike,
)
_say(
    AssociationEnded,
    _info,
    lambda event: f"association {event.number} with {formatAddress(event.peer)} {_ended(event)}",
    _alike,
)
_say(
    DatagramsDropped,
    _warn,
    lambda event: (
        f"{event.endpoint}: dropped {event.count} datagram(s), "
        f"the last of {formatAddress(event.peer)}: {cut(event.reason)}"
    ),
    lambda event: (event.endpoint, event.reason[:MAXIMUM_QUOTED]),
    lambda event: event.count,
)

# Protocols.


def _protocolRaised(event: ProtocolRaised) -> str:
    # The exception's own words may be a peer's: they are in the traceback alone.
    failure = event.failure
    name = getattr(failure.type, "__name__", failure.type)
    place = f" at {failure.frames[-1][1]}:{failure.frames[-1][2]}" if failure.frames else ""
    return f"the protocol raised {name} in {event.during} ({formatAddress(event.peer)}){place}"


def _penalized(event: PeerPenalized) -> str:
    text = f"{formatAddress(event.peer)} misbehaved ({event.offence.value}): {cut(event.reason)}"
    return f"{text}; refused for {_seconds(event.refusedFor)}" if event.refusedFor else text


_say(
    ProtocolRaised,
    _critical,
    _protocolRaised,
    lambda event: (event.during, event.failure.type),
)
_say(PeerPenalized, _warn, _penalized, lambda event: event.offence)
_say(ProtocolEvent, _info, lambda event: cut(event.message, MAXIMUM_MESSAGE), _alike)
