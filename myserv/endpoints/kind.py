"""
The two kinds of endpoint.
"""

from __future__ import annotations

import enum


class Kind(enum.Enum):
    """What comes through an endpoint."""

    STREAM = "stream"
    DATAGRAM = "datagram"
