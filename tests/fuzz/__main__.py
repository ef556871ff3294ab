"""
Runs every mutator, or those named: C{python -m tests.fuzz [iterations] [seed] [name...]}.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import time

import tests.fuzz

ITERATIONS = 100_000


def main(arguments: list[str]) -> None:
    """
    Run them one after the other; the first that fails ends it.
    """
    numbers = [int(each) for each in arguments if each.isdigit()]
    iterations = numbers[0] if numbers else ITERATIONS
    seed = numbers[1] if len(numbers) > 1 else time.time_ns() % 2**32
    wanted = [each for each in arguments if not each.isdigit()]
    known = [each.name for each in pkgutil.iter_modules(tests.fuzz.__path__)]
    for name in wanted or [each for each in known if not each.startswith("_")]:
        started = time.monotonic()
        importlib.import_module(f"tests.fuzz.{name}").run(iterations, seed)
        took = time.monotonic() - started
        sys.stdout.write(f"{name}: {iterations} inputs in {took:.0f} s (seed {seed})\n")


if __name__ == "__main__":
    main(sys.argv[1:])
