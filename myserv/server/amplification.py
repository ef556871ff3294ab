"""
How much a source may be sent before it has proved its address.

A datagram's source is whatever its sender wrote.  A service that answers a small
datagram with large ones sends them to whomever a forger names (CISA TA14-017A),
so a source that has not proved itself is sent at most three times what it sent
(RFC 9000, section 8.1).  The headers are counted on both sides, because they
travel as well: an empty datagram is worth 84 bytes and not nothing.

An address that has never sent anything may be written to: nobody can have
forged what was not received.  That holds for as long as every source can be
remembered.  When there are more of them than there is room, a stranger may be
one that was forgotten, and all strangers together are then sent no more than
C{STRANGERS_RATE}.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from myserv.server.sources import NEVER

FACTOR: Final = 3.0
"""Bytes that a source may be sent for each that it sent (RFC 9000, section 8.1)."""

REMEMBERED_SOURCES: Final = 65_536
"""Sources with an account, and again as many with a proved address; OpenSSH
tracks as many for its penalties.  About 300 bytes each, 20 MB when it is full."""

REMEMBERED_FOR: Final = 300.0
"""Seconds for which a source that is neither heard nor written to keeps its
account at least, if there is room: RFC 4787 recommends that NATs keep a UDP
mapping for five minutes."""

STRANGERS_RATE: Final = 65_536.0
"""Bytes a second for all addresses without an account, once one was forgotten
before its time.  Enough for a server to register itself elsewhere; less than
a home's uplink, which is what makes a reflector worth its trouble."""

IPV4_HEADERS: Final = 28
"""Bytes of an IPv4 and a UDP header."""

IPV6_HEADERS: Final = 48
"""Bytes of an IPv6 and a UDP header."""

Address = tuple[str, int]
"""Host and port."""


class Account:
    """
    What one source may still be sent.

    The listener's hot path reads and writes these itself.

    @ivar credit: In bytes, headers included; infinite for a proved address.
    @ivar headers: The bytes of a datagram's headers.
    @ivar version: That of the admission which let it in; see
        L{myserv.server.sources.SourceRules.version}.
    """

    __slots__ = ("credit", "headers", "version")

    def __init__(self, headers: int) -> None:
        self.credit: float = 0
        self.headers = headers
        self.version = NEVER


class RecentAccounts:
    """
    The accounts of those who were there last, of a bounded number.

    There are two generations.  When the young one is full, or has lasted long
    enough, it becomes the old one, and the old one is forgotten: no order is
    kept, and to forget costs nothing for each.

    @ivar young: Those who were there in this generation; always the same
        dictionary.
    @ivar overflowed: Some were forgotten before their time.
    """

    def __init__(self, limit: int, seconds: Callable[[], float]) -> None:
        """
        Args:
            limit: How many are kept at most.
            seconds: Tells the time.
        """
        self._half = max(1, limit // 2)
        self._seconds = seconds
        self._began = seconds()
        self._old: dict[Address, Account] = {}
        self.young: dict[Address, Account] = {}
        self.overflowed = False

    def __len__(self) -> int:
        return len(self.young) + len(self._old)

    def find(self, addr: Address) -> Account | None:
        """
        Look an account up, and keep it for another generation.
        """
        account = self.young.get(addr)
        if account is None:
            account = self._old.pop(addr, None)
            if account is not None:
                self.add(addr, account)
        return account

    def add(self, addr: Address, account: Account) -> None:
        """
        Keep an account.
        """
        now = self._seconds()
        isOver = now - self._began >= REMEMBERED_FOR
        if isOver or len(self.young) >= self._half:
            if self._old and not isOver:
                self.overflowed = True
            self._began = now
            self._old = self.young.copy()
            self.young.clear()
        self.young[addr] = account

    def remove(self, addr: Address) -> None:
        """
        Forget one; one that is not there is no error.
        """
        self.young.pop(addr, None)
        self._old.pop(addr, None)


class Amplification:
    """
    What the sources of one listener may be sent.

    @ivar factor: Bytes that a source may be sent for each that it sent.
    @ivar accounts: Those of the sources that were there last.
    @ivar findYoung: Finds most of them at once: C{accounts.young.get}.
    """

    def __init__(
        self,
        factor: float,
        seconds: Callable[[], float],
        limit: int = REMEMBERED_SOURCES,
    ) -> None:
        """
        Args:
            factor: As the operator wants it.
            seconds: Tells the time.
            limit: How many sources are remembered.
        """
        # Python adds and multiplies integers faster.
        self.factor = int(factor) if float(factor).is_integer() else factor
        self.accounts = RecentAccounts(limit, seconds)
        self.findYoung = self.accounts.young.get
        # Apart, so that forged sources push no proved one out.
        self._proved = RecentAccounts(limit, seconds)
        self._seconds = seconds
        self._strangersCredit = STRANGERS_RATE
        self._strangersEarned = seconds()

    def find(self, addr: Address) -> Account | None:
        """
        Find the account of an address, or C{None}: it is a stranger's.
        """
        account = self.accounts.find(addr)
        if account is None:
            account = self._proved.find(addr)
            if account is not None:
                self.accounts.add(addr, account)
        return account

    def open(self, addr: Address) -> Account:
        """
        Find the account of an address, or open one.
        """
        account = self.find(addr)
        if account is None:
            account = Account(_headersTo(addr[0]))
            self.accounts.add(addr, account)
        return account

    def prove(self, addr: Address) -> None:
        """
        An address is its sender's: it may be sent anything.
        """
        account = self.open(addr)
        account.credit = math.inf
        self._proved.remove(addr)
        self._proved.add(addr, account)

    def isProved(self, addr: Address) -> bool:
        """
        Say whether an address is known to be its sender's.
        """
        account = self.find(addr)
        return account is not None and account.credit == math.inf

    def forget(self, addr: Address) -> None:
        """
        An address may be somebody else's now: it has to earn anew.
        """
        if self.isProved(addr):
            # The account stays: a stranger would be sent more.
            self.open(addr).credit = 0
            self._proved.remove(addr)

    def permitsStranger(self, size: int) -> bool:
        """
        Say whether a datagram may go to an address without an account.

        Args:
            size: Bytes of its payload.
        """
        if not self.accounts.overflowed:
            return True
        now = self._seconds()
        earned = (now - self._strangersEarned) * STRANGERS_RATE
        self._strangersEarned = now
        self._strangersCredit = min(STRANGERS_RATE, self._strangersCredit + earned)
        if size + IPV6_HEADERS > self._strangersCredit:
            return False
        self._strangersCredit -= size + IPV6_HEADERS
        return True


def _headersTo(host: str) -> int:
    # One written as IPv6 on a socket for both travels as what it is.
    if ":" not in host or (host.startswith("::ffff:") and "." in host):
        return IPV4_HEADERS
    return IPV6_HEADERS
