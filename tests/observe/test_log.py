"""The log: one readable line for each event."""

from __future__ import annotations

import io
from typing import Any, Final, get_args

import pytest
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.logger import (
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    formatEvent,
    globalLogPublisher,
    textFileLogObserver,
)
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

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
from myserv.observe.log import LogObserver

PEER: Final = IPv4Address("TCP", "192.0.2.1", 4711)

ENDPOINT: Final = "tcp:7:interface=127.0.0.1"


def failureOf(error: Exception) -> Failure:
    """A failure with a traceback."""
    try:
        raise error
    except Exception:  # noqa: BLE001 - that is what it is for
        return Failure()


LINES: Final[list[tuple[Event, LogLevel, str]]] = [
    (ServiceStarted("echo"), LogLevel.info, "echo: serving"),
    (ServiceStopped("echo"), LogLevel.info, "echo: stopped"),
    (
        ListenerStarted("echo", ENDPOINT, IPv4Address("TCP", "127.0.0.1", 7)),
        LogLevel.info,
        f"echo: listening on {ENDPOINT} (127.0.0.1:7)",
    ),
    (ListenerStarted("echo", "stdio:", None), LogLevel.info, "echo: listening on stdio:"),
    (ListenerSuspended("echo", ENDPOINT), LogLevel.info, f"echo: {ENDPOINT} is suspended"),
    (ListenerResumed("echo", ENDPOINT), LogLevel.info, f"echo: {ENDPOINT} is resumed"),
    (ListenerStopped("echo", ENDPOINT), LogLevel.info, f"echo: {ENDPOINT} is closed"),
    (
        ListenerFailed("echo", ENDPOINT, "permission denied"),
        LogLevel.error,
        f"echo: cannot listen on {ENDPOINT}: permission denied",
    ),
    (ConnectionStarted("echo", 3, PEER), LogLevel.info, "echo: connection 3 from 192.0.2.1:4711"),
    (
        ConnectionEnded("echo", 3, PEER, "closed", 1.23456, 5, 7),
        LogLevel.info,
        ("echo: connection 3 from 192.0.2.1:4711 ended after 1.235 s, 5 B in, 7 B out: closed"),
    ),
    (
        ConnectionRefused("echo", PEER, "too many"),
        LogLevel.warn,
        "echo: refused 192.0.2.1:4711: too many",
    ),
    (
        HandshakeFailed("echo", PEER, "tls", "it took too long"),
        LogLevel.warn,
        "echo: 192.0.2.1:4711 did not get through tls: it took too long",
    ),
    (
        CertificateLoaded("echo", "tls:7", "/c/x.pem", ("a.example", "b.example"), 1893456000.0),
        LogLevel.info,
        "echo: tls:7: certificate /c/x.pem for a.example, b.example, until 2030-01-01 00:00 UTC",
    ),
    (
        CertificateLoaded("echo", "tls:7", "/c/x.pem", (), 1893456000.0),
        LogLevel.info,
        "echo: tls:7: certificate /c/x.pem for no name, until 2030-01-01 00:00 UTC",
    ),
    (
        CertificateRejected("echo", "tls:7", "/c/x.pem: it expired"),
        LogLevel.warn,
        "echo: tls:7: a certificate was not taken: /c/x.pem: it expired",
    ),
    (
        CertificateExpiring("echo", "tls:7", "/c/x.pem", 129600.0),
        LogLevel.warn,
        "echo: tls:7: the certificate /c/x.pem expires in 1.5 days",
    ),
    (
        CertificateExpiring("echo", "tls:7", "/c/x.pem", -86400.0),
        LogLevel.warn,
        "echo: tls:7: the certificate /c/x.pem expired 1.0 days ago",
    ),
    (
        AssociationStarted("echo", 4, ("192.0.2.1", 4711)),
        LogLevel.info,
        "echo: association 4 with 192.0.2.1:4711",
    ),
    (
        AssociationEnded("echo", 4, ("192.0.2.1", 4711), "idle", 300.0, 5, 7),
        LogLevel.info,
        "echo: association 4 with 192.0.2.1:4711 ended after 300.000 s, 5 B in, 7 B out: idle",
    ),
    (
        DatagramsDropped("echo", "udp:7", "no address", 12, None),
        LogLevel.warn,
        "echo: udp:7: dropped 12 datagram(s), the last of an unnamed peer: no address",
    ),
    (
        ProtocolRaised("echo", ("::1", 7), "datagramReceived", failureOf(KeyError("x"))),
        LogLevel.critical,
        "echo: the protocol raised in datagramReceived ([::1]:7)",
    ),
    (
        PeerPenalized("echo", UNIXAddress(b"\0spy"), "guessed a password"),
        LogLevel.warn,
        "echo: @spy misbehaved: guessed a password",
    ),
    (
        ProtocolEvent("echo", "100 % {of} the quotes", {"count": 3}),
        LogLevel.info,
        "echo: 100 % {of} the quotes",
    ),
]


@implementer(ILogObserver)
class Heard:
    """A log observer that keeps what it hears."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        """Keep it."""
        self.events.append(event)


def test_everyEventHasALine() -> None:
    """The table below leaves out no event."""
    assert {type(event) for event, _, _ in LINES} == set(get_args(Event))
    assert verifyObject(IEventObserver, LogObserver())


@pytest.mark.parametrize(
    ("event", "level", "text"), LINES, ids=[type(event).__name__ for event, _, _ in LINES]
)
def test_line(event: Event, level: LogLevel, text: str) -> None:
    """Each event is one line that starts with its service, and carries the event itself."""
    heard = Heard()
    LogObserver(Logger(namespace="myserv", observer=heard)).observe(event)
    [logged] = heard.events
    assert formatEvent(logged) == text
    assert "\n" not in text
    assert logged["log_level"] is level
    assert logged["log_namespace"] == "myserv"
    assert logged["event"] is event


def test_fieldsOfAProtocolsOwnEvent() -> None:
    """What a protocol tells as data stays data."""
    heard = Heard()
    LogObserver(Logger(observer=heard)).observe(ProtocolEvent("echo", "counted", {"count": 3}))
    assert heard.events[0]["fields"] == {"count": 3}


def test_bugHasItsTraceback() -> None:
    """Of a protocol's bug the log has the traceback, beneath its line."""
    event = ProtocolRaised("echo", PEER, "dataReceived", failureOf(ValueError("what now?")))
    text = io.StringIO()
    LogObserver(Logger(observer=textFileLogObserver(text))).observe(event)
    first, *rest = text.getvalue().splitlines()
    assert first.endswith("echo: the protocol raised in dataReceived (192.0.2.1:4711)")
    assert rest[0].strip().startswith("Traceback")
    assert rest[-2].strip().endswith("ValueError: what now?")


def test_twistedsLogByDefault() -> None:
    """Without a logger of its own it writes to the log that twistd sends on."""
    heard = Heard()
    globalLogPublisher.addObserver(heard)
    try:
        LogObserver().observe(ServiceStarted("echo"))
    finally:
        globalLogPublisher.removeObserver(heard)
    assert [formatEvent(each) for each in heard.events] == ["echo: serving"]


def test_notAnEvent() -> None:
    """The set of events is closed."""
    notAnEvent: Any = "echo"
    with pytest.raises(TypeError, match="not an event: 'echo'"):
        LogObserver().observe(notAnEvent)
