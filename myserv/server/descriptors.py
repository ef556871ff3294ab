"""
How many connections the system's limit on descriptors leaves room for.
"""

from __future__ import annotations

import contextlib
import resource
from typing import Final

LEAST_RESERVE: Final = 64
"""Descriptors that are not for connections: listeners, logs, and what protocols open."""

MOST_RESERVE: Final = 1024
"""The same of a limit so high that a tenth of it would be a waste."""


def raiseDescriptorLimit() -> int:
    """
    Have as many descriptors as the system allows without asking an operator.

    Programs that use C{select} need the soft limit to be low; Go's runtime raises it
    at start-up as well.

    Returns:
        How many there are now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return soft


def connectionsIn(descriptors: int) -> int:
    """
    Say how many connections may be open at once.

    Args:
        descriptors: How many a process may have.

    Returns:
        At least 1; 0, for no limit, where there is none on descriptors.
    """
    if descriptors == resource.RLIM_INFINITY:
        return 0
    reserve = min(MOST_RESERVE, max(LEAST_RESERVE, descriptors // 10))
    return max(1, descriptors - reserve)
