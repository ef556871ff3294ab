"""
What keeps a measurement from being made, in words for whoever runs it.
"""


class BenchError(Exception):
    """Something needed is not there, or a server did not do what it should."""
