"""
The number that tells the time (RFC 868, "The Time"): "the number of seconds
since 00:00 (midnight) 1 January 1900 GMT, such that the time 1 is 12:00:01 am on
1 January 1900 GMT; this base will serve until the year 2036".
"""

from __future__ import annotations

import math
import struct
from typing import Final

UNIX_EPOCH: Final = 2_208_988_800
"""00:00 1 January 1970 GMT, one of the RFC's examples."""


def formatTime(seconds: float) -> bytes:
    """
    Tell the time.

    Args:
        seconds: Since 1970-01-01 00:00 UTC.

    Returns:
        A big-endian 32-bit number.  On 7 February 2036 at 06:28:16 UTC it
        starts again from 0; a client of that time has to know the century.
    """
    return struct.pack(">I", (math.floor(seconds) + UNIX_EPOCH) % 2**32)
