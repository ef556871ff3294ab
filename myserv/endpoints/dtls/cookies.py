"""
Cookies: proof that a peer reads what is sent to its address.

A cookie is a keyed hash of the address and of the ClientHello that it was made
for, so nothing has to be remembered of whom it was given to.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from hashlib import blake2s
from typing import Any, Final

ROTATION: Final = 60.0
"""Seconds that a secret makes cookies.  It is accepted for as long again, so a
cookie is good for one to two minutes; a client that retransmits as RFC 6347 says
has given up by then."""

SIZE: Final = 16
"""Bytes of a cookie: 128 bits cannot be guessed.  Clients take up to 32 of DTLS
1.0 and up to 255 of DTLS 1.2."""

_SECRET_SIZE: Final = 32


class Cookies:
    """
    Makes and checks the cookies of one listener.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        """
        Args:
            seconds: Tells the time.
        """
        self._seconds = seconds
        self._since = seconds()
        self._secret = self._previous = secrets.token_bytes(_SECRET_SIZE)

    def make(self, address: Any, parameters: bytes) -> bytes:
        """
        Make the cookie of a peer.

        Args:
            address: Where the peer says it is.
            parameters: What of its ClientHello does not change.
        """
        self._rotate()
        return _hash(self._secret, address, parameters)

    def isGood(self, cookie: bytes, address: Any, parameters: bytes) -> bool:
        """
        Say whether a cookie was made here for this peer, not long ago.
        """
        if len(cookie) != SIZE:
            return False
        self._rotate()
        return any(
            hmac.compare_digest(cookie, _hash(secret, address, parameters))
            for secret in (self._secret, self._previous)
        )

    def _rotate(self) -> None:
        # Without a timer: an unused secret may grow old.
        age = self._seconds() - self._since
        if age < ROTATION:
            return
        fresh = secrets.token_bytes(_SECRET_SIZE)
        self._previous = self._secret if age < 2 * ROTATION else fresh
        self._secret = fresh
        self._since += age


def _hash(secret: bytes, address: Any, parameters: bytes) -> bytes:
    # The parameters begin with a fixed number of bytes and end in the session,
    # whose length they hold; so no two pairs run together to the same bytes.
    return blake2s(parameters + repr(address).encode(), digest_size=SIZE, key=secret).digest()
