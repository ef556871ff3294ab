"""The quote of the day (RFC 865)."""

from __future__ import annotations

from pathlib import Path

import pytest

from myserv.errors import ConfigurationError
from myserv.protocols.qotd.codec import MAXIMUM_QUOTE, Quotes, parseQuotes
from myserv.protocols.qotd.plugin import qotd
from myserv.protocols.qotd.proverbs import PROVERBS
from myserv.testing import hostPlugin

SHORT, MIDDLE, LONG = b"ab\r\n", b"abcdef\r\n", b"abcdefghijkl\r\n"


def first(limit: int) -> int:
    """The smallest of C{randomBelow}'s numbers."""
    return 0


def last(limit: int) -> int:
    """The largest of C{randomBelow}'s numbers."""
    return limit - 1


@pytest.mark.parametrize(
    ("data", "quotes"),
    [
        (b"one", [b"one\r\n"]),
        (b"one\n", [b"one\r\n"]),
        (b"one\n%\n", [b"one\r\n"]),
        (b"one\n%\ntwo\n", [b"one\r\n", b"two\r\n"]),
        (b"one\r\n%\r\ntwo\r\n%\r\n", [b"one\r\n", b"two\r\n"]),
        (b"one\nand a half\n\nor so\n\n\n", [b"one\r\nand a half\r\n\r\nor so\r\n"]),
        (b"100 %\n%\n%%\n", [b"100 %\r\n", b"%%\r\n"]),
        (b"x" * (MAXIMUM_QUOTE - 2), [b"x" * (MAXIMUM_QUOTE - 2) + b"\r\n"]),
    ],
)
def test_aFileOfQuotesIsSplitAtItsSeparators(data: bytes, quotes: list[bytes]) -> None:
    """
    Each line ends with CR LF, however the file ends it.
    """
    assert parseQuotes(data, "file") == quotes


@pytest.mark.parametrize(
    ("data", "problems"),
    [
        (b"", ["file:1: there should be a quote here"]),
        (b" \n\t\n", ["file:1: there should be a quote here"]),
        (b"%\n", ["file:1: there should be a quote here"]),
        (b"one\n%\n%\ntwo\n", ["file:3: there should be a quote here"]),
        (b"one\n%\n \n%\ntwo\n", ["file:3: there should be a quote here"]),
        (
            b"one\n%\n\n" + b"x" * 508,
            ["file:3: this quote has 512 characters; the most is 511"],
        ),
        (
            "one\ncafé\ncafé\n".encode(),
            ["file:2: byte 0xc3 is not printable ASCII, as a quote has to be"],
        ),
        (
            b"a\tb\n%\n" + b"x" * 600 + b"\n%\n%\nc\rd",
            [
                "file:1: byte 0x09 is not printable ASCII, as a quote has to be",
                "file:3: this quote has 602 characters; the most is 511",
                "file:5: there should be a quote here",
                "file:6: byte 0x0d is not printable ASCII, as a quote has to be",
            ],
        ),
    ],
)
def test_aQuoteThatCannotBeSentIsAProblem(data: bytes, problems: list[str]) -> None:
    """
    Every problem is told at once, each with its line.
    """
    with pytest.raises(ConfigurationError) as caught:
        parseQuotes(data, "file")
    assert [str(each) for each in caught.value.problems] == problems


def test_theProverbsAreADozenQuotes() -> None:
    """
    They are held to what is asked of an operator's file.
    """
    assert len(parseQuotes(PROVERBS, "proverbs")) >= 12


def test_anyQuoteMayBeChosen() -> None:
    """
    The source of numbers says which.
    """
    quotes = [LONG, SHORT, MIDDLE]
    chosen = {Quotes(quotes, lambda limit, n=each: n).choose() for each in range(3)}  # type: ignore[misc]
    assert chosen == set(quotes)


@pytest.mark.parametrize(
    ("size", "longest"),
    [
        (1000, LONG),
        (len(LONG), LONG),
        (len(LONG) - 1, MIDDLE),
        (len(MIDDLE), MIDDLE),
        (len(MIDDLE) - 1, SHORT),
        (len(SHORT), SHORT),
    ],
)
def test_aChoiceWithinASizeIsAmongThoseThatFit(size: int, longest: bytes) -> None:
    """
    The longest of them fits exactly, the shortest always does.
    """
    assert Quotes([LONG, SHORT, MIDDLE], last).chooseWithin(size) == longest
    assert Quotes([LONG, SHORT, MIDDLE], first).chooseWithin(size) == SHORT


@pytest.mark.parametrize(("size", "cut"), [(3, b"ab\r"), (1, b"a"), (0, b"")])
def test_whereNoneFitsOneIsCut(size: int, cut: bytes) -> None:
    """
    An empty datagram is answered with an empty one.
    """
    assert Quotes([LONG, SHORT], first).chooseWithin(size) == cut


def test_aConnectionIsSentAQuoteAndClosed() -> None:
    """
    The server speaks first, and closes.
    """
    server = hostPlugin(qotd)
    peer = server.connect()
    server.settle()
    assert peer.received in parseQuotes(PROVERBS, "proverbs")
    assert peer.writeClosed


def test_whatAConnectionSendsIsThrownAway() -> None:
    """
    A client that says something first gets one quote too.
    """
    server = hostPlugin(qotd)
    peer = server.connect()
    peer.send(b"another!\r\n")
    server.settle()
    assert peer.received in parseQuotes(PROVERBS, "proverbs")
    assert peer.writeClosed


def test_aDatagramIsAnsweredWithAQuote() -> None:
    """
    Any of them, when the datagram is large enough.
    """
    server = hostPlugin(qotd)
    peer = server.datagramPeer()
    for _ in range(200):
        peer.sendDatagram(b"x" * 512)
        server.settle()
    assert len(peer.received) == 200
    assert len(set(peer.received)) > 1
    assert set(peer.received) <= set(parseQuotes(PROVERBS, "proverbs"))


@pytest.mark.parametrize("size", [0, 1, 10, 30, 60])
def test_aDatagramsAnswerIsNeverLongerThanIt(size: int) -> None:
    """
    The service amplifies nothing.
    """
    server = hostPlugin(qotd)
    peer = server.datagramPeer()
    for _ in range(50):
        peer.sendDatagram(b"x" * size)
    server.settle()
    assert len(peer.received) == 50
    assert max(map(len, peer.received)) <= size


def test_theOperatorBringsAFile(tmp_path: Path) -> None:
    """
    It is read once: connections and datagrams are served after it has gone.
    """
    file = tmp_path / "quotes"
    file.write_text("Know thyself.\n")
    server = hostPlugin(qotd, {"file": str(file)})
    file.unlink()
    connection, sender = server.connect(), server.datagramPeer()
    sender.sendDatagram(b"x" * 100)
    server.settle()
    assert connection.received == b"Know thyself.\r\n"
    assert sender.received == [b"Know thyself.\r\n"]


def test_aFileThatCannotBeReadIsAProblemAtStartUp(tmp_path: Path) -> None:
    """
    The operator is told the key, the file and the system's reason.
    """
    missing = tmp_path / "missing"
    with pytest.raises(ConfigurationError) as caught:
        hostPlugin(qotd, {"file": missing})
    assert str(caught.value) == f"file: {missing}: there is no such file"
    with pytest.raises(ConfigurationError) as caught:
        hostPlugin(qotd, {"file": tmp_path})
    assert str(caught.value) == f"file: {tmp_path}: is a directory, not a file"
    with pytest.raises(ConfigurationError) as caught:
        hostPlugin(qotd, {"file": "/dev/zero"})
    assert str(caught.value) == "file: /dev/zero: is a device, not a regular file"


def test_aFileWithAWrongQuoteIsAProblemAtStartUp(tmp_path: Path) -> None:
    """
    The operator is told the file and the line.
    """
    file = tmp_path / "quotes"
    file.write_text("Know thyself.\n%\n" + "x" * 600)
    with pytest.raises(ConfigurationError) as caught:
        hostPlugin(qotd, {"file": file})
    assert str(caught.value) == f"{file}:3: this quote has 602 characters; the most is 511"
