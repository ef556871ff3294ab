"""Which number a peer has."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, UNIXAddress

from myserv.admission.addresses import (
    REMEMBERED_ANSWERS,
    PeerNumbers,
    Remembered,
    hostOf,
    networkOf,
    readHost,
    readNetwork,
)


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        (IPv4Address("TCP", "192.0.2.1", 1), "192.0.2.1"),
        (("192.0.2.1", 1), "192.0.2.1"),
        (("fe80::1", 1, 0, 2), "fe80::1"),
        (UNIXAddress(b"/run/x"), None),
        ("/run/x", None),
        (b"/run/x", None),
        (None, None),
        ((7, 1), None),
    ],
)
def test_theHostIsFoundInWhateverNamesAPeer(peer: Any, host: str | None) -> None:
    """Addresses, pairs, and those that have none."""
    assert hostOf(peer) == host


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", (32, 0xC0000201)),
        ("::ffff:192.0.2.1", (32, 0xC0000201)),
        ("::ffff:c000:201", (32, 0xC0000201)),
        ("::1", (128, 1)),
        ("fe80::1%eth0", (128, 0xFE80 << 112 | 1)),
        ("", None),
        ("localhost", None),
        ("192.0.2", None),
        ("192.0.2.256", None),
        ("192.0.2.01", None),
        ("192.0.2.1\0", None),
        ("١٩٢.0.2.1", None),
        ("::1::", None),
        (":", None),
        ("%eth0", None),
        ("::\0", None),
        (None, None),
    ],
)
def test_anAddressIsReadOrIsNone(text: str | None, address: tuple[int, int] | None) -> None:
    """Mapped addresses are IPv4, scopes are ignored, and nothing raises."""
    assert readHost(text) == address


@pytest.mark.parametrize(
    ("network", "parts"),
    [
        ("192.0.2.0/24", (32, 24, 0xC00002)),
        ("2001:db8::/32", (128, 32, 0x20010DB8)),
        ("::ffff:192.0.2.0/120", (32, 24, 0xC00002)),
        ("::ffff:0:0/96", (32, 0, 0)),
        ("::/0", (128, 0, 0)),
    ],
)
def test_aMappedNetworkIsOfIPv4(network: str, parts: tuple[int, int, int]) -> None:
    """As the addresses in it are."""
    assert readNetwork(ip_network(network)) == parts


def test_peersAreToldApartByTheirPrefix() -> None:
    """Addresses with the prefix in common are one peer, others are not."""
    of = PeerNumbers(24, 64).of
    assert of["192.0.2.1"] == of["192.0.2.255"] == of["::ffff:192.0.2.7"]
    assert of["192.0.2.1"] != of["192.0.3.1"]
    assert of["2001:db8::1"] == of["2001:db8::ffff:0:0:1"]
    assert of["2001:db8::1"] != of["2001:db8:0:1::1"]
    assert of["nowhere"] is None
    assert of[None] is None


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "255.255.255.255"])
@pytest.mark.parametrize("prefix", [0, 1, 24, 31, 32])
def test_aNumberSaysWhichIPv4AddressesItStandsFor(host: str, prefix: int) -> None:
    """It is the network of that prefix."""
    number = PeerNumbers(prefix, 64).of[host]
    assert number is not None
    assert networkOf(number) == ip_network(f"{host}/{prefix}", strict=False)


@pytest.mark.parametrize("host", ["::", "::1", "2001:db8::1", "ffff::ffff"])
@pytest.mark.parametrize("prefix", [0, 1, 48, 64, 127, 128])
def test_aNumberSaysWhichIPv6AddressesItStandsFor(host: str, prefix: int) -> None:
    """It is the network of that prefix."""
    number = PeerNumbers(32, prefix).of[host]
    assert number is not None
    assert networkOf(number) == ip_network(f"{host}/{prefix}", strict=False)


def test_noTwoPrefixesHaveANumberInCommon() -> None:
    """What was counted under another prefix is of somebody else."""
    numbers = [
        PeerNumbers(prefix, prefix).of[host]
        for prefix in range(33)
        for host in ("0.0.0.0", "0.0.0.1", "128.0.0.0", "::", "::1", "8000::")
    ]
    networks = {networkOf(number) for number in numbers if number is not None}
    assert len(set(numbers)) == len(networks)


def test_answersAreRememberedUpToABound() -> None:
    """A flood of questions makes the memory no larger."""
    asked: list[int] = []

    def double(number: int) -> int:
        asked.append(number)
        return number * 2

    answers = Remembered(double)
    assert [answers[1], answers[1], answers[2]] == [2, 2, 4]
    assert asked == [1, 2]
    for number in range(3 * REMEMBERED_ANSWERS):
        answers[number]
        assert len(answers) <= REMEMBERED_ANSWERS
