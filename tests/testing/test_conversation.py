"""What a conversation is made of."""

from __future__ import annotations

import re

import pytest

from myserv.testing import Exchange, chunkings
from myserv.testing.conversation import MAX_CUTS, Answer, cuts, shorten


def isEven(received: bytes) -> bool:
    """An author's own idea of an answer."""
    return len(received) % 2 == 0


@pytest.mark.parametrize(
    ("expects", "endless", "received", "right"),
    [
        (b"ab", False, b"ab", True),
        (b"ab", False, b"abc", False),
        (b"ab", True, b"abc", True),
        (b"ab", True, b"a", False),
        (re.compile(b"a+"), False, b"aa", True),
        (re.compile(b"a+"), False, b"ab", False),
        (re.compile(b"a+"), True, b"ab", True),
        (isEven, False, b"ab", True),
        (isEven, True, b"abc", False),
    ],
)
def test_answeredBy(expects: Answer, endless: bool, received: bytes, right: bool) -> None:
    """Bytes, patterns and functions say what the whole answer is."""
    assert Exchange(b"", expects, endless=endless).answeredBy(received) is right


def test_mayBegin() -> None:
    """Only bytes can tell that an answer begins wrong."""
    assert Exchange(b"", b"abc").mayBegin(b"ab")
    assert not Exchange(b"", b"abc").mayBegin(b"b")
    assert Exchange(b"", re.compile(b"abc")).mayBegin(b"b")


def test_describe() -> None:
    """An error says what was sent, wanted and got, shortened."""
    assert Exchange(b"q", b"a").describe(b"b") == "sent b'q', expected b'a', received b'b'"
    assert "what matches b'a+'" in Exchange(b"q", re.compile(b"a+")).describe(b"b")
    assert "what isEven accepts" in Exchange(b"q", isEven).describe(b"b")
    assert len(shorten(b"x" * 10_000)) < 220


def test_cuts() -> None:
    """Every place of a short request, some of a long one, none outside it."""
    assert list(cuts(0)) == list(cuts(1)) == []
    assert list(cuts(4)) == [1, 2, 3]
    for length in (MAX_CUTS + 1, MAX_CUTS + 2, 1000, 100_000):
        places = list(cuts(length))
        assert len(places) <= MAX_CUTS + 2
        assert places == sorted(set(places))
        assert {1, length - 1} <= set(places) <= set(range(1, length))


def test_chunkings() -> None:
    """Whole, byte by byte, and in two at every place."""
    assert list(chunkings(b"abc")) == [
        [b"abc"],
        [b"a", b"b", b"c"],
        [b"a", b"bc"],
        [b"ab", b"c"],
    ]
