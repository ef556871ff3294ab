"""
A server under attack, over loopback: real processes, measured against a bound.

C{python -m tests.soak [--quick] [--reactor uvloop] [scenario ...]}; each module here that
has C{LONG} and C{QUICK} is a scenario.  tests/wire/test_attacks.py has the quick sizes
without the bounds on time.
"""
