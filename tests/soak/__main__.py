"""
Runs every scenario, or those named: see the package.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import time
import traceback
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import tests.soak
from tests.soak.ground import Ground, ground

_SHARED = ("ground", "probe")


def scenarios() -> list[str]:
    """
    The names of all scenarios.
    """
    found = (each.name for each in pkgutil.iter_modules(tests.soak.__path__))
    return [each for each in found if each not in _SHARED and not each.startswith("_")]


def say(line: str) -> None:
    """
    Print a line at once.
    """
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """
    Run one after another.

    Returns:
        How many failed.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=tests.soak.__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer clients and seconds")
    parser.add_argument("--reactor", help="twistd's, such as uvloop")
    parser.add_argument("--minutes", type=float, help="how long endurance lasts")
    parser.add_argument(
        "--tries", type=int, default=3, help="of a scenario that only takes too long (3)"
    )
    parser.add_argument("scenario", nargs="*", metavar="scenario", help=", ".join(scenarios()))
    chosen = parser.parse_args(arguments)
    unknown = set(chosen.scenario) - set(scenarios())
    if unknown:
        parser.error(f"no scenario: {', '.join(sorted(unknown))}")
    failed = 0
    for name in chosen.scenario or scenarios():
        module = importlib.import_module(f"tests.soak.{name}")
        size = module.QUICK if chosen.quick else module.LONG
        if chosen.minutes is not None and hasattr(size, "minutes"):
            size = type(size)(minutes=chosen.minutes)
        failed += not holds(name, module.run, size, chosen)
    return failed


def holds(name: str, run: Callable[[Ground, Any], None], size: Any, chosen: Namespace) -> bool:
    """
    Run a scenario; once more if nothing was wrong with it but the time that it took.
    """
    for tryNumber in range(1, chosen.tries + 1):
        began = time.monotonic()
        with ground(reactor=chosen.reactor, tell=say) as place:
            try:
                run(place, size)
            except Exception:  # noqa: BLE001 - the next scenario may do better
                place.failures.append(traceback.format_exc())
            for failure in place.failures:
                say(f"FAILED {failure}")
            again = place.late and not place.failures and tryNumber < chosen.tries
            say(
                f"       {name} took {time.monotonic() - began:.0f} s" + ", once more" * bool(again)
            )
        if not again:
            return not place.failures and not place.late
    return False


if __name__ == "__main__":
    sys.exit(min(1, main(sys.argv[1:])))
