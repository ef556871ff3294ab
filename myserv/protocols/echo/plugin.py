"""
Echo, as an operator finds it.
"""

from __future__ import annotations

from typing import Final

from myserv.plugin import ProtocolPlugin
from myserv.protocols.echo.protocol import DatagramEcho, Echo

echo: Final = ProtocolPlugin(
    "echo",
    "send back what arrives (RFC 862)",
    stream=Echo,
    datagram=DatagramEcho,
    answersAnything=True,
)
