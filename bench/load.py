"""
The load generator, bench/load.c, and what it tells of a server.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import Final

from attrs import frozen

from bench.errors import BenchError
from bench.server import Server

Sample = dict[str, float]

COST: Final = "cost"
"""The column that peers are compared by."""

TIMEOUT: Final = 30.0
"""Seconds beyond its own time until a load generator is taken for stuck."""


@frozen
class Load:
    """
    What a scenario measures with.

    @ivar program: The load generator.
    @ivar warmup: Seconds until something counts.
    @ivar idlers: How many idle connections to hold.
    """

    program: str
    warmup: float
    idlers: int

    def exchange(
        self, mode: str, server: Server, clients: int, size: int, seconds: float
    ) -> Sample:
        """
        Have a server answer for a while.

        Raises:
            BenchError: It stopped answering.
        """
        options = (f"-c{clients}", f"-s{size}", f"-w{self.warmup}", f"-t{seconds}")
        with self._start(mode, server, *options, *map(str, server.pids())) as load:
            try:
                out, complaints = load.communicate(timeout=seconds + TIMEOUT)
            except subprocess.TimeoutExpired:
                load.kill()
                raise BenchError("the load generator is stuck") from None
        if load.returncode:
            raise BenchError(complaints.strip())
        result = json.loads(out)
        completed = result["completed"]
        if not completed:
            raise BenchError("the server answered nothing")
        return {
            COST: result["serverCpu"] / completed * 1e6,
            "rate": completed / result["seconds"],
            "p50": result["p50"],
            "p99": result["p99"],
            "lost": result["lost"],
            "serverBusy": result["serverCpu"] / result["seconds"] * 100,
            "loadBusy": result["ownCpu"] / result["seconds"] * 100,
        }

    def idle(self, server: Server) -> Sample:
        """
        Have a server hold connections.

        Raises:
            BenchError: It does not, or does not come to rest.
        """
        # What the first connections bring into memory is not theirs.
        self._hold(server, 8)
        before = server.memory()
        after = self._hold(server, self.idlers)
        return {COST: (after - before) / self.idlers, "total": after / 2**20}

    def _hold(self, server: Server, connections: int) -> int:
        with self._start("idle", server, f"-c{connections}") as load:
            assert load.stdin is not None
            assert load.stdout is not None
            assert load.stderr is not None
            try:
                if not load.stdout.readline():
                    raise BenchError(load.stderr.read().strip())
                server.settle()
                memory = server.memory()
            finally:
                load.stdin.close()
        server.settle()
        return memory

    def _start(self, mode: str, server: Server, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.program, mode, f"-p{server.port}", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, server.loadCores),  # noqa: PLW1509 - no threads
        )
