"""The log: one readable line for each event."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Final, get_args

import pytest
from attrs import evolve, fields
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.task import Clock
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

from myserv.errors import MAXIMUM_LINE
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
    Offence,
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
from myserv.interfaces import IEventObserver
from myserv.observe.lines import CONNECTION_EVENTS, LINES
from myserv.observe.log import MAXIMUM_TRACEBACK, LogObserver

PEER: Final = IPv4Address("TCP", "192.0.2.1", 4711)

ENDPOINT: Final = "tcp:7:interface=127.0.0.1"


def failureOf(error: Exception) -> Failure:
    """A failure with a traceback."""
    try:
        raise error
    except Exception:  # noqa: BLE001 - that is what it is for
        return Failure()


_BUG: Final = failureOf(KeyError("x"))

PLACE: Final = f"{__file__}:{_BUG.frames[-1][2]}"

SAID: Final[list[tuple[Event, LogLevel, str]]] = [
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
        ConnectionRefused("echo", None, "too many", "uid 1, gid 2, pid 3"),
        LogLevel.warn,
        "echo: refused an unnamed peer (uid 1, gid 2, pid 3): too many",
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
        ProtocolRaised("echo", ("::1", 7), "datagramReceived", _BUG),
        LogLevel.critical,
        f"echo: the protocol raised KeyError in datagramReceived ([::1]:7) at {PLACE}",
    ),
    (
        ProtocolRaised("echo", None, "stopProtocol", Failure(KeyError("x"))),
        LogLevel.critical,
        "echo: the protocol raised KeyError in stopProtocol (an unnamed peer)",
    ),
    (
        PeerPenalized("echo", UNIXAddress(b"\0spy"), "sent no command"),
        LogLevel.warn,
        "echo: @spy misbehaved (protocol): sent no command",
    ),
    (
        PeerPenalized("echo", PEER, "guessed a password", Offence.AUTHENTICATION, 60.0),
        LogLevel.warn,
        "echo: 192.0.2.1:4711 misbehaved (authentication): guessed a password; refused for 60 s",
    ),
    (
        ConnectionCut("echo", 3, PEER, "idle", "it was silent for 60 s"),
        LogLevel.warn,
        "echo: cut connection 3 from 192.0.2.1:4711: it was silent for 60 s (idle)",
    ),
    (
        AcceptFailed("echo", ENDPOINT, "Too many open files", 0.5),
        LogLevel.warn,
        f"echo: {ENDPOINT} cannot accept: Too many open files; trying again in 0.5 s",
    ),
    (
        ServiceFull("echo", "maxConnections", 1000),
        LogLevel.warn,
        "echo: full: maxConnections is reached with 1,000 connections, arrivals wait",
    ),
    (ServiceHasRoom("echo"), LogLevel.info, "echo: arrivals are accepted again"),
    (
        DrainStarted("echo", 12, 30.0),
        LogLevel.info,
        "echo: draining 12 connections, to be cut in 30 s",
    ),
    (
        DrainProgressed("echo", 1, 20.5),
        LogLevel.info,
        "echo: draining, 1 connection left, to be cut in 20.5 s",
    ),
    (DrainEnded("echo", 0, 29.96), LogLevel.info, "echo: drained in 30 s, 0 connections cut"),
    (
        LimitsChanged("echo", ("idle", "maxConnections")),
        LogLevel.info,
        "echo: limits changed: idle, maxConnections",
    ),
    (LimitsChanged("echo", ()), LogLevel.info, "echo: limits changed: none"),
    (
        ConfigurationApplied("/m.toml", ("service echo is new", "limits of time"), ("workers",)),
        LogLevel.info,
        "server: /m.toml is applied: service echo is new; limits of time; after a restart: workers",
    ),
    (
        ConfigurationApplied("/m.toml", (), ()),
        LogLevel.info,
        "server: /m.toml is applied: nothing changed",
    ),
    (
        ConfigurationRejected("/m.toml", ("4:10: listn: no such key",)),
        LogLevel.warn,
        "server: /m.toml is wrong, nothing was changed: 4:10: listn: no such key",
    ),
    (
        ConfigurationRejected("/m.toml", ()),
        LogLevel.warn,
        "server: /m.toml is wrong, nothing was changed",
    ),
    (
        WorkerStarted(1, 2, 345),
        LogLevel.info,
        "server: worker 1 of generation 2 serves (process 345)",
    ),
    (
        WorkerStarted(1, 2, 345, "uvloop"),
        LogLevel.info,
        "server: worker 1 of generation 2 serves (process 345, uvloop reactor)",
    ),
    (
        ConfigurationApplied("/m.toml", ("services.echo: is new",), (), 2),
        LogLevel.info,
        "server: /m.toml is applied by new workers (generation 2): services.echo: is new",
    ),
    (
        ConfigurationRejected("/m.toml", ("the check took too long",), isChecked=False),
        LogLevel.warn,
        "server: /m.toml was not checked, nothing was changed: the check took too long",
    ),
    (
        ConfigurationRejected("/m.toml", ("no luck",), isWrong=False),
        LogLevel.warn,
        "server: /m.toml is not in force, nothing was changed: no luck",
    ),
    (
        WorkerEnded(1, 2, 345, "asked to", expected=True, wait=None),
        LogLevel.info,
        "server: worker 1 of generation 2 ended (process 345): asked to",
    ),
    (
        WorkerEnded(1, 2, 345, "signal 11", expected=False, wait=1.0),
        LogLevel.warn,
        "server: worker 1 of generation 2 ended (process 345): signal 11; another starts in 1 s",
    ),
    (
        WorkerEnded(1, 2, 345, "status 1", expected=False, wait=None),
        LogLevel.warn,
        "server: worker 1 of generation 2 ended (process 345): status 1; no other takes its place",
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

    def texts(self) -> list[str]:
        """What the lines say."""
        return [formatEvent(event) for event in self.events]


def test_everyEventHasALine() -> None:
    """Neither the log nor the table above leaves out an event."""
    assert {type(event) for event, _, _ in SAID} == set(get_args(Event))
    assert set(LINES) == set(get_args(Event))
    assert verifyObject(IEventObserver, LogObserver())


@pytest.mark.parametrize(
    ("event", "level", "text"), SAID, ids=[type(event).__name__ for event, _, _ in SAID]
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


def test_lineForEachReason() -> None:
    """Each mistake in a configuration has a line."""
    heard = Heard()
    event = ConfigurationRejected("/m.toml", ("4:10: a", "5:1: b"))
    LogObserver(Logger(observer=heard)).observe(event)
    start = "server: /m.toml is wrong, nothing was changed"
    assert heard.texts() == [f"{start}: 4:10: a", f"{start}: 5:1: b"]
    assert [each["event"] for each in heard.events] == [event, event]


def test_fieldsOfAProtocolsOwnEvent() -> None:
    """What a protocol tells as data stays data, in the event."""
    heard = Heard()
    LogObserver(Logger(observer=heard)).observe(ProtocolEvent("echo", "counted", {"count": 3}))
    assert heard.texts() == ["echo: counted"]
    assert heard.events[0]["event"].fields == {"count": 3}


def test_bugHasItsTraceback() -> None:
    """Of a protocol's bug the log has the traceback, beneath its line."""
    event = ProtocolRaised("echo", PEER, "dataReceived", failureOf(ValueError("what now?")))
    text = io.StringIO()
    LogObserver(Logger(observer=textFileLogObserver(text))).observe(event)
    first, *rest = text.getvalue().splitlines()
    assert (
        f"] echo: the protocol raised ValueError in dataReceived (192.0.2.1:4711) at {PLACE}"
        in first
    )
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


def logged(*events: Event, **options: Any) -> str:
    """What twistd's log file has of events."""
    text = io.StringIO()
    logger = Logger(namespace="myserv", observer=textFileLogObserver(text))
    observer = LogObserver(logger, **options)
    for event in events:
        observer.observe(event)
    observer.flush()
    return text.getvalue()


def test_linesInTheFile() -> None:
    """A file's line has its time, where it is from, how bad it is, and the text."""
    [line] = logged(ConnectionRefused("echo", PEER, "too {many}")).splitlines()
    assert line[10] == "T"
    assert line.endswith(" [myserv#warn] echo: refused 192.0.2.1:4711: too {many}")


# Connections.


def test_noConnections() -> None:
    """If they are not wanted, connections and associations have no lines; all else has."""
    heard = Heard()
    observer = LogObserver(Logger(observer=heard), connections=False)
    for event, _, _ in SAID:
        observer.observe(event)
    assert {type(each["event"]) for each in heard.events} == set(
        get_args(Event)
    ) - CONNECTION_EVENTS
    assert observer.ignores == CONNECTION_EVENTS
    assert LogObserver().ignores == frozenset()


# Restraint.

BY_PEERS: Final = {
    ConnectionRefused,
    ConnectionCut,
    HandshakeFailed,
    ProtocolRaised,
    DatagramsDropped,
    PeerPenalized,
    AcceptFailed,
    ProtocolEvent,
} | CONNECTION_EVENTS


@pytest.mark.parametrize(
    "event", [event for event, _, _ in SAID], ids=[type(event).__name__ for event, _, _ in SAID]
)
def test_whichLinesAreLimited(event: Event) -> None:
    """What peers cause is written so often and no more; what is the server's, always."""
    heard = Heard()
    observer = LogObserver(Logger(observer=heard), clock=Clock())
    for _ in range(1500):
        observer.observe(event)
    limit = 1000 if type(event) in CONNECTION_EVENTS else 10
    if type(event) is AcceptFailed:
        limit = 1
    assert len(heard.events) == (limit if type(event) in BY_PEERS else 1500)


@pytest.mark.parametrize(
    "make",
    [
        lambda number: ConnectionRefused("echo", PEER, f"reason {number}"),
        lambda number: ConnectionRefused(f"echo{number}", PEER, "reason"),
        lambda number: ConnectionCut("echo", 1, PEER, f"limit{number}", "reason"),
        lambda number: HandshakeFailed("echo", PEER, f"layer{number}", "reason"),
        lambda number: DatagramsDropped("echo", ENDPOINT, f"reason {number}", 1, PEER),
        lambda number: ProtocolRaised("echo", PEER, f"method{number}", _BUG),
        lambda number: ProtocolRaised(
            "echo", PEER, "method", failureOf((KeyError, ValueError)[number]())
        ),
        lambda number: PeerPenalized("echo", PEER, "reason", list(Offence)[number]),
    ],
)
def test_kinds(make: Callable[[int], Event]) -> None:
    """What is one kind has its limit for itself."""
    heard = Heard()
    observer = LogObserver(Logger(observer=heard), clock=Clock())
    for number in (0, 1):
        for _ in range(20):
            observer.observe(make(number))
    assert len(heard.events) == 20


def test_portsThatCannotAccept() -> None:
    """However many there are, and as often as they try, that is a line a second."""
    heard = Heard()
    clock = Clock()
    observer = LogObserver(Logger(observer=heard), clock=clock)
    for _ in range(19):
        for number in range(3):
            observer.observe(AcceptFailed("echo", f"tcp:{number}", "no descriptors", 0.5))
        clock.advance(0.5)
    assert len(heard.events) == 10
    assert heard.texts()[1].endswith("trying again in 0.5 s (and 1 more in the last 1 s)")


def test_allKindsTogether() -> None:
    """Reasons that a peer makes up give it no more lines."""
    heard = Heard()
    clock = Clock()
    observer = LogObserver(Logger(observer=heard), clock=clock)
    for number in range(1000):
        observer.observe(ConnectionRefused("echo", PEER, f"reason {number}"))
    assert len(heard.events) == 50
    clock.advance(1)
    for number in range(1000):
        observer.observe(ConnectionRefused("echo", PEER, f"another {number}"))
    assert len(heard.events) == 60


def test_connectionsTakeNothingFromTheOthers() -> None:
    """However many connections are logged, what is wrong still is."""
    heard = Heard()
    observer = LogObserver(Logger(observer=heard), clock=Clock())
    for number in range(5000):
        observer.observe(ConnectionStarted("echo", number, PEER))
    observer.observe(ConnectionRefused("echo", PEER, "too many"))
    assert len(heard.events) == 1001
    assert heard.texts()[-1] == "echo: refused 192.0.2.1:4711: too many"


def test_datagramsAreCounted() -> None:
    """Of datagrams that were dropped the number is told, not that of the events."""
    event = DatagramsDropped("echo", "udp:7", "too long", 100, PEER)
    text = logged(*[event] * 15, clock=Clock())
    assert len(text.splitlines()) == 11
    assert text.endswith("too long (the last of 500 in the last 1 s)\n")


def test_floodOfRefusals() -> None:
    """Of 20,000 that were refused in a minute the log has few lines, and the number."""
    clock = Clock()
    heard = Heard()
    observer = LogObserver(Logger(observer=heard), clock=clock)
    for _ in range(20_000):
        observer.observe(ConnectionRefused("echo", PEER, "too many"))
        clock.advance(60 / 20_000)
    clock.advance(60)
    assert len(heard.events) <= 71
    assert not clock.getDelayedCalls()
    words = [text.replace(",", "").split() for text in heard.texts()]
    more = sum(int(each[each.index("(and") + 1]) for each in words if "(and" in each)
    last = sum(int(each[each.index("(the") + 3]) for each in words if "(the" in each)
    written = sum(1 for each in heard.events if each["event"] is not None)
    assert more + last + written == 20_000


def raising(size: int, depth: int = 0) -> None:
    """A bug, with what a peer sent in it."""
    if depth:
        raising(size, depth - 1)
    raise ValueError("x" * size)


@pytest.mark.parametrize("size", [10, 100_000])
@pytest.mark.parametrize("depth", [0, 500])
def test_floodOfBugs(size: int, depth: int) -> None:
    """20,000 requests that raise, in a minute, leave less than a MiB, at most 10 kB a second."""
    text = io.StringIO()
    clock = Clock()
    observer = LogObserver(Logger(observer=textFileLogObserver(text)), clock=clock)
    try:
        raising(size, depth)
    except ValueError:
        event = ProtocolRaised("echo", PEER, "datagramReceived", Failure())
    before = 0
    for number in range(20_000):
        observer.observe(event)
        clock.advance(60 / 20_000)
        if number % 3333 == 3332:
            assert text.tell() - before <= 10 * 10_000
            before = text.tell()
    observer.flush()
    assert text.tell() < 2**20 / 8
    assert text.getvalue().count("Traceback") <= 3 + 6


def test_bugsInManyPlaces() -> None:
    """Tracebacks of many places are limited too; the lines say where."""
    clock = Clock()
    bugs = [failureOf(type(f"Error{name}", (Exception,), {})()) for name in range(100)]
    events = [ProtocolRaised("echo", PEER, "dataReceived", bug) for bug in bugs]
    text = logged(*events, clock=clock)
    assert text.count("Traceback") == 20
    assert text.count("raised Error") == 100
    assert text.count(f" at {PLACE}") == 100


def test_bugWithoutAPlace() -> None:
    """A failure that was never raised is limited like others."""
    event = ProtocolRaised("echo", PEER, "dataReceived", Failure(KeyError("x")))
    text = logged(*[event] * 20, clock=Clock())
    assert text.count("Traceback") == 3


def test_observersOfFailures() -> None:
    """Other observers of Twisted's log find the failure as they know it."""
    heard = Heard()
    LogObserver(Logger(observer=heard)).observe(ProtocolRaised("echo", PEER, "dataReceived", _BUG))
    failure = heard.events[0]["log_failure"]
    assert failure.check(KeyError)
    assert failure.value is _BUG.value
    assert failure.getTraceback() == _BUG.getTraceback()


def test_longTraceback() -> None:
    """A long traceback is cut in its middle, and one that does not print is escaped."""
    event = ProtocolRaised("echo", PEER, "dataReceived", failureOf(ValueError("\x1b[2J" * 5000)))
    text = logged(event)
    assert len(text) < MAXIMUM_TRACEBACK * 3
    assert "\x1b" not in text
    assert "in failureOf" in text
    assert "\\u001b[2J" in text


def test_flushOfNothing() -> None:
    """Without a clock, or with nothing left out, there is nothing to flush."""
    assert logged() == logged(clock=Clock()) == ""


# What a log must not hold.

SECRET: Final = "s3cr3t"


def bugWithSecrets() -> Failure:
    """A failure whose frames hold what a peer sent."""

    def dataReceived(data: bytes) -> None:
        assert data
        raise KeyError("no such command")

    try:
        dataReceived(SECRET.encode() * 3)
    except KeyError:
        return Failure()
    raise AssertionError


def test_noSecrets() -> None:
    """No line has what peers sent, or what is data to a protocol."""
    told = [event for event, _, _ in SAID]
    told += [
        ProtocolEvent("echo", "logged in", {"password": SECRET, "data": SECRET.encode()}),
        ProtocolRaised("echo", PEER, "dataReceived", bugWithSecrets()),
    ]
    text = logged(*told)
    assert "logged in" in text
    assert "no such command" in text
    assert SECRET not in text


@pytest.mark.parametrize(
    "event", [event for event, _, _ in SAID], ids=[type(event).__name__ for event, _, _ in SAID]
)
def test_whatPeersChose(event: Event) -> None:
    """Text of any event, if a peer chose it, ends no line, moves no cursor and is cut."""
    bad = (
        "a\n2026-11-20T00:00:00+0000 [myserv#info] echo: \x1b[2J\r{}"
        + "\N{RIGHT-TO-LEFT OVERRIDE}" * 10_000
    )
    peer = UNIXAddress(b"\0\n\x1b{peer}")
    changes: dict[str, Any] = {}
    for field in fields(type(event)):
        value = getattr(event, field.name)
        if field.name == "peer":
            changes["peer"] = peer
        elif isinstance(value, str):
            changes[field.name] = bad
        elif isinstance(value, tuple):
            changes[field.name] = (bad, bad)
    heard = Heard()
    observer = LogObserver(Logger(namespace="myserv", observer=heard), clock=Clock())
    observer.observe(evolve(event, **changes))
    observer.flush()
    for text in heard.texts():
        assert text.isprintable()
        assert len(text) <= MAXIMUM_LINE


@pytest.mark.parametrize("offence", [Offence.HANDSHAKE, Offence.TIMEOUT])
def test_whatFailedIsToldOnce(offence: Offence) -> None:
    """A penalty for it is told when the peer is refused because of it."""
    heard = Heard()
    observer = LogObserver(Logger(observer=heard))
    observer.observe(PeerPenalized("echo", PEER, "it took too long", offence))
    assert heard.texts() == []
    observer.observe(PeerPenalized("echo", PEER, "it took too long", offence, 20.0))
    assert len(heard.texts()) == 1
