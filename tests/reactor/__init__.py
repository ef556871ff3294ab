"""Twisted's own reactor tests, which its wheel brings, run against this reactor."""
