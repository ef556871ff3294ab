"""
Runs Twisted's reactor tests against this reactor and against Twisted's epoll reactor:
C{python -m tests.reactor [MODULE...]}.

What epoll passes here, this reactor has to pass, but for L{EXCEPTIONS}.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.reactor.exceptions import EXCEPTIONS

MODULES: Final = (
    "test_core",
    "test_fdset",
    "test_newtls",
    "test_process",
    "test_socket",
    "test_stdio",
    "test_tcp",
    "test_threads",
    "test_time",
    "test_tls",
    "test_udp",
    "test_unix",
    "twisted.test.test_factories",
    "twisted.test.test_internet",
    "twisted.test.test_process",
    "twisted.test.test_ssl",
    "twisted.test.test_stdio",
    "twisted.test.test_tcp",
    "twisted.test.test_threads",
    "twisted.test.test_udp",
    "twisted.test.test_unix",
)
"""Those of C{twisted.internet.test} that try reactors, and others that use the
process's own."""

TIMEOUT: Final = 120.0
"""Seconds that a module may take."""

TRIES: Final = 2
"""How often a test may be tried: some of Twisted's own are about real time."""

Outcomes = dict[str, tuple[str, str]]


def run(reactor: str, module: str, without: Sequence[str] = ()) -> Outcomes:
    """
    Run a module's tests in a process of their own.

    Returns:
        By name, without the reactor's: passed, failed or skipped, and why.
    """
    command = [sys.executable, "-m", "tests.reactor.one", reactor, module]
    command += [f"-{each}" for each in without]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    try:
        # They leave files behind.
        with tempfile.TemporaryDirectory() as directory:
            done = subprocess.run(
                command,
                cwd=directory,
                env=environment,
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
                check=False,
            )
        out, complaints = done.stdout, done.stderr if done.returncode else ""
    except subprocess.TimeoutExpired as late:
        out, complaints = (late.stdout or b"").decode(), f"more than {TIMEOUT:.0f} s"
    outcomes: Outcomes = {}
    for line in out.splitlines():
        if line.startswith("["):
            outcome, name, why = json.loads(line)
            outcomes[shorten(name)] = (outcome, why)
    if complaints:
        outcomes[f"{module.partition(':')[0]} as a whole"] = ("failed", complaints)
    return outcomes


def shorten(name: str) -> str:
    """
    Take from a test's name what every name has, and the reactor's.
    """
    return re.sub(r"_(epoll|ours)Tests\b", "", name.removeprefix("twisted.internet.test."))


def judge(module: str) -> tuple[Outcomes, Outcomes, dict[str, str]]:
    """
    Run a module's tests with both reactors.

    Returns:
        The outcomes with epoll, with this reactor, and why those failed that have
        to pass.
    """
    theirs, ours = run("epoll", module), run("ours", module, _excepted(module))
    failed = _failed(theirs, ours)
    for _ in range(TRIES - 1):
        _tryAgain(module, ours, failed)
        failed = _failed(theirs, ours)
    return theirs, ours, failed


def judgeAlone(module: str) -> tuple[Outcomes, dict[str, str]]:
    """
    Run a module's tests with this reactor, and with epoll those that fail only: that
    takes a tenth of the time, because epoll waits out what is excepted here.

    Returns:
        The outcomes, and why those failed that have to pass.
    """
    ours = run("ours", module, _excepted(module))
    failed = _failed({}, ours)
    for _ in range(TRIES - 1):
        _tryAgain(module, ours, failed)
        failed = _failed({}, ours)
    theirs: Outcomes = {}
    for name in failed:
        theirs |= run("epoll", f"{module}:{name.rpartition('.')[2]}")
    return ours, _failed(theirs, ours)


def _excepted(module: str) -> list[str]:
    return [name for name in EXCEPTIONS if name.startswith(f"{module}.")]


def _tryAgain(module: str, ours: Outcomes, failed: dict[str, str]) -> None:
    for name, why in failed.items():
        again = run("ours", f"{module}:{name.rpartition('.')[2]}", _excepted(module))
        ours[name] = again.get(name, ours.get(name, ("failed", why)))


def _failed(theirs: Outcomes, ours: Outcomes) -> dict[str, str]:
    failed = {name: why for name, (outcome, why) in ours.items() if outcome == "failed"}
    for name, (outcome, _) in theirs.items():
        if outcome == "passed" and name not in ours and name not in EXCEPTIONS:
            failed[name] = "it did not come to its end"
        elif outcome == "failed":
            failed.pop(name, None)
    return failed


def main(modules: Sequence[str]) -> int:
    """
    Run them one after the other.

    Returns:
        How many tests failed that have to pass.
    """
    total = dict.fromkeys(("epoll", "passed", "failed", "excepted"), 0)
    for module in modules or MODULES:
        started = time.monotonic()
        theirs, ours, failed = judge(module)
        counts = {
            "epoll": sum(outcome == "passed" for outcome, _ in theirs.values()),
            "passed": sum(outcome == "passed" for outcome, _ in ours.values()),
            "failed": len(failed),
            "excepted": len(_excepted(module)),
        }
        took = time.monotonic() - started
        sys.stdout.write(f"{module:29}{_said(counts)}, {took:.0f} s\n")
        for name, why in failed.items():
            sys.stdout.write(f"FAILED {name}\n{why}\n")
        sys.stdout.flush()
        for key, count in counts.items():
            total[key] += count
    sys.stdout.write(f"{'together':29}{_said(total)}\n")
    return total["failed"]


def _said(counts: dict[str, int]) -> str:
    return (
        f"epoll passes {counts['epoll']}, this reactor {counts['passed']}; "
        f"{counts['excepted']} excepted, {counts['failed']} failed"
    )


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
