"""
The native reactor beside asyncio, whose loop it shares; as
L{tests.wire.reactor_scenarios}: C{python -m tests.wire.asyncio_scenarios NAME}.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.utils import getProcessValue

from tests.wire.reactor_scenarios import main, until

SILENT = "exec <&- >&- 2>&-; sleep 0.1; exit 3"
"""A child that nothing but its end tells of."""


class Child(ProcessProtocol):
    """A child of Twisted's."""

    code: int | None = None

    def processEnded(self, reason: Any) -> None:
        self.code = reason.value.exitCode


async def _end(code: int) -> int:
    child = await asyncio.create_subprocess_exec("/bin/sh", "-c", f"exit {code}")
    return await child.wait()


def _ended(code: int) -> Deferred[int]:
    return Deferred.fromFuture(asyncio.ensure_future(_end(code)))


async def endsChildren(reactor: Any) -> None:
    """For asyncio's children uvloop takes SIGCHLD; Twisted's are heard of all the same."""
    for _ in range(3):
        assert await _ended(4) == 4
        assert await getProcessValue("/bin/sh", ["-c", SILENT]) == 3
    early = Child()
    reactor.spawnProcess(early, "/bin/sh", ["sh", "-c", SILENT])
    assert await _ended(5) == 5
    await until(reactor, lambda: early.code == 3)


async def endsChildrenWithoutDescriptors(reactor: Any) -> None:
    """Where the kernel has no descriptors for processes, the signal tells."""

    def refused(pid: int, flags: int = 0) -> int:
        raise OSError("not here")

    os.pidfd_open = refused
    children = [Child() for _ in range(5)]
    for child in children:
        reactor.spawnProcess(child, "/bin/sh", ["sh", "-c", SILENT])
    await until(reactor, lambda: all(child.code == 3 for child in children))


async def leavesNoDescriptors(reactor: Any) -> None:
    """What watched a child is closed."""
    assert await getProcessValue("/bin/true") == 0
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        assert await getProcessValue("/bin/true") == 0
    await until(reactor, lambda: len(os.listdir("/proc/self/fd")) <= before)


if __name__ == "__main__":
    sys.exit(main(globals()[sys.argv[1]]))
