"""
Whose datagrams are taken, and how many: what admission says, at a datagram's price.

A refusal costs its source nothing but the datagram: there is no connection to
reset, and an answer would go to whomever a forger names.
"""

from __future__ import annotations

import math
from typing import Any, Final

from myserv.admission.service import Admission
from myserv.endpoints.drops import Drops

TOO_LARGE: Final = "it is larger than datagrams may be"
"""By C{maxDatagram}."""

LARGEST: Final = 65_507
"""Bytes in the largest UDP datagram over IPv4 (65,535 less two headers): with a limit
that is not below, no datagram over a network has to be looked at."""

REMEMBERED_HOSTS: Final = 4_096
"""Hosts that are known to be let in; when there are more, all are asked about again.
About 150 bytes each."""

NEVER: Final = -1
"""No version of any admission."""


class SourceRules:
    """
    The limits of one listener's sources.

    @ivar admission: Says who is let in, and how often.
    @ivar checksEach: Every datagram has to be asked about, because there is a limit
        that counts it or looks at its size.
    """

    def __init__(self, admission: Admission, drops: Drops) -> None:
        """
        Args:
            admission: The service's.
            drops: Counts what is not taken.
        """
        self.admission = admission
        self._drops = drops
        #: By host, the admission's version when it was let in.
        self._passed: dict[str, int] = {}
        self.limitsChanged()

    def limitsChanged(self) -> None:
        """
        Other limits are in force.
        """
        self._maximum = self.admission.limits.maxDatagram or math.inf
        self._isRated = self.admission.ratesDatagrams
        self.checksEach = self._isRated or self._maximum < LARGEST

    @property
    def version(self) -> int:
        """
        With which a source may be marked that L{takes} has just let in: as long as it
        is the admission's, its datagrams need not be asked about.
        """
        return NEVER if self.checksEach else self.admission.version

    def takes(self, addr: Any, size: int) -> bool:
        """
        Take a datagram, or drop it and count it by the reason.

        Args:
            addr: Where it says that it is from; a UNIX socket has no network.
            size: Its bytes.
        """
        if type(addr) is tuple:
            host = addr[0]
            admission = self.admission
            if self._passed.get(host) != admission.version:
                reason = admission.refusalOfSource(addr)
                if reason is not None:
                    # Not remembered: a penalty wears off, and nobody says when.
                    self._drops.add(reason, addr)
                    return False
                if len(self._passed) >= REMEMBERED_HOSTS:
                    self._passed.clear()
                self._passed[host] = admission.version
        if size > self._maximum:
            self._drops.add(TOO_LARGE, addr)
            return False
        if self._isRated:
            reason = self.admission.refusalOfDatagram(addr)
            if reason is not None:
                self._drops.add(reason, addr)
                return False
        return True
