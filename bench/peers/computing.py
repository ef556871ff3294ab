"""
A protocol that computes before it answers: what more than one core is wanted for.
"""

from hashlib import pbkdf2_hmac
from typing import Final

from twisted.internet.protocol import Protocol

ITERATIONS: Final = 400
"""About a tenth of a millisecond: many times what the load generator needs for a message."""


class Computing(Protocol):
    def dataReceived(self, data: bytes) -> None:
        pbkdf2_hmac("sha256", data, b"salt", ITERATIONS)
        transport = self.transport
        assert transport is not None
        transport.write(data)
