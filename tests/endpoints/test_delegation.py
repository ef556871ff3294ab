"""What stands over a transport can do whatever that can."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.interfaces import IHandshakeListener
from zope.interface import implementer

from myserv.endpoints.delegation import OfTransport, layerOver


class Wire:
    """A transport."""

    colour = "red"

    def __init__(self) -> None:
        self.speed = 7

    def getSpeed(self) -> int:
        """How fast it is."""
        return self.speed

    def getPeer(self) -> str:
        """Who is there."""
        return "somebody"

    def startTLS(self, context: object, normal: bool = True) -> str:
        """Be able to do more."""
        self.cipher = "strong"
        return f"{context} {normal}"


class Plain:
    """What stands over it."""

    upper = None

    def __init__(self, transport: Any) -> None:
        self.transport = transport

    def getPeer(self) -> str:
        """Who is there, as it knows."""
        return f"{self.transport.getPeer()} else"

    def transportChanged(self) -> None:
        """The transport is another, and yet the same."""
        self.changed = self.transport.cipher


class Deaf(Plain):
    """Another."""


def over(transport: Any, kind: type[Plain] = Plain) -> Any:
    """One of them, over a transport."""
    upper: Any = kind(transport)
    upper.__class__ = layerOver(kind, transport)
    return upper


def test_passesOn() -> None:
    """All that its class has not, and no more."""
    upper = over(Wire())
    assert (upper.colour, upper.speed, upper.getSpeed(), upper.getPeer()) == (
        "red",
        7,
        7,
        "somebody else",
    )
    with pytest.raises(AttributeError):
        _ = upper.cipher
    assert isinstance(upper, Plain)


def test_ofEachItsOwn() -> None:
    """The class is common; what it passes on is the transport's at that time."""
    first, second = over(Wire()), over(Wire())
    assert type(first) is type(second)
    second.transport.speed = 9
    assert (first.speed, second.speed) == (7, 9)
    assert isinstance(type(first).speed, OfTransport)


def test_mayBeSet() -> None:
    """On the object itself."""
    upper = over(Wire())
    upper.speed = 8
    assert (upper.speed, upper.transport.speed) == (8, 7)


def test_severalOnTopOfEachOther() -> None:
    """The upper one has what the lower one has from below, or has changed."""
    lower = over(Wire())
    lower.speed = 8
    upper = over(lower, Deaf)
    assert (upper.colour, upper.speed, upper.getPeer()) == ("red", 8, "somebody else else")
    assert type(over(lower, Deaf)) is type(upper)


def test_startTLS() -> None:
    """What the transport can do after it, it can, too."""
    upper = over(Wire())
    assert upper.startTLS("context", normal=False) == "context False"
    assert upper.cipher == upper.changed == "strong"
    for name in ("unheardOf", "__unheardOf__"):
        with pytest.raises(AttributeError):
            getattr(upper, name)
    assert not IHandshakeListener.providedBy(upper)
    # Of this one only, and of the next one that does so.
    assert not hasattr(over(Wire()), "cipher")
    another = over(Wire())
    another.startTLS("context")
    assert type(another) is type(upper)


def test_startTLSForOneWhoListens() -> None:
    """Whose protocol it is from then on asks it for what is above it."""

    @implementer(IHandshakeListener)
    class Curious:
        def handshakeCompleted(self) -> None:
            """It is over."""

    upper = over(Wire())
    upper.upper = Curious()
    upper.startTLS("context")
    assert IHandshakeListener.providedBy(upper)
