"""
The memory in which workers count the connections of all of them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from mmap import mmap

from myserv.admission.tallies import (
    SharedTallies,
    clearWorker,
    prepareSharedTallies,
    sizeOfSharedTallies,
)


class TallyMemory:
    """
    Anonymous memory that workers inherit, with a slot for each of them.

    Resources:
        A descriptor and a mapping, until L{close}.

    @ivar descriptor: What workers are handed.
    @ivar slots: How many processes can count in it.
    @ivar services: The services whose connections are counted.
    """

    def __init__(self, slots: int, services: Sequence[str], descriptor: int | None = None) -> None:
        """
        Args:
            slots: How many processes can count in it.
            services: The services' names.
            descriptor: Memory that there is already; it is prepared.
        """
        self.slots = slots
        self.services = tuple(services)
        size = sizeOfSharedTallies(slots, len(services))
        if descriptor is None:
            self.descriptor = os.memfd_create("myserv-tallies")
            os.ftruncate(self.descriptor, size)
            self._memory = mmap(self.descriptor, size)
            prepareSharedTallies(self._memory, slots, len(services))
        else:
            self.descriptor = descriptor
            self._memory = mmap(descriptor, size)
        self._used: set[int] = set()

    def suits(self, services: Sequence[str], workers: int) -> bool:
        """
        Say whether so many more workers can count for these services here.
        """
        return self.services == tuple(services) and self.slots - len(self._used) >= workers

    def take(self, slot: int | None = None) -> int | None:
        """
        Take a slot for a new worker.

        Args:
            slot: The one that it has already.

        Returns:
            Its number; C{None} when all are taken.
        """
        if slot is None:
            slot = next((each for each in range(self.slots) if each not in self._used), None)
        if slot is not None:
            self._used.add(slot)
        return slot

    def free(self, slot: int) -> None:
        """
        A worker is gone, and so are its connections.
        """
        clearWorker(self._memory, slot)
        self._used.discard(slot)

    def close(self) -> None:
        """
        Nobody will count here any more.
        """
        self._memory.close()
        os.close(self.descriptor)


def openTallies(descriptor: int, slot: int, slots: int, services: Sequence[str]) -> SharedTallies:
    """
    Count in memory that the supervisor made.

    Args:
        descriptor: The memory; it is closed.
        slot: This process's part of it.
        slots: How many parts there are.
        services: The services' names, as the supervisor has them.

    Raises:
        ValueError: The memory is not what it should be.
    """
    try:
        memory = mmap(descriptor, sizeOfSharedTallies(slots, len(services)))
    finally:
        os.close(descriptor)
    return SharedTallies(memory, slot, slots, services)
