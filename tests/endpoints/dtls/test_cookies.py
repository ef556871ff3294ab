"""Cookies prove an address, for a while."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock

from myserv.endpoints.dtls.cookies import ROTATION, SIZE, Cookies

ADDRESS = ("192.0.2.1", 5000)
PARAMETERS = b"\xfe\xfd" + bytes(32) + b"\0"


@pytest.fixture
def clock() -> Clock:
    """Time."""
    return Clock()


@pytest.fixture
def cookies(clock: Clock) -> Cookies:
    """Those of a listener."""
    return Cookies(clock.seconds)


def test_good(cookies: Cookies) -> None:
    """It is good for whom it was made."""
    cookie = cookies.make(ADDRESS, PARAMETERS)
    assert len(cookie) == SIZE
    assert cookies.isGood(cookie, ADDRESS, PARAMETERS)


@pytest.mark.parametrize(
    "address", [("192.0.2.1", 5001), ("192.0.2.2", 5000), ("::1", 5000), "/a", b"/a"]
)
def test_anotherAddress(cookies: Cookies, address: Any) -> None:
    """It is not good for anybody else, another port of the same host included."""
    assert not cookies.isGood(cookies.make(ADDRESS, PARAMETERS), address, PARAMETERS)


def test_anotherHello(cookies: Cookies) -> None:
    """Nor for another handshake."""
    cookie = cookies.make(ADDRESS, PARAMETERS)
    assert not cookies.isGood(cookie, ADDRESS, PARAMETERS[:-2] + b"\1\0")


def test_another(cookies: Cookies, clock: Clock) -> None:
    """Nor at another listener; nor are others good here."""
    cookie = Cookies(clock.seconds).make(ADDRESS, PARAMETERS)
    for wrong in (cookie, b"", cookie[:-1], cookie + b"\0", bytes(SIZE)):
        assert not cookies.isGood(wrong, ADDRESS, PARAMETERS)


def test_rotation(cookies: Cookies, clock: Clock) -> None:
    """It lives through one change of the secret and not through two."""
    first = cookies.make(ADDRESS, PARAMETERS)
    clock.advance(ROTATION)
    second = cookies.make(ADDRESS, PARAMETERS)
    assert second != first
    assert cookies.isGood(first, ADDRESS, PARAMETERS)
    clock.advance(ROTATION)
    assert not cookies.isGood(first, ADDRESS, PARAMETERS)
    assert cookies.isGood(second, ADDRESS, PARAMETERS)


def test_quietTimes(cookies: Cookies, clock: Clock) -> None:
    """A secret that nobody needed for long is not accepted either."""
    cookie = cookies.make(ADDRESS, PARAMETERS)
    clock.advance(2 * ROTATION)
    assert not cookies.isGood(cookie, ADDRESS, PARAMETERS)
