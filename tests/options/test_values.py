"""Durations, sizes and addresses: read as an operator writes them, and written back."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from myserv.options.values import (
    Duration,
    HostPort,
    Size,
    parseIPAddress,
    parseIPNetwork,
    parsePort,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("30s", 30),
        ("1.5m", 90),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        (" 30 s ", 30),
        ("2d", 172800),
        ("9ms", 0.009),
        ("0.5ms", 0.0005),
        ("1s500ms", 1.5),
        ("30m1h", 5400),
        ("007s", 7),
    ],
)
def test_durationIsRead(text: str, seconds: float) -> None:
    """Numbers with units, added up; spaces between them do not matter."""
    assert Duration.parse(text) == seconds
    assert isinstance(Duration.parse(text), Duration)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "s",
        "1h30",
        "30x",
        "30S",
        "30sec",
        "-1s",
        "+1s",
        "1,5s",
        ".5s",
        "1.s",
        "1 0s",
        "1e3s",
        "s30",
        "30s!",
        "!30s",
        "1h, 30m",
        "nans",
        "infs",
        "3\uff10s",
        "9" * 400 + "s",
    ],
)
def test_whatIsNoDuration(text: str) -> None:
    """Anything else is refused, and the text that was written is in the sentence."""
    with pytest.raises(ValueError, match="is not a duration: write a number and ms") as caught:
        Duration.parse(text)
    assert str(caught.value).startswith(repr(text))


@pytest.mark.parametrize(("text", "meant"), [("30", "30s"), (" 1.5 ", "1.5s"), ("00", "00s")])
def test_aDurationWithoutAUnit(text: str, meant: str) -> None:
    """The unit is what is missing, for nothing, too."""
    with pytest.raises(ValueError, match="write a unit") as caught:
        Duration.parse(text)
    assert str(caught.value) == f'{text!r} is not a duration: write a unit: "{meant}"'


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (1, "1s"),
        (59, "59s"),
        (60, "1m"),
        (90, "90s"),
        (3600, "1h"),
        (5400, "90m"),
        (86400, "1d"),
        (172800, "2d"),
        (0.25, "250ms"),
        (0.009, "9ms"),
        (0.0005, "0.0005s"),
        (1.5, "1.5s"),
        (1e-7, "0.0000001s"),
    ],
)
def test_durationIsWritten(seconds: float, text: str) -> None:
    """The largest unit that has a whole number of them."""
    assert str(Duration(seconds)) == repr(Duration(seconds)) == text


@given(st.floats(min_value=0, allow_infinity=False))
@example(0.009)
@example(5e-324)
@example(1.7976931348623157e308)
@example(86400.00000000001)
@example(0.1 + 0.2)
def test_durationIsReadAsItWasWritten(seconds: float) -> None:
    """What is printed is the same number, to the last bit."""
    assert Duration.parse(str(Duration(seconds))) == seconds


@pytest.mark.parametrize("seconds", [float("inf"), float("nan"), -1.0, -0.0])
def test_anyDurationCanBeWritten(seconds: float) -> None:
    """A program's own odd durations print too, if not as an operator would."""
    assert str(Duration(seconds)).endswith("s")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("512", 512),
        ("512B", 512),
        ("1kB", 1000),
        ("1.1kB", 1100),
        ("2MB", 2 * 10**6),
        ("3GB", 3 * 10**9),
        ("64KiB", 65536),
        ("1MiB", 2**20),
        ("0.5GiB", 2**29),
        (" 64 kib ", 65536),
        ("1.0", 1),
        ("9007199254740993.0", 2**53 + 1),
        ("9" * 100, 10**100 - 1),
    ],
)
def test_sizeIsRead(text: str, count: int) -> None:
    """A number and a unit in either case, without one bytes, to the exact byte."""
    assert Size.parse(text) == count
    assert isinstance(Size.parse(text), Size)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "B",
        "KiB",
        "-1",
        "+1",
        "1e3",
        "1K",
        "1M",
        "1TiB",
        "1 2",
        "1KiB2",
        "1h",
        "1,5kB",
        ".5kB",
        "6\uff14",
        "9" * 101,
        "9" * 5000,
        "9" * 5000 + ".0",
    ],
)
def test_whatIsNoSize(text: str) -> None:
    """Anything else is refused, numbers beyond all machines included."""
    with pytest.raises(ValueError, match="is not a size: write a number and B, kB") as caught:
        Size.parse(text)
    assert str(caught.value).startswith(repr(text))


@pytest.mark.parametrize("text", ["0.5", "1.5B", "1.0001kB", "0.1KiB"])
def test_sizeIsWhole(text: str) -> None:
    """There is no part of a byte."""
    with pytest.raises(ValueError, match=f"^'{text}' is not a whole number of bytes$"):
        Size.parse(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (1, "1B"),
        (1000, "1kB"),
        (1024, "1KiB"),
        (1025, "1025B"),
        (1536, "1536B"),
        (2**20, "1MiB"),
        (3 * 2**30, "3GiB"),
        (5 * 10**6, "5MB"),
        (10**9, "1GB"),
    ],
)
def test_sizeIsWritten(count: int, text: str) -> None:
    """The largest unit that has a whole number of them, powers of two first."""
    assert str(Size(count)) == repr(Size(count)) == text


@given(st.integers(0, 10**99) | st.integers(0, 2**20).map(lambda n: n * 1000))
def test_sizeIsReadAsItWasWritten(count: int) -> None:
    """What is printed is the same number of bytes."""
    assert Size.parse(str(Size(count))) == count


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("example.org:80", "example.org", 80),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("[::1]:65535", "::1", 65535),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
        ("[10.0.0.1]:80", "10.0.0.1", 80),
        ("a:080", "a", 80),
    ],
)
def test_hostPortIsRead(text: str, host: str, port: int) -> None:
    """A host, in brackets if it has colons of its own, and a port."""
    assert HostPort.parse(text) == HostPort(host, port)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not an address"),
        ("example.org", "is not an address"),
        (":80", "is not an address"),
        ("::1:80", "is not an address"),
        ("a b:80", "is not an address"),
        ("[a:80", "is not an address"),
        ("a]:80", "is not an address"),
        ("[]:80", "is not an address"),
        ("[[::1]]:80", "is not an address"),
        ("[::1]", "is not an address"),
        ("[::1]80", "is not an address"),
        ("[example.org]:80", "'example.org' is not an IP address"),
        ("a:", "'' is not a port"),
        ("a:65536", "'65536' is not a port"),
        ("a: 80", "' 80' is not a port"),
        ("a:http", "'http' is not a port"),
    ],
)
def test_whatIsNoHostPort(text: str, message: str) -> None:
    """The sentence names the part that is wrong."""
    with pytest.raises(ValueError, match="is not a") as caught:
        HostPort.parse(text)
    assert message in str(caught.value)


HOSTS = (
    st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True)
    | st.ip_addresses(v=4).map(str)
    | st.ip_addresses(v=6).map(str)
)


@given(HOSTS, st.integers(0, 65535))
def test_hostPortIsReadAsItWasWritten(host: str, port: int) -> None:
    """What is printed is the same host and port."""
    assert HostPort.parse(str(HostPort(host, port))) == HostPort(host, port)


@pytest.mark.parametrize(("text", "port"), [("0", 0), ("7007", 7007), ("065535", 65535)])
def test_portIsRead(text: str, port: int) -> None:
    """A port is a whole number from 0 to 65535."""
    assert parsePort(text) == port


@pytest.mark.parametrize(
    "text", ["", "-1", "65536", "655350", "0000080", "9" * 5000, "8 0", "²", "٣"]
)
def test_whatIsNoPort(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match="is not a port: write a number from 0 to 65535"):
        parsePort(text)


@pytest.mark.parametrize("text", ["127.0.0.1", "::1", "[::1]"])
def test_addressIsRead(text: str) -> None:
    """IPv4 or IPv6, the latter with or without brackets."""
    assert parseIPAddress(text) == ip_address(text.strip("[]"))


@pytest.mark.parametrize("text", ["", "localhost", "127.0.0.1:80", "[::1", "10.0.0.0/8", "1"])
def test_whatIsNoAddress(text: str) -> None:
    """Names and networks are no addresses."""
    with pytest.raises(ValueError, match=r'is not an IP address: write one such as "127\.0\.0\.1"'):
        parseIPAddress(text)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::1", "::1/128"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("[2001:db8::]/32", "2001:db8::/32"),
        ("[::1]", "::1/128"),
    ],
)
def test_networkIsRead(text: str, network: str) -> None:
    """CIDR notation; a single address is a network of one."""
    assert parseIPNetwork(text) == ip_network(network)


def test_networkWithBitsBeyondItsPrefix() -> None:
    """The network that was probably meant is suggested."""
    with pytest.raises(ValueError, match="beyond") as caught:
        parseIPNetwork("10.1.2.3/8")
    assert str(caught.value) == (
        "'10.1.2.3/8' has bits set beyond its prefix; did you mean \"10.0.0.0/8\"?"
    )


@pytest.mark.parametrize("text", ["", "all", "10.0.0.0/33", "10.0.0/8", "[::1", "[]/8"])
def test_whatIsNoNetwork(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match=r'is not a network: write one such as "10\.0\.0\.0/8"'):
        parseIPNetwork(text)


PARSERS: list[Callable[[str], object]] = [
    Duration.parse,
    Size.parse,
    HostPort.parse,
    parsePort,
    parseIPAddress,
    parseIPNetwork,
]


@given(st.sampled_from(PARSERS), st.text() | st.text("0123456789.:[]/%smhdkMGiB "))
def test_arbitraryTextOnlyRaisesValueError(parse: Callable[[str], object], text: str) -> None:
    """Whatever is written is a value or a ValueError with a sentence about it."""
    try:
        value = parse(text)
    except ValueError as error:
        told = str(error)
    else:
        assume(value is not None)
        assert parse(str(value)) == value
        return
    assert " is not " in told or " has bits " in told


def test_noTimeNeedsNoUnit() -> None:
    """Zero is zero in any."""
    assert Duration.parse("0") == Duration.parse("0s") == Duration(0)
