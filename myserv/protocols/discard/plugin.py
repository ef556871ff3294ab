"""
Discard, as an operator finds it.
"""

from __future__ import annotations

from typing import Final

from myserv.plugin import ProtocolPlugin
from myserv.protocols.discard.protocol import DatagramDiscard, Discard

discard: Final = ProtocolPlugin(
    "discard",
    "throw away what arrives (RFC 863)",
    stream=Discard,
    datagram=DatagramDiscard,
)
