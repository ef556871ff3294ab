"""
The machine that is measured on: its cores, its description, and who else uses it.
"""

from __future__ import annotations

import os
import platform
import resource
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from attrs import frozen

from bench.errors import BenchError

_TICKS = os.sysconf("SC_CLK_TCK")


@frozen
class Cores:
    """
    Where the two sides run.

    @ivar usable: Those that this process may use.
    """

    usable: tuple[int, ...]

    def ofServer(self, workers: int) -> set[int]:
        """
        The cores of a server: one for each of its workers.
        """
        return set(self.usable[:workers])

    def ofLoad(self, workers: int) -> set[int]:
        """
        The core of the load generator: another, if there is one.
        """
        return set(self.usable[workers : workers + 1]) or set(self.usable)

    def isShared(self, workers: int) -> bool:
        """
        Whether a server and the load generator have to share.
        """
        return not self.ofServer(workers).isdisjoint(self.ofLoad(workers))


def chooseCores() -> Cores:
    """
    Take the cores that this process may use.
    """
    return Cores(tuple(sorted(os.sched_getaffinity(0))))


def describeMachine(distributions: set[str]) -> list[str]:
    """
    Say what the machine and its software are, a line each.

    Args:
        distributions: The Python packages to name.
    """
    lines = [
        f"CPU: {_cpuModel()}, {os.cpu_count()} cores",
        f"Kernel: {platform.system()} {platform.release()}",
        f"Python: {platform.python_implementation()} {platform.python_version()}",
    ]
    for name in sorted(distributions):
        try:
            lines.append(f"{name}: {version(name)}")
        except PackageNotFoundError:
            continue
    return lines


def _cpuModel() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()


class Neighbours:
    """
    How much of the machine others used since this was made.
    """

    def __init__(self) -> None:
        self._began = self._read()

    def share(self) -> float:
        """
        The part of all cores' time, from 0 to 1.

        The servers and load generators count as ours once they have ended.
        """
        busy, total, ours = (
            now - then for now, then in zip(self._read(), self._began, strict=True)
        )
        return max(0.0, busy - ours) / total if total else 0.0

    @staticmethod
    def _read() -> tuple[float, float, float]:
        first = Path("/proc/stat").read_text().partition("\n")[0]
        times = [int(field) / _TICKS for field in first.split()[1:9]]
        idle = times[3] + times[4]
        usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        ours = sum(usage.ru_utime + usage.ru_stime for usage in usages)
        return sum(times) - idle, sum(times), ours


def allowFiles(count: int) -> None:
    """
    Have this process and those it starts open many files.

    Raises:
        BenchError: The machine does not let us.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < count:
        raise BenchError(f"{count} open files are needed, and ulimit -Hn is {most}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
