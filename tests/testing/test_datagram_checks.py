"""Every check of a protocol over datagrams finds a protocol that is wrong."""

from __future__ import annotations

import re
from typing import Any

import pytest
from twisted.internet.defer import fail
from twisted.internet.protocol import DatagramProtocol, Protocol

from myserv.plugin import DatagramSession, ProtocolPlugin, SessionLimits
from myserv.server import datagram
from myserv.testing import Exchange, LoggedFailures, checkDatagramPlugin

CONVERSATION = [
    Exchange(b"?one", b"=one"),
    Exchange(b"hint"),
    Exchange(b"?two", re.compile(rb"=tw.")),
]


class Answerer(DatagramProtocol):
    """Does everything right."""

    transport: Any

    def __init__(self, context: Any = None, options: object = None) -> None:
        self.context = context

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if datagram.startswith(b"?"):
            self.transport.write(b"=" + datagram[1:], addr)


def check(
    datagram: Any,
    conversation: Any = CONVERSATION,
    answersAnything: bool = False,
    **arguments: Any,
) -> None:
    """Check a protocol class."""

    class Plugin(ProtocolPlugin):
        def buildDatagramProtocol(self, context: Any, options: Any) -> Any:
            return datagram(context, options)

    plugin: Any = Plugin("broken", "", datagram=datagram, answersAnything=answersAnything)
    checkDatagramPlugin(plugin, conversation, **arguments)


def test_right() -> None:
    """A protocol that does everything right passes."""
    check(Answerer)


def test_answerByTheClock() -> None:
    """An answer may take its time."""

    class Slow(Answerer):
        def datagramReceived(self, datagram: bytes, addr: Any) -> None:
            if datagram.startswith(b"?"):
                later = self.context.reactor.callLater
                self.last = later(1, super().datagramReceived, datagram, addr)

        def stopProtocol(self) -> None:
            for call in list(self.context.reactor.getDelayedCalls()):
                call.cancel()

    check(Slow, CONVERSATION[:1])


class Echo(Answerer):
    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.transport.write(datagram, addr)


class WrongAnswer(Answerer):
    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        super().datagramReceived(datagram[:2], addr)


class NoAnswer(Answerer):
    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        pass


class TwoAnswers(Answerer):
    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        super().datagramReceived(datagram, addr)
        super().datagramReceived(datagram, addr)


class AnswersHints(Answerer):
    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.transport.write(datagram.replace(b"?", b"="), addr)


class NeedsBytes(Answerer):
    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        assert datagram[0] >= 0
        super().datagramReceived(datagram, addr)


class NeedsAddress(Answerer):
    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        _host, _port = addr
        super().datagramReceived(datagram, addr)


class AnswersErrors(Answerer):
    """Answers an error with an error, and so would the other."""

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if datagram.startswith(b"?"):
            super().datagramReceived(datagram, addr)
        elif datagram != b"hint":
            self.transport.write(b"error", addr)


class LeavesTimer(Answerer):
    def startProtocol(self) -> None:
        self.context.reactor.callLater(100, int)


class ServesOnce(Answerer):
    stopped = False

    def stopProtocol(self) -> None:
        self.stopped = True

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if not self.stopped:
            super().datagramReceived(datagram, addr)


class AnswersLast(Answerer):
    """Mixes peers up."""

    last: Any = None

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        super().datagramReceived(datagram, self.last or addr)
        self.last = addr


class LosesFailure(Answerer):
    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        fail(KeyError("nobody listens"))
        super().datagramReceived(datagram, addr)


@pytest.mark.parametrize(
    ("datagram", "complaint"),
    [
        (WrongAnswer, "on its own: sent b'.one', expected b'=one', received .b'=o'"),
        (NoAnswer, "on its own: sent b'.one'.*received .]"),
        (TwoAnswers, "on its own: .*received .b'=one', b'=one'"),
        (AnswersHints, "on its own: sent b'hint', expected b''"),
        (NeedsBytes, "sends junk: datagramReceived raised.*IndexError"),
        (NeedsAddress, "without a name: datagramReceived raised.*TypeError"),
        (AnswersErrors, "its own answers are sent to it: .*answersAnything=True"),
        (LeavesTimer, "on its own: the stopped server has timers"),
        (ServesOnce, "starts again: sent b'.one'"),
        (AnswersLast, "two peers at once: sent b'.one'"),
        (LosesFailure, "it was logged that .*nobody listens"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_wrong(datagram: Any, complaint: str, loggedErrors: LoggedFailures) -> None:
    """A protocol that does something wrong does not, and the error tells what."""
    with pytest.raises(AssertionError, match=re.compile(f"^broken, .*{complaint}", re.DOTALL)):
        check(datagram)
    loggedErrors.take(KeyError)


def test_answersAnything() -> None:
    """Who answers anything has to say so."""
    conversation = [Exchange(b"hello", b"hello")]
    with pytest.raises(AssertionError, match="answersAnything=True"):
        check(Echo, conversation)
    check(Echo, conversation, answersAnything=True)


def test_anotherKind() -> None:
    """A plugin for connections only has nothing to check."""
    plugin = ProtocolPlugin("broken", "", stream=Protocol)
    with pytest.raises(AssertionError, match="no protocol over datagrams"):
        checkDatagramPlugin(plugin, CONVERSATION)


def test_reflectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that answers anything must not be given what reflectors send."""
    monkeypatch.setattr(datagram, "UNANSWERED_PORTS", frozenset())
    with pytest.raises(AssertionError, match=r"from a reflector: it answered .*192.0.2.1"):
        check(Echo, [Exchange(b"hello", b"hello")], answersAnything=True)


def test_isolated() -> None:
    """Who says that peers know of each other is not checked for it."""
    check(AnswersLast, CONVERSATION, isolated=False)


class AnswererSession(DatagramSession):
    """Does everything right for one peer."""

    def datagramReceived(self, datagram: bytes) -> None:
        if datagram.startswith(b"?"):
            self.transport.write(b"=" + datagram[1:])


def checkSession(session: Any, **arguments: Any) -> None:
    """Check a session class."""
    limits = SessionLimits(idle=20, unproved=10)
    plugin: Any = ProtocolPlugin("broken", "", session=session, sessionLimits=limits)
    checkDatagramPlugin(plugin, CONVERSATION, **arguments)


def test_session() -> None:
    """Sessions are checked as any protocol is."""
    checkSession(AnswererSession)
    checkSession(AnswererSession, isolated=False)


class AnswersOnce(AnswererSession):
    """Remembers what it should forget."""

    lost = 0

    def sessionLost(self, reason: Any) -> None:
        AnswersOnce.lost += 1

    def datagramReceived(self, datagram: bytes) -> None:
        if not AnswersOnce.lost:
            super().datagramReceived(datagram)


class RaisesAtTheEnd(AnswererSession):
    def sessionLost(self, reason: Any) -> None:
        raise KeyError("oops")


@pytest.mark.parametrize(
    ("session", "complaint"),
    [
        (AnswersOnce, "two peers at once|comes back: sent b'.one'"),
        (RaisesAtTheEnd, "on its own: sessionLost raised"),
    ],
)
def test_wrongSession(session: Any, complaint: str) -> None:
    """A session that does something wrong does not pass."""
    with pytest.raises(AssertionError, match=re.compile(f"^broken, .*({complaint})", re.DOTALL)):
        checkSession(session)


def test_amplification() -> None:
    """An answer that is too large for a forged source is told as what it is."""
    question, answer = b"?" + b"x" * 10, b"=" * 100

    class Amplifier(Answerer):
        def datagramReceived(self, datagram: bytes, addr: Any) -> None:
            if datagram == question:
                self.transport.write(answer, addr)

    conversation = [Exchange(question, answer)]
    with pytest.raises(AssertionError, match="more than 3 times what its source sent"):
        check(Amplifier, conversation)
    check(Amplifier, conversation, provesAddress=True)


def test_anotherDrop() -> None:
    """Something else that was dropped does not explain a missing answer."""

    class Deaf(Answerer):
        def datagramReceived(self, datagram: bytes, addr: Any) -> None:
            self.transport.countDropped("it was not heard", addr)

    with pytest.raises(AssertionError, match=r"sent b'.one', expected"):
        check(Deaf)
