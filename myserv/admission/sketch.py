"""
How many connections each peer has in other processes: a count-min sketch.

It has rows of places, and a peer is counted in one place of each row, wherever a hash
puts it.  Others are counted there, too, so each place may say too many; the least of
them is the best answer, and never too low (Cormode and Muthukrishnan, 2005).

Each place is a group of cells, one for each process, which alone writes it.
"""

from __future__ import annotations

from typing import Final

from myserv.admission.addresses import Remembered

ROWS: Final = 3
"""Rows of the sketch.  More would be wrong less often, and slower always."""

COLUMNS: Final = 16_384
"""Places in a row: 192 KiB for each process."""

_ROW_BITS: Final = 20
"""Bits of a hash that say where in a row."""

MAXIMUM_COLUMNS: Final = 1 << _ROW_BITS
"""As many as the bits can tell apart."""


class Sketch:
    """
    The sketch, as one process sees it, of the peers of one service.

    All services are in the same places; the hash keeps them apart.
    """

    __slots__ = ("_cells", "_columns", "_first", "_places", "_salt", "_worker", "_workers")

    def __init__(
        self,
        cells: memoryview,
        first: int,
        worker: int,
        workers: int,
        columns: int,
        salt: tuple[int, int],
    ) -> None:
        """
        Args:
            cells: The memory.
            first: Where in it the sketch begins.
            worker: Which process this is, from 0.
            workers: How many there are.
            columns: Places in a row, a power of two.
            salt: A secret of all processes, so that nobody can choose whom to be
                counted with, and the service's number.
        """
        self._cells = cells
        self._first = first
        self._worker = worker
        self._workers = workers
        self._columns = columns
        self._salt = salt
        self._places = Remembered(self._findPlaces)

    def _findPlaces(self, peer: int) -> tuple[int, ...]:
        # Python hashes numbers without a secret: the same in all processes. Twice
        # the salt, because a last round mixes what the one before it brought in.
        mixed = hash((self._salt, peer, self._salt))
        rows = ((mixed >> (_ROW_BITS * row)) & (self._columns - 1) for row in range(ROWS))
        return tuple(
            self._first + (row * self._columns + place) * self._workers
            for row, place in enumerate(rows)
        )

    def add(self, peer: int, count: int) -> None:
        """
        A peer has more connections here, or less.
        """
        for place in self._places[peer]:
            self._cells[place + self._worker] += count

    def elsewhere(self, peer: int) -> int:
        """
        Say how many a peer has in other processes, or too many.
        """
        cells, worker, workers = self._cells, self._worker, self._workers
        return min(
            sum(cells[place : place + workers]) - cells[place + worker]
            for place in self._places[peer]
        )
