"""
The log: each event as one readable line.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import singledispatchmethod

from twisted.logger import Logger
from zope.interface import implementer

from myserv.events import (
    AssociationEnded,
    AssociationStarted,
    CertificateExpiring,
    CertificateLoaded,
    CertificateRejected,
    ConnectionEnded,
    ConnectionRefused,
    ConnectionStarted,
    DatagramsDropped,
    Event,
    HandshakeFailed,
    ListenerFailed,
    ListenerResumed,
    ListenerStarted,
    ListenerStopped,
    ListenerSuspended,
    PeerPenalized,
    ProtocolEvent,
    ProtocolRaised,
    ServiceStarted,
    ServiceStopped,
)
from myserv.interfaces import IEventObserver
from myserv.observe.addresses import formatAddress


@implementer(IEventObserver)
class LogObserver:
    """
    Writes events to Twisted's log, which twistd sends where it was told to.

    Every line starts with the service's name and carries the event itself, as
    C{event}, for observers that want more than text.
    """

    def __init__(self, logger: Logger | None = None) -> None:
        self._logger = logger or Logger(namespace="myserv")

    def observe(self, event: Event) -> None:
        """
        Write one line; of a protocol's bug, its traceback too.
        """
        self._write(event)

    @singledispatchmethod
    def _write(self, event: Event) -> None:
        raise TypeError(f"not an event: {event!r}")

    def _info(self, event: Event, text: str, **fields: object) -> None:
        self._logger.info("{service}: " + text, service=event.service, event=event, **fields)

    def _warn(self, event: Event, text: str, **fields: object) -> None:
        self._logger.warn("{service}: " + text, service=event.service, event=event, **fields)

    @_write.register
    def _(self, event: ServiceStarted) -> None:
        self._info(event, "serving")

    @_write.register
    def _(self, event: ServiceStopped) -> None:
        self._info(event, "stopped")

    @_write.register
    def _(self, event: ListenerStarted) -> None:
        bound = f" ({formatAddress(event.address)})" if event.address is not None else ""
        self._info(event, "listening on {endpoint}{bound}", endpoint=event.endpoint, bound=bound)

    @_write.register
    def _(self, event: ListenerSuspended) -> None:
        self._info(event, "{endpoint} is suspended", endpoint=event.endpoint)

    @_write.register
    def _(self, event: ListenerResumed) -> None:
        self._info(event, "{endpoint} is resumed", endpoint=event.endpoint)

    @_write.register
    def _(self, event: ListenerStopped) -> None:
        self._info(event, "{endpoint} is closed", endpoint=event.endpoint)

    @_write.register
    def _(self, event: ListenerFailed) -> None:
        self._logger.error(
            "{service}: cannot listen on {endpoint}: {reason}",
            service=event.service,
            endpoint=event.endpoint,
            reason=event.reason,
            event=event,
        )

    @_write.register
    def _(self, event: ConnectionStarted) -> None:
        self._connection(event, f"from {formatAddress(event.peer)}")

    @_write.register
    def _(self, event: ConnectionEnded) -> None:
        self._connection(
            event,
            f"from {formatAddress(event.peer)} ended after {event.duration:.3f} s, "
            f"{event.bytesReceived} B in, {event.bytesSent} B out: {event.reason}",
        )

    def _connection(self, event: ConnectionStarted | ConnectionEnded, text: str) -> None:
        # Written twice for every connection, and the fields of a format cost more
        # than the rest of it.  They are in the event.
        line = f"{event.service}: connection {event.number} {text}"
        self._logger.info("{line}", line=line, event=event)

    @_write.register
    def _(self, event: ConnectionRefused) -> None:
        self._warn(
            event, "refused {peer}: {reason}", peer=formatAddress(event.peer), reason=event.reason
        )

    @_write.register
    def _(self, event: HandshakeFailed) -> None:
        self._warn(
            event,
            "{peer} did not get through {layer}: {reason}",
            peer=formatAddress(event.peer),
            layer=event.layer,
            reason=event.reason,
        )

    @_write.register
    def _(self, event: CertificateLoaded) -> None:
        self._info(
            event,
            "{endpoint}: certificate {file} for {names}, until {until} UTC",
            endpoint=event.endpoint,
            file=event.file,
            names=", ".join(event.names) or "no name",
            until=datetime.fromtimestamp(event.notAfter, UTC).strftime("%Y-%m-%d %H:%M"),
        )

    @_write.register
    def _(self, event: CertificateRejected) -> None:
        self._warn(
            event,
            "{endpoint}: a certificate was not taken: {reason}",
            endpoint=event.endpoint,
            reason=event.reason,
        )

    @_write.register
    def _(self, event: CertificateExpiring) -> None:
        days = f"{abs(event.left) / 86400:.1f} days"
        self._warn(
            event,
            "{endpoint}: the certificate {file} {expires}",
            endpoint=event.endpoint,
            file=event.file,
            expires=f"expires in {days}" if event.left > 0 else f"expired {days} ago",
        )

    @_write.register
    def _(self, event: AssociationStarted) -> None:
        self._info(
            event,
            "association {number} with {peer}",
            number=event.number,
            peer=formatAddress(event.peer),
        )

    @_write.register
    def _(self, event: AssociationEnded) -> None:
        self._info(
            event,
            "association {number} with {peer} ended after {duration:.3f} s, "
            "{received} B in, {sent} B out: {reason}",
            number=event.number,
            peer=formatAddress(event.peer),
            duration=event.duration,
            received=event.bytesReceived,
            sent=event.bytesSent,
            reason=event.reason,
        )

    @_write.register
    def _(self, event: DatagramsDropped) -> None:
        self._warn(
            event,
            "{endpoint}: dropped {count} datagram(s), the last of {peer}: {reason}",
            endpoint=event.endpoint,
            count=event.count,
            peer=formatAddress(event.peer),
            reason=event.reason,
        )

    @_write.register
    def _(self, event: ProtocolRaised) -> None:
        self._logger.failure(
            "{service}: the protocol raised in {during} ({peer})",
            event.failure,
            service=event.service,
            during=event.during,
            peer=formatAddress(event.peer),
            event=event,
        )

    @_write.register
    def _(self, event: PeerPenalized) -> None:
        self._warn(
            event,
            "{peer} misbehaved: {reason}",
            peer=formatAddress(event.peer),
            reason=event.reason,
        )

    @_write.register
    def _(self, event: ProtocolEvent) -> None:
        self._info(event, "{message}", message=event.message, fields=event.fields)
