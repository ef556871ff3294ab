"""
A protocol that computes before it answers: what more than one core is wanted for.
"""

from hashlib import pbkdf2_hmac
from typing import Final

from twisted.internet.protocol import Protocol

ITERATIONS: Final = 1600
"""About two fifths of a millisecond.  The load generator runs on the cores of the workers,
and is not to take a part of them that matters."""


class Computing(Protocol):
    def dataReceived(self, data: bytes) -> None:
        pbkdf2_hmac("sha256", data, b"salt", ITERATIONS)
        transport = self.transport
        assert transport is not None
        transport.write(data)
