"""
Chargen, as an operator finds it.
"""

from __future__ import annotations

from typing import Final

from myserv.plugin import ProtocolPlugin
from myserv.protocols.chargen.protocol import Chargen, DatagramChargen

chargen: Final = ProtocolPlugin(
    "chargen",
    "send characters without end (RFC 864)",
    stream=Chargen,
    datagram=DatagramChargen,
    answersAnything=True,
)
