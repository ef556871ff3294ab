"""
The facts of a server's life: a closed set.

Nothing in the core logs, counts or prints; it emits one of these, and whoever
wants to know observes them (L{myserv.interfaces.IEventObserver}).  An event is
a plain value: cheap to make, safe to keep.  None is emitted per message.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from attrs import Factory, frozen
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure

Peer = IAddress | tuple[str, int] | str | bytes | None
"""Who is at the other end: an address object of a stream, or what a datagram
socket names a source by (C{None}: a UNIX socket without a name)."""


class SessionEnd(enum.Enum):
    """Why a datagram session is over; the value says it in a few words."""

    CLOSED = "the protocol ended it"
    IDLE = "the peer was silent for too long"
    DISPLACED = "the peer had not proved its address, and there was no room"
    PEER_LOST = "the peer is gone"
    RAISED = "the protocol raised an exception"
    STOPPED = "the listener stopped"


class Offence(enum.Enum):
    """What a peer can do wrong; the value is the key that says what it costs."""

    AUTHENTICATION = "authentication"
    """It failed to log in."""

    PROTOCOL = "protocol"
    """It broke the rules of its protocol."""

    HANDSHAKE = "handshake"
    """It did not get through a layer's handshake."""

    TIMEOUT = "timeout"
    """It let a deadline pass."""

    ABUSE = "abuse"
    """It did what no client does by mistake."""


@frozen
class ServiceStarted:
    """Every endpoint of a service is open."""

    service: str


@frozen
class ServiceStopped:
    """A service has closed its endpoints and its last connection."""

    service: str


@frozen
class ListenerStarted:
    """
    An endpoint is open.

    @ivar endpoint: The endpoint string, in its canonical form.
    @ivar address: What the socket is bound to, C{None} where it has no address.
    """

    service: str
    endpoint: str
    address: IAddress | None


@frozen
class ListenerSuspended:
    """A listener accepts nothing new; arrivals wait in the kernel."""

    service: str
    endpoint: str


@frozen
class ListenerResumed:
    """A suspended listener accepts again."""

    service: str
    endpoint: str


@frozen
class ListenerStopped:
    """An endpoint is closed and so is the last of its connections."""

    service: str
    endpoint: str


@frozen
class ListenerFailed:
    """An endpoint could not be opened, or failed while it was open."""

    service: str
    endpoint: str
    reason: str


@frozen
class ConnectionStarted:
    """
    A peer is connected and its protocol is built.

    @ivar number: Counts the connections of this process, from 1.
    """

    service: str
    number: int
    peer: Peer


@frozen
class ConnectionEnded:
    """
    A connection is gone.

    @ivar reason: Why, in a few words.
    @ivar duration: How long it lasted, in seconds.
    @ivar bytesReceived: What the protocol was given.
    @ivar bytesSent: What the protocol wrote.
    """

    service: str
    number: int
    peer: Peer
    reason: str
    duration: float
    bytesReceived: int
    bytesSent: int


@frozen
class ConnectionRefused:
    """
    A peer was turned away before a protocol was built for it.

    @ivar reason: Why: one of few sentences, so that it can be counted by.
    @ivar identity: Who it was, over a UNIX socket, where that was asked for, such as
        C{"uid 1000, gid 1000, pid 4711"}.
    """

    service: str
    peer: Peer
    reason: str
    identity: str = ""


@frozen
class ConnectionCut:
    """
    A limit ended a connection; C{ConnectionEnded} follows when it is gone.

    @ivar limit: The key of the limit, such as C{"idle"}.
    @ivar reason: What the peer did, in a few words.
    """

    service: str
    number: int
    peer: Peer
    limit: str
    reason: str


@frozen
class AcceptFailed:
    """
    The system would not let a connection in: it is out of descriptors or memory.

    The listener waits, and tries again by itself.

    @ivar wait: Seconds until it does.
    """

    service: str
    endpoint: str
    reason: str
    wait: float


@frozen
class ServiceFull:
    """
    Arrivals wait in the kernel's backlog, because a limit is reached.

    Emitted when it begins, and not again before C{ServiceHasRoom}.

    @ivar limit: The key of the limit.
    @ivar connections: How many there are.
    """

    service: str
    limit: str
    connections: int


@frozen
class ServiceHasRoom:
    """Arrivals are accepted again, and have been for a while."""

    service: str


@frozen
class DrainStarted:
    """
    A service says goodbye to its connections.

    @ivar connections: How many there are.
    @ivar deadline: Seconds until those that are left are cut.
    """

    service: str
    connections: int
    deadline: float


@frozen
class DrainProgressed:
    """
    How far a drain has come; emitted every few seconds.

    @ivar left: The connections that are still there.
    @ivar deadline: Seconds until they are cut.
    """

    service: str
    left: int
    deadline: float


@frozen
class DrainEnded:
    """
    The last connection is gone.

    @ivar cut: Those that had to be cut at the deadline.
    @ivar duration: Seconds that it took.
    """

    service: str
    cut: int
    duration: float


@frozen
class LimitsChanged:
    """
    Other limits are in force.

    @ivar keys: Those that changed.
    """

    service: str
    keys: tuple[str, ...]


@frozen
class ConfigurationApplied:
    """
    A changed configuration is in force.

    @ivar changes: What is different, a few words for each.
    @ivar pending: What takes a restart, likewise.
    @ivar generation: The number of the workers that were started for it; C{None}: none
        were.
    """

    file: str
    changes: tuple[str, ...]
    pending: tuple[str, ...]
    generation: int | None = None


@frozen
class ConfigurationRejected:
    """
    A changed configuration is wrong, or could not be checked or put in force, and nothing
    was changed.

    @ivar reasons: One for each mistake.
    @ivar isChecked: It is wrong; C{False}: nobody could tell, and the reason says why.
    @ivar isWrong: C{False}: the check found nothing, but new workers could not start.
    """

    file: str
    reasons: tuple[str, ...]
    isChecked: bool = True
    isWrong: bool = True


@frozen
class WorkerStarted:
    """
    A worker serves.

    @ivar worker: Its place, from 1.
    @ivar generation: Counts the sets of workers, from 1.
    @ivar reactor: What its reactor is called, such as C{"uvloop"}.
    """

    worker: int
    generation: int
    pid: int
    reactor: str = ""


@frozen
class WorkerEnded:
    """
    A worker's process is gone.

    @ivar reason: How it ended.
    @ivar expected: It had been asked to.
    @ivar wait: Seconds until another takes its place; C{None}: none will.
    """

    worker: int
    generation: int
    pid: int
    reason: str
    expected: bool
    wait: float | None


@frozen
class HandshakeFailed:
    """
    A peer was connected and did not get as far as a protocol.

    @ivar layer: The prefix of the wrapper that it failed at.
    @ivar reason: Why, in a few words.
    """

    service: str
    peer: Peer
    layer: str
    reason: str


@frozen
class CertificateLoaded:
    """
    A certificate is in force for new connections.

    @ivar file: Where it was read; or the file of C{clientCA=}, with the certificates
        of those who may have signed a client's.
    @ivar names: The names that it holds; of a C{clientCA=}, whose certificates are there.
    @ivar notAfter: When it expires, the first of several, in seconds since 1970.
    """

    service: str
    endpoint: str
    file: str
    names: tuple[str, ...]
    notAfter: float


@frozen
class CertificateRejected:
    """A certificate could not be used; what was in force before stays so."""

    service: str
    endpoint: str
    reason: str


@frozen
class CertificateExpiring:
    """
    A certificate in force will expire soon, or has.

    @ivar file: Where it was read.
    @ivar left: Seconds until it expires; less than 0 when it has.
    """

    service: str
    endpoint: str
    file: str
    left: float


@frozen
class AssociationStarted:
    """
    A peer without a connection has proved where and, if asked, who it is: over
    DTLS it has finished its handshake.

    @ivar number: Counts the associations of this process, from 1.
    """

    service: str
    number: int
    peer: Peer


@frozen
class AssociationEnded:
    """
    An association is over.

    @ivar reason: Why, in a few words.
    @ivar duration: How long it lasted, in seconds.
    @ivar bytesReceived: What the protocol was given.
    @ivar bytesSent: What the protocol wrote.
    """

    service: str
    number: int
    peer: Peer
    reason: str
    duration: float
    bytesReceived: int
    bytesSent: int


@frozen
class DatagramsDropped:
    """
    Datagrams that were not delivered, or answers that were not sent.

    @ivar reason: Why, in a few words.
    @ivar count: How many since the last such event of this listener.
    @ivar peer: The source (or destination) of the last of them.
    """

    service: str
    endpoint: str
    reason: str
    count: int
    peer: Peer


@frozen
class ProtocolRaised:
    """
    A protocol raised an exception: a bug in the protocol, not in the peer.

    @ivar during: The name of the method that raised.
    """

    service: str
    peer: Peer
    during: str
    failure: Failure


@frozen
class PeerPenalized:
    """
    A peer's misbehaviour was reported.

    @ivar refusedFor: Seconds for which the peer is refused from now on; 0 while it
        has not collected enough.
    """

    service: str
    peer: Peer
    reason: str
    offence: Offence = Offence.PROTOCOL
    refusedFor: float = 0.0


@frozen
class ProtocolEvent:
    """
    Something that a protocol wants known.

    @ivar message: One readable line.
    @ivar fields: The same as data, for whoever counts or indexes it.
    """

    service: str
    message: str
    fields: Mapping[str, object] = Factory(dict)


Event = (
    ServiceStarted
    | ServiceStopped
    | ListenerStarted
    | ListenerSuspended
    | ListenerResumed
    | ListenerStopped
    | ListenerFailed
    | ConnectionStarted
    | ConnectionEnded
    | ConnectionRefused
    | ConnectionCut
    | AcceptFailed
    | ServiceFull
    | ServiceHasRoom
    | DrainStarted
    | DrainProgressed
    | DrainEnded
    | LimitsChanged
    | ConfigurationApplied
    | ConfigurationRejected
    | WorkerStarted
    | WorkerEnded
    | HandshakeFailed
    | CertificateLoaded
    | CertificateRejected
    | CertificateExpiring
    | AssociationStarted
    | AssociationEnded
    | DatagramsDropped
    | ProtocolRaised
    | PeerPenalized
    | ProtocolEvent
)
