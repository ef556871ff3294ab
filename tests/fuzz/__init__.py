"""
Mutated input for everything that reads a peer's bytes.

Each module here has C{run(iterations, seed)}, which raises C{AssertionError} where a
peer could make the server raise, hang or leak.  The tests run a little of each, and
C{python -m tests.fuzz 100000} as much as one wants.
"""
