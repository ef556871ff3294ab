"""
Why an arrival or a datagram is refused: few sentences, so that refusals can be counted by them.
"""

from __future__ import annotations

from typing import Final

NETWORK: Final = "its network is not let in"
"""By C{allow} or C{deny}."""

CREDENTIALS: Final = "its user is not let in"
"""By C{users} or C{groups}."""

PENALIZED: Final = "it has misbehaved too much"
"""By C{[penalties]}."""

PEER_RATE: Final = "its peer connects too often"
"""By C{acceptRatePerPeer}."""

RATE: Final = "connections come too fast"
"""By C{acceptRate}."""

PEER_CONNECTIONS: Final = "its peer has too many connections"
"""By C{maxConnectionsPerPeer}."""

CONNECTIONS: Final = "the service has as many connections as it may have"
"""By the service's C{maxConnections}."""

ROOM: Final = "the server has as many connections as it may have"
"""By the server's C{maxConnections}."""

DATAGRAM_PEER_RATE: Final = "its source sends too often"
"""By C{datagramRatePerPeer}."""

DATAGRAM_RATE: Final = "datagrams come too fast"
"""By C{datagramRate}."""

RAISED: Final = "a rule raised"
"""A third party's rule has a bug."""

OTHER: Final = "another rule refused it"
"""A third party's rule has more reasons than can be counted."""
