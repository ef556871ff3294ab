"""
How many connections there are, of whom, in this process and in all.

L{myserv.admission.local} is for a process that serves alone.  L{SharedTallies} are for
several, over memory that they share: each writes cells of its own only, so none
waits for another, and reads those of all.

What they are off by:

 - The number of connections is exact, except that processes which let somebody in at
   the same moment do not see each other: by one for each other process.

 - The number of a peer's connections is exact for those of this process; those of the
   others come from a count-min sketch (Cormode and Muthukrishnan, 2005), which
   never says too few.  It says too many where other peers fall into the same cell in
   each of its rows: with C{n} peers and C{w} columns, for one in
   C{(1 - e ** (-n / w)) ** -3} of them.  With 16,384 columns that is one in 5,000
   when there are 1,000 peers, one in 100 when there are 4,000, and one in 4 when
   there are 16,384.  It matters only to peers near their limit, and to none where the
   service has fewer connections than one peer may have.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from mmap import mmap
from typing import Final, Protocol

from myserv.admission.sketch import COLUMNS, MAXIMUM_COLUMNS, ROWS, Sketch

_CELL: Final = 4
"""Bytes of a cell: an unsigned number in the machine's order."""

_MAGIC: Final = 0x4D795401
"""The first cell: this layout, version 1."""

_HEADER: Final = 8
"""Cells of the header: magic, workers, services, columns, and the seed in two."""

Buffer = mmap | memoryview | bytearray
"""Memory to be shared."""


class Tally(Protocol):
    """
    A number of connections.

    @ivar here: Those of this process.
    @ivar total: Those of all processes, as of the last L{look}, and what was added
        and removed here since.
    @ivar isShared: There are other processes: look before you decide.
    """

    @property
    def here(self) -> int:
        """Those of this process."""

    @property
    def total(self) -> int:
        """Those of all processes."""

    @property
    def isShared(self) -> bool:
        """There are other processes."""

    def look(self) -> None:
        """
        Bring C{total} up to date.
        """


class ServiceTally(Tally, Protocol):
    """
    The connections of one service.
    """

    def add(self, peer: int | None) -> None:
        """
        There is one more here.

        Args:
            peer: Its number; C{None} of one that has no IP address.
        """

    def remove(self, peer: int | None) -> None:
        """
        There is one less here.
        """

    def ofPeer(self, peer: int) -> int:
        """
        Say how many a peer has, in all processes.
        """


class Tallies(Tally, Protocol):
    """
    The connections of all services.
    """

    def service(self, name: str) -> ServiceTally:
        """
        Find the tally of a service, always the same one.

        Raises:
            ValueError: There is none, and none can be made.
        """


def sizeOfSharedTallies(workers: int, services: int, columns: int = COLUMNS) -> int:
    """
    Say how much memory is needed, in bytes.

    Args:
        workers: How many processes there are.
        services: How many services.
        columns: A power of two, up to L{MAXIMUM_COLUMNS}.  With four for each peer
            that is there, one peer in a hundred is counted too high.
    """
    return _CELL * (_HEADER + workers * (1 + services + ROWS * columns))


def prepareSharedTallies(
    buffer: Buffer, workers: int, services: int, columns: int = COLUMNS
) -> None:
    """
    Make memory ready, before the first of those who share it looks at it.

    Args:
        buffer: Of L{sizeOfSharedTallies} bytes at least; all zero, as a new C{mmap} is.
        workers: As for the size.
        services: Likewise.
        columns: Likewise.

    Raises:
        ValueError: The memory is too small, or C{columns} is not what it has to be.
    """
    if columns < 1 or columns > MAXIMUM_COLUMNS or columns & (columns - 1):
        raise ValueError(f"{columns} is not a power of two up to {MAXIMUM_COLUMNS}")
    size = sizeOfSharedTallies(workers, services, columns)
    with memoryview(buffer) as view:
        if view.nbytes < size:
            raise ValueError(f"{view.nbytes} bytes are too few for the tallies: {size} are needed")
    seed = secrets.randbits(32), secrets.randbits(32)
    with _cellsOf(buffer) as cells:
        for place, value in enumerate((_MAGIC, workers, services, columns, *seed)):
            cells[place] = value


def clearWorker(buffer: Buffer, worker: int) -> None:
    """
    A process died: its connections are gone.

    Args:
        buffer: The memory, prepared.
        worker: Which one, from 0.
    """
    with _cellsOf(buffer) as cells:
        _clear(cells, worker)


def _cellsOf(buffer: Buffer) -> memoryview:
    view = memoryview(buffer).cast("B")
    return view[: view.nbytes // _CELL * _CELL].cast("I")


def _clear(cells: memoryview, worker: int) -> None:
    workers, services, columns = cells[1:4]
    end = _HEADER + workers * (1 + services + ROWS * columns)
    # The cells of one process are as far apart as there are processes.
    own = cells[_HEADER + worker : end : workers]
    own[:] = memoryview(bytes(_CELL * len(own))).cast("I")


class _SharedCount:
    """
    A number of connections, in one group of cells.
    """

    __slots__ = ("_cells", "_first", "_own", "_workers", "here", "total")

    def __init__(self, cells: memoryview, first: int, worker: int, workers: int) -> None:
        self._cells = cells
        self._first = first
        self._own = first + worker
        self._workers = workers
        self.here = 0
        self.total = 0

    def look(self) -> None:
        first = self._first
        self.total = sum(self._cells[first : first + self._workers])

    def add(self, count: int) -> None:
        self.here += count
        self.total += count
        self._cells[self._own] = self.here


class SharedTallies:
    """
    Of one of several processes; provides L{Tallies}.

    Resources:
        It holds on to the memory until L{close}.
    """

    isShared = True

    def __init__(self, buffer: Buffer, worker: int, workers: int, services: Sequence[str]) -> None:
        """
        Args:
            buffer: The memory, prepared.
            worker: Which process this is, from 0.  Whatever an earlier one of this
                number left behind is cleared.
            workers: How many there are.
            services: Their names, in the same order in every process.

        Raises:
            ValueError: The memory was not prepared for as many, or there is no such
                process among them.
        """
        cells = self._cells = _cellsOf(buffer)
        if list(cells[:3]) != [_MAGIC, workers, len(services)] or not 0 <= worker < workers:
            cells.release()
            raise ValueError("the memory was not prepared for these tallies")
        columns, seed = cells[3], cells[4] << 32 | cells[5]
        _clear(cells, worker)
        # The groups: of all services, of each, and of the sketch's places.
        counts = [
            _SharedCount(cells, _HEADER + workers * group, worker, workers)
            for group in range(1 + len(services))
        ]
        sketch = _HEADER + workers * len(counts)
        self._all = counts[0]
        self._services = {
            name: SharedServiceTally(
                self._all,
                counts[number],
                Sketch(cells, sketch, worker, workers, columns, (seed, number)),
            )
            for number, name in enumerate(services, 1)
        }

    @property
    def here(self) -> int:
        """Those of this process."""
        return self._all.here

    @property
    def total(self) -> int:
        """Those of all processes, as of the last look."""
        return self._all.total

    def look(self) -> None:
        """
        Bring C{total} up to date.
        """
        self._all.look()

    def service(self, name: str) -> SharedServiceTally:
        """
        Find the tally of a service.

        Raises:
            ValueError: It was not among those that were named.
        """
        tally = self._services.get(name)
        if tally is None:
            raise ValueError(f'there is no shared tally for the service "{name}"')
        return tally

    def close(self) -> None:
        """
        Let go of the memory.  Nothing can be counted any more.
        """
        self._cells.release()


class SharedServiceTally:
    """
    Of a service of one of several processes; provides L{ServiceTally}.
    """

    __slots__ = ("_all", "_count", "_peers", "_sketch", "look")

    isShared = True

    def __init__(self, everything: _SharedCount, count: _SharedCount, sketch: Sketch) -> None:
        """
        Args:
            everything: The connections of all services.
            count: Those of this one.
            sketch: Those of its peers.
        """
        self._all = everything
        self._count = count
        self._sketch = sketch
        self._peers: dict[int, int] = {}
        self.look = count.look

    @property
    def here(self) -> int:
        """Those of this process."""
        return self._count.here

    @property
    def total(self) -> int:
        """Those of all processes, as of the last look."""
        return self._count.total

    def add(self, peer: int | None) -> None:
        """
        There is one more here.
        """
        self._count.add(1)
        self._all.add(1)
        if peer is not None:
            self._peers[peer] = self._peers.get(peer, 0) + 1
            self._sketch.add(peer, 1)

    def remove(self, peer: int | None) -> None:
        """
        There is one less here.
        """
        self._count.add(-1)
        self._all.add(-1)
        if peer is not None:
            left = self._peers[peer] - 1
            if left:
                self._peers[peer] = left
            else:
                del self._peers[peer]
            self._sketch.add(peer, -1)

    def ofPeer(self, peer: int) -> int:
        """
        Say how many a peer has, in all processes, or too many.
        """
        return self._peers.get(peer, 0) + self._sketch.elsewhere(peer)
