"""
Sources that a datagram service must not be talked into answering.

A datagram's source is whatever its sender wrote.  An answer to a forged source
that itself answers anything starts a loop that no packet ends (CVE-2024-2169,
VU#417980), and the port tells such a source: services listen on known ports,
clients are given ephemeral ones.
"""

from __future__ import annotations

import socket
from collections import Counter
from typing import Final

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress

LOOPING_PORTS: Final = frozenset({0, 7, 13, 17, 19, 37, 69})
"""Never handed to any protocol: no client sends from port 0, and the others are
the services that VU#417980 found to answer anything (echo, daytime, qotd,
chargen, time, TFTP)."""

PRIVILEGED_PORTS: Final = frozenset(range(1024))
"""A client needs to be root to send from these; a service listens on them."""

REFLECTOR_PORTS: Final = frozenset(
    {
        1194,  # OpenVPN
        1434,  # Microsoft SQL Server's browser
        1900,  # SSDP
        3283,  # Apple Remote Desktop
        3478,  # STUN
        3659,  # Battlefield
        3702,  # WS-Discovery
        5060,  # SIP
        5093,  # Sentinel licence manager
        5349,  # STUN over DTLS
        5351,  # NAT-PMP
        5353,  # mDNS
        5683,  # CoAP
        6881,  # BitTorrent's DHT
        10001,  # Ubiquiti discovery
        10074,  # Mitel MiCollab
        11211,  # memcached
        17185,  # VxWorks debugger
        20800,  # Call of Duty
        26000,  # Quake
        27005,  # Steam
        27015,  # Source engine
        27960,  # Quake 3
        30718,  # Lantronix
        33848,  # Jenkins
        37810,  # Dahua DVR
        41794,  # Crestron
    }
)
"""Services above 1023 that have been used to reflect (CISA TA14-017A and the
scans of the Shadowserver Foundation)."""

UNANSWERED_PORTS: Final = PRIVILEGED_PORTS | REFLECTOR_PORTS
"""Never handed to a protocol that answers anything."""

_REMEMBERED_HOSTS: Final = 1024


class OwnSockets:
    """
    The datagram sockets of this process, to tell a datagram from one of them.

    One of our services answering another is the same loop without a port that
    would give it away.
    """

    def __init__(self) -> None:
        self.ports: Counter[int] = Counter()
        self._local: dict[str, bool] = {}

    def add(self, address: IAddress | None) -> None:
        """
        A socket is open.
        """
        if isinstance(address, (IPv4Address, IPv6Address)):
            self.ports[address.port] += 1

    def remove(self, address: IAddress | None) -> None:
        """
        A socket is closed.
        """
        if isinstance(address, (IPv4Address, IPv6Address)):
            self.ports[address.port] -= 1
            if not self.ports[address.port]:
                del self.ports[address.port]

    def sent(self, source: tuple[str, int]) -> bool:
        """
        Say whether a datagram's source is one of our own sockets.

        Args:
            source: The address it came from.
        """
        host, port = source
        return port in self.ports and self._isLocal(host)

    def _isLocal(self, host: str) -> bool:
        # An address is ours when a socket can be bound to it.  Remembered,
        # because a flood asks often; bounded, because a flood forges hosts.
        known = self._local.get(host)
        if known is None:
            if len(self._local) >= _REMEMBERED_HOSTS:
                self._local.clear()
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                try:
                    probe.bind((host, 0))
                except OSError:
                    known = False
                else:
                    known = True
            self._local[host] = known
        return known


OWN_SOCKETS: Final = OwnSockets()
"""Those of this process: all its servers share them."""
