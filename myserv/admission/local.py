"""
How many connections there are, in a process that serves alone.
"""

from __future__ import annotations


class LocalTallies:
    """
    Of a process that serves alone; provides L{Tallies}.
    """

    isShared = False

    def __init__(self) -> None:
        self.total = 0
        self._services: dict[str, LocalServiceTally] = {}

    @property
    def here(self) -> int:
        """Those of this process, which are all."""
        return self.total

    def look(self) -> None:
        """
        It is always up to date.
        """

    def service(self, name: str) -> LocalServiceTally:
        """
        Find the tally of a service, or make it.
        """
        tally = self._services.get(name)
        if tally is None:
            tally = self._services[name] = LocalServiceTally(self)
        return tally


class LocalServiceTally:
    """
    Of a service of a process that serves alone; provides L{ServiceTally}.
    """

    __slots__ = ("_all", "_peers", "total")

    isShared = False

    def __init__(self, tallies: LocalTallies) -> None:
        """
        Args:
            tallies: Those of all services.
        """
        self._all = tallies
        self._peers: dict[int, int] = {}
        self.total = 0

    @property
    def here(self) -> int:
        """Those of this process, which are all."""
        return self.total

    def look(self) -> None:
        """
        It is always up to date.
        """

    def add(self, peer: int | None) -> None:
        """
        There is one more.
        """
        self.total += 1
        self._all.total += 1
        if peer is not None:
            self._peers[peer] = self._peers.get(peer, 0) + 1

    def remove(self, peer: int | None) -> None:
        """
        There is one less.
        """
        self.total -= 1
        self._all.total -= 1
        if peer is not None:
            left = self._peers[peer] - 1
            if left:
                self._peers[peer] = left
            else:
                del self._peers[peer]

    def ofPeer(self, peer: int) -> int:
        """
        Say how many a peer has.
        """
        return self._peers.get(peer, 0)
